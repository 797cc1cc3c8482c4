"""From an image to masks of everything in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sam2.automatic.candidates import Candidates, Prober
from sam2.automatic.measure import in_threads, runs_of
from sam2.automatic.nms import box_nms, mask_nms
from sam2.automatic.settings import AutomaticSettings
from sam2.image import EncodedImages, encode
from sam2.interop.rle import Rle, decode_mask, encode_mask, encode_runs, mask_area, mask_edges
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.amg import generate_crop_boxes, is_box_near_crop_edge, remove_small_regions
from sam2.utils.transforms import SAM2Transforms

Box = tuple[int, int, int, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class MaskProposal:
    """One mask of an image.

    Attributes:
        rle: the mask, compressed COCO run-length encoding of the image's size.
        box: (x0, y0, x1, y1) in pixels of the image, both ends inside.
        predicted_iou: how good the model thinks the mask is, 0..1.
        stability_score: how little it changes with the threshold, 0..1.
        point: the click (x, y) in pixels that gave it.
        crop_box: (x0, y0, x1, y1) of the crop that it was found in, x1 and y1 excluded.
    """

    rle: Rle
    box: Box
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop_box: Box

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return mask_area(self.rle)

    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask [H, W] bool, decoded anew at each call."""
        return decode_mask(self.rle)


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """What survived in a crop, ready to be compared with that of the others."""

    box: Box
    candidates: Candidates


@torch.no_grad()
def propose(
    model: SAM2Base,
    image: npt.NDArray[np.uint8] | None,
    settings: AutomaticSettings,
    *,
    features: EncodedImages | None = None,
    progress: Progress | None = None,
) -> list[MaskProposal]:
    """Masks of everything in an image, best first (by predicted IoU; those of smaller crops before others).

    Args:
        model: in evaluation mode.
        image: [H, W, 3] uint8 RGB; None if ``features`` are given and no crops are asked for.
        settings: what to click and what to keep.
        features: of the whole image, from :func:`sam2.image.encode`; it is not encoded again.
        progress: called with the number of clicks that are done, and of all.

    Returns:
        Possibly nothing: a blank image has no masks.
    """
    size = _size(image, features, settings)
    transforms = SAM2Transforms(model.image_size, settings.mask_threshold)
    prober = Prober(model, transforms, settings)
    boxes, layers = generate_crop_boxes(size, settings.crop_n_layers, settings.crop_overlap_ratio)
    # an image of a few pixels has crops without any
    places = [(box, layer) for box, layer in zip(boxes, layers, strict=True) if box[2] > box[0] and box[3] > box[1]]
    done, total = 0, sum(len(settings.grids[layer]) for _, layer in places)

    def advance(clicks: int) -> None:
        nonlocal done
        done += clicks
        if progress is not None:
            progress(done, total)

    crops = []
    for (x0, y0, x1, y1), layer in places:
        if layer == 0 and features is not None:
            encoded = features
        else:
            assert image is not None
            encoded = encode(model, [image[y0:y1, x0:x1]], transforms)
        found = prober.probe(encoded, settings.grids[layer], advance)
        del encoded  # of 8 layers of crops, one set of features is held
        crops.append(_Crop((x0, y0, x1, y1), _without_twins(found, (x0, y0, x1, y1), size, settings)))
    return _finish(_encode(_across_crops(crops, settings), size, settings), settings)


def _size(
    image: npt.NDArray[np.uint8] | None, features: EncodedImages | None, settings: AutomaticSettings
) -> tuple[int, int]:
    if features is not None and len(features) != 1:
        raise ValueError(f"features must be of one image, got {len(features)}")
    if image is None:
        if features is None or settings.crop_n_layers:
            raise ValueError("image must be given unless there are features and crop_n_layers is 0, got None")
        return features.sizes[0]
    size = (image.shape[0], image.shape[1])
    if features is not None and features.sizes[0] != size:
        raise ValueError(f"features are of an image of (height, width) {features.sizes[0]}, image has {size}")
    return size


def _without_twins(found: Candidates, crop: Box, size: tuple[int, int], settings: AutomaticSettings) -> Candidates:
    """Masks that are not cut by the crop's edge, duplicates removed, best first."""
    whole = [0, 0, size[1], size[0]]
    if crop != tuple(whole):
        cut = is_box_near_crop_edge(found.boxes.float(), list(crop), whole)
        found = found.take((~cut).nonzero().flatten())
    keep = box_nms(_numpy(found.boxes), _numpy(found.ious), settings.box_nms_thresh)
    return found.take(torch.from_numpy(keep).to(found.ious.device))


def _across_crops(crops: list[_Crop], settings: AutomaticSettings) -> list[tuple[_Crop, list[int]]]:
    """Which rows of each crop stay, and crops in an order that puts the rows of smaller ones first."""
    if len(crops) == 1:
        return [(crops[0], list(range(len(crops[0].candidates))))]
    owners = np.repeat(np.arange(len(crops)), [len(crop.candidates) for crop in crops])
    corners = np.array([crop.box[:2] * 2 for crop in crops], np.float32)
    boxes = np.concatenate([_numpy(crop.candidates.boxes) for crop in crops]) + corners[owners]
    sides = np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (crop.box for crop in crops)], np.float32)
    keep = box_nms(boxes, -sides[owners], settings.crop_nms_thresh)
    rows = np.concatenate([np.arange(len(crop.candidates)) for crop in crops])
    order = dict.fromkeys(owners[keep].tolist())
    return [(crops[owner], rows[keep[owners[keep] == owner]].tolist()) for owner in order]


def _encode(
    chosen: list[tuple[_Crop, list[int]]], size: tuple[int, int], settings: AutomaticSettings
) -> list[MaskProposal]:
    """Enlarge and encode what has survived everything else."""
    proposals = []
    for crop, rows in chosen:
        (x, y), kept = crop.box[:2], crop.candidates.take(torch.tensor(rows, dtype=torch.long))
        columns = (kept.boxes, kept.ious, kept.stability, kept.points)
        boxes, ious, stability, points = (column.cpu().tolist() for column in columns)
        for index, runs in enumerate(runs_of(kept.logits, crop.box, size, settings.mask_threshold)):
            x0, y0, x1, y1 = boxes[index]
            proposals.append(
                MaskProposal(
                    encode_runs(runs, size),
                    (x0 + x, y0 + y, x1 + x, y1 + y),
                    ious[index],
                    stability[index],
                    (points[index][0] + x, points[index][1] + y),
                    crop.box,
                )
            )
    return proposals


def _finish(proposals: list[MaskProposal], settings: AutomaticSettings) -> list[MaskProposal]:
    """What looks at whole masks: small regions, overlaps pixel by pixel, the limit of their number."""
    if settings.min_mask_region_area > 0:
        proposals = _without_small_regions(proposals, settings)
    scores = np.array([proposal.predicted_iou for proposal in proposals], np.float32)
    if settings.mask_nms_thresh is not None:
        keep = mask_nms([proposal.rle for proposal in proposals], scores, settings.mask_nms_thresh)
        proposals, scores = [proposals[row] for row in keep], scores[keep]
    if settings.max_masks is not None and len(proposals) > settings.max_masks:
        best = np.sort(np.argsort(-scores, kind="stable")[: settings.max_masks])
        proposals = [proposals[row] for row in best]
    return proposals


def _without_small_regions(proposals: list[MaskProposal], settings: AutomaticSettings) -> list[MaskProposal]:
    """Holes and islands below ``min_mask_region_area`` pixels of the image removed, and duplicates that this makes.

    Where two masks become the same, one that was not touched is preferred, as SAM's generator has it.
    """
    cleaned = in_threads(lambda proposal: _cleaned(proposal, settings.min_mask_region_area), proposals)
    untouched = [float(new is old) for new, old in zip(cleaned, proposals, strict=True)]
    boxes = np.array([proposal.box for proposal in cleaned], np.float32).reshape(-1, 4)
    threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
    keep = box_nms(boxes, np.array(untouched, np.float32), threshold)
    return [cleaned[row] for row in keep]


def _cleaned(proposal: MaskProposal, min_area: float) -> MaskProposal:
    mask, filled = remove_small_regions(proposal.mask(), min_area, "holes")
    mask, freed = remove_small_regions(mask, min_area, "islands")
    if not filled and not freed:
        return proposal
    rle = encode_mask(mask)
    x0, y0, x1, y1 = mask_edges(rle)
    return replace(proposal, rle=rle, box=(x0, y0, x1 - 1, y1 - 1))


def records(proposals: Sequence[MaskProposal], segmentation: Callable[[Rle], Any]) -> list[dict[str, Any]]:
    """The official records of masks; ``segmentation`` makes of the encoding what the caller wants."""
    return [
        {
            "segmentation": segmentation(proposal.rle),
            "area": proposal.area,
            "bbox": _xywh(proposal.box),
            "predicted_iou": proposal.predicted_iou,
            "point_coords": [list(proposal.point)],
            "stability_score": proposal.stability_score,
            "crop_box": _xywh(proposal.crop_box),
        }
        for proposal in proposals
    ]


def _xywh(box: Box) -> list[int]:
    """Officially the difference of the corners, so that a mask's box is a pixel narrower than the mask."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.float().cpu().numpy()
