"""From what a page says of an object to what the model reads, and from its answer to what the page draws."""

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.automatic.measure import runs_of
from sam2.image import EncodedImages, MaskResult
from sam2.image.prompts import Prompts as ImagePromptArrays
from sam2.image.prompts import check_prompts, merge, to_model
from sam2.interop.rle import check_rle, decode_mask, encode_mask, encode_runs, mask_area, mask_edges
from sam2.modeling.types import PromptBatch
from sam2.utils.masks import clean_logits
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.schemas import FrameObject, Preview, Prompts, RleMask, SegmentPrompt, Source

DRAWN_LOGIT = 10.0
"""What a drawn mask is to the model: sure inside and outside."""


def check_said(prompts: Prompts | SegmentPrompt, size: tuple[int, int]) -> None:
    """Refuse what makes no sense on a frame of ``size`` (height, width).

    Raises:
        StudioError: 422, in one sentence.
    """
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        if x0 >= x1 or y0 >= y1:
            raise StudioError(422, f"box must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {prompts.box}")
        if prompts.mask is not None:
            raise StudioError(422, "box and mask exclude each other: give one of them")
    if prompts.mask is not None:
        if prompts.mask.size != size:
            height, width = prompts.mask.size
            raise StudioError(422, f"mask must be {size[1]} x {size[0]} as the picture is, got {width} x {height}")
        try:
            check_rle(as_rle(prompts.mask))
        except ValueError as error:
            raise StudioError(422, f"mask is damaged: {error}") from error


def as_rle(mask: RleMask) -> dict[str, object]:
    """``mask`` as the readers of run lengths take it."""
    return {"size": list(mask.size), "counts": mask.counts}


def rle_mask(mask: NDArray[np.bool_]) -> RleMask:
    """A mask [h, w] as the page takes it."""
    encoded = encode_mask(mask)
    return RleMask(size=(mask.shape[0], mask.shape[1]), counts=str(encoded["counts"]))


def asks_for_several(prompts: Prompts | SegmentPrompt) -> bool:
    """One click is ambiguous: the best of three masks is taken. Whatever says more gets the one mask made for it."""
    return len(prompts.points) == 1 and prompts.box is None and prompts.mask is None


def to_batch(prompts: Prompts | SegmentPrompt, runner: Runner, size: tuple[int, int]) -> PromptBatch:
    """Prompts of one object, checked before, as the model reads them."""
    points = [[point.x, point.y] for point in prompts.points]
    labels = [point.label for point in prompts.points]
    mask = None
    if prompts.mask is not None:
        inside = torch.from_numpy(decode_mask(as_rle(prompts.mask)))
        mask = torch.where(inside, DRAWN_LOGIT, -DRAWN_LOGIT)
    checked = check_prompts(ImagePromptArrays(points or None, labels or None, prompts.box, mask), device=runner.device)
    return merge(to_model(checked, runner.transforms, size), runner.model.image_size // 4)


def answer(prompts: Prompts, encoded: EncodedImages, runner: Runner) -> tuple[RleMask, float]:
    """The mask that prompts mean, and its predicted IoU, 0..1. A drawn mask without points is taken as it is.

    Raises:
        StudioError: 422, what is wrong with the prompts.
    """
    size = encoded.sizes[0]
    check_said(prompts, size)
    if prompts.mask is not None and not prompts.points:
        return prompts.mask, 1.0
    if prompts.empty:
        raise StudioError(422, "prompts must hold a point, a box or a mask")
    result = runner.decode(encoded, to_batch(prompts, runner, size), multimask=asks_for_several(prompts)).best()
    return masks_of(result)[0], min(1.0, max(0.0, float(result.ious[0, 0])))


def masks_of(result: MaskResult) -> list[RleMask]:
    """The first candidate of each object at the size of the picture, as ``result.masks()`` has it.

    Masks are enlarged in the order in which they are encoded: on pictures of many megapixels a click waits for that.
    """
    transforms, (height, width) = result.transforms, result.size
    logits = clean_logits(
        result.logits[:, 0].float().cpu(),
        transforms.mask_threshold,
        max_hole_area=transforms.max_hole_area,
        max_sprinkle_area=transforms.max_sprinkle_area,
    )
    runs = runs_of(logits, (0, 0, width, height), (height, width), transforms.mask_threshold)
    return [RleMask(size=(height, width), counts=str(encode_runs(row, (height, width))["counts"])) for row in runs]


def preview(prompts: Prompts, encoded: EncodedImages, runner: Runner) -> Preview:
    """The mask that prompts would give."""
    mask, score = answer(prompts, encoded, runner)
    return Preview(mask=mask, score=score)


def frame_object(
    object_id: int, mask: RleMask | None, *, prompts: Prompts | None, score: float, source: Source | None
) -> FrameObject:
    """An object on a frame, its area and box measured."""
    if mask is None:
        return FrameObject(object_id=object_id, prompts=prompts)
    area = mask_area(as_rle(mask))
    box = tuple(float(edge) for edge in mask_edges(as_rle(mask))) if area else None
    return FrameObject(
        object_id=object_id,
        prompts=prompts,
        mask=mask,
        area=area,
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        score=score,
        source=source,
    )
