"""What users give as prompts, checked and brought into the form that the model reads.

Everything is refused here, before anything is computed or changed. Boxes and points may reach outside the image.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sam2.modeling.types import PromptBatch
from sam2.utils.prompt_checks import BOX_LABELS, check_boxes, check_labels, check_masks, check_points
from sam2.utils.transforms import SAM2Transforms


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts of one image as a user holds them; arrays, nested lists or tensors.

    Attributes:
        points: [p, 2] for one object or [n, p, 2], (x, y) in pixels of the image.
        labels: [p] or [n, p]: 1 foreground, 0 background (2 and 3 box corners, -1 not a point).
        boxes: [4] or [n, 4], (x0, y0, x1, y1) in pixels of the image.
        masks: [h, w], [1, h, w] or [n, 1, h, w]: logits, or bool. Of any size: other than a quarter of the model's
            input they are resized (bilinear, antialiased).
        image: which of the encoded images.

    Points, boxes and masks are of the same n objects; what is given once holds for all of them.
    """

    points: Any = None
    labels: Any = None
    boxes: Any = None
    masks: Any = None
    image: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PromptTensors:
    """Checked prompts: points [n, p, 2], labels [n, p] int32, boxes [n, 4], masks [n, 1, h, w]; float32."""

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None


def check_prompts(
    prompts: Prompts, *, device: torch.device | str = "cpu", names: tuple[str, str, str, str] | None = None
) -> PromptTensors:
    """``prompts`` as tensors on ``device``, in the coordinates they came in.

    Args:
        prompts: as the user gave them.
        device: where the tensors shall be.
        names: what the caller's user calls points, labels, boxes and masks, for messages.

    Raises:
        ValueError: names the argument whose shape, type or values are wrong.
    """
    points_name, labels_name, boxes_name, masks_name = names or ("points", "labels", "boxes", "masks")
    points = labels = boxes = masks = None
    if (prompts.points is None) != (prompts.labels is None):
        given, lacking = (labels_name, points_name) if prompts.points is None else (points_name, labels_name)
        raise ValueError(f"{lacking} must be given with {given}, got None")
    if prompts.points is not None:
        points = check_points(prompts.points, points_name)
        labels = check_labels(prompts.labels, labels_name, points, points_name).to(device)
        points = points.to(device)
    if prompts.boxes is not None:
        boxes = check_boxes(prompts.boxes, boxes_name).to(device)
    if prompts.masks is not None:
        masks = check_masks(prompts.masks, masks_name).to(device)
    return PromptTensors(points, labels, boxes, masks)


def to_model(
    prompts: PromptTensors, transforms: SAM2Transforms, size: tuple[int, int], *, normalize_coords: bool = True
) -> PromptTensors:
    """``prompts`` in the model's frame; boxes become corners [n, 2, 2].

    Args:
        prompts: coordinates in pixels of the image, or in 0..1 without ``normalize_coords``.
        transforms: of the predictor.
        size: (height, width) of the image.
        normalize_coords: whether coordinates are pixels.
    """
    points, boxes = prompts.points, prompts.boxes
    if points is not None:
        points = transforms.transform_coords(points, normalize=normalize_coords, orig_hw=size)
    if boxes is not None:
        boxes = transforms.transform_boxes(boxes, normalize=normalize_coords, orig_hw=size)
    return PromptTensors(points, prompts.labels, boxes, prompts.masks)


def merge(prompts: PromptTensors, mask_side: int) -> PromptBatch:
    """One row per object: box corners first, then clicks, as officially; masks at ``mask_side``.

    Raises:
        ValueError: there is no prompt, or points, boxes and masks are of different numbers of objects.
    """
    points, labels, boxes, masks = prompts.points, prompts.labels, prompts.boxes, prompts.masks
    if points is not None and points.shape[1] == 0:
        points = labels = None
    if boxes is not None:
        boxes = boxes.reshape(-1, 2, 2)
    given = {name: len(x) for name, x in (("points", points), ("boxes", boxes), ("masks", masks)) if x is not None}
    if not given:
        raise ValueError("a prompt is needed: points with labels, a box or a mask")
    n = 0 if 0 in given.values() else max(given.values())
    if any(count not in (1, n) for count in given.values()):
        listed = ", ".join(f"{name} of {count}" for name, count in given.items())
        raise ValueError(f"prompts must be of one object or of the same number of objects, got {listed}")
    coords, kinds = [], []
    if boxes is not None:
        coords.append(boxes.expand(n, -1, -1) if len(boxes) == 1 else boxes)
        kinds.append(torch.tensor([BOX_LABELS], dtype=torch.int32, device=boxes.device).expand(n, -1))
    if points is not None and labels is not None:
        coords.append(points.expand(n, -1, -1) if len(points) == 1 else points)
        kinds.append((labels.expand(n, -1) if len(labels) == 1 else labels).to(torch.int32))
    if masks is not None:
        masks = fit_mask(masks, mask_side)
        masks = masks.expand(n, -1, -1, -1) if len(masks) == 1 else masks
    if not coords:
        return PromptBatch(masks=masks)
    return PromptBatch(torch.cat(coords, dim=1), torch.cat(kinds, dim=1), masks)


def fit_mask(masks: Float[Tensor, "n 1 h w"], side: int) -> Float[Tensor, "n 1 s s"]:
    """Mask logits at ``side`` x ``side``: unchanged if they are, else bilinear with antialiasing."""
    if masks.shape[-2:] == (side, side) or not len(masks):
        return masks
    return F.interpolate(masks.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)
