"""Results of tracking as the records that all annotation formats take."""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.tracking.results import FrameResult


def annotate(
    result: FrameResult, video: VideoInfo, *, name: str | None = None, labels: Mapping[int, str] | None = None
) -> AnnotatedImage:
    """The objects of a frame, those that are not seen in it left out; the object's number is its ``track_id``.

    Masks are enlarged one after the other: hundreds of objects in large frames need little memory.

    Args:
        result: of any session.
        video: what the frame is of; its width and height must be those of the result.
        name: of the frame's file; its number (``00012``) by default.
        labels: classes by object; ``"object"`` where there is none.

    Returns:
        A record whose objects have masks, ``score`` (the predicted IoU, 0..1) and the attributes ``predicted_iou`` and
        ``object_score`` (a logit, above 0 where the model thinks that the object is there).

    Raises:
        ValueError: the frame has another size than the video.
    """
    height, width = result.size
    if (video.height, video.width) != result.size:
        raise ValueError(f"video {video.name} is {video.width} x {video.height}, the frame {width} x {height}")
    objects: list[ObjectAnnotation] = []
    scores, ious = result.object_scores.cpu(), result.ious.cpu()
    for row, (obj_id, mask) in enumerate(zip(result.obj_ids, _masks(result), strict=True)):
        if not mask.any():
            continue
        score, iou = float(scores[row]), float(ious[row])
        objects.append(
            ObjectAnnotation.from_mask(
                mask.cpu().numpy(),
                label=(labels or {}).get(obj_id, DEFAULT_LABEL),
                track_id=obj_id,
                score=min(1.0, max(0.0, iou)),
                attributes={"predicted_iou": round(iou, 4), "object_score": round(score, 4)},
            )
        )
    name = f"{result.frame_idx:05d}" if name is None else name
    return AnnotatedImage(name, width, height, tuple(objects), video, result.frame_idx)


def _masks(result: FrameResult) -> Iterator[Bool[Tensor, "H W"]]:
    """What ``result.masks`` holds, one at a time."""
    owners = _owners(result) if result.non_overlap else None
    for row in range(len(result)):
        mask = _enlarged(result, row) > 0
        yield mask if owners is None else mask & (owners == row)


def _owners(result: FrameResult) -> Tensor:
    """The row with the highest logit at each pixel [H, W], the first of equals."""
    best = torch.full(result.size, -torch.inf, device=result.low_res.device)
    owners = torch.zeros(result.size, dtype=torch.int32, device=best.device)
    for row in range(len(result)):
        logits = _enlarged(result, row)
        owners.masked_fill_(logits > best, row)
        best = torch.maximum(best, logits)
    return owners


def _enlarged(result: FrameResult, row: int) -> Tensor:
    return F.interpolate(result.low_res[row][None], size=result.size, mode="bilinear", align_corners=False)[0, 0]
