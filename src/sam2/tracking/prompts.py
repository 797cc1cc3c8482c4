"""Prompts of a video, checked and brought to the model's frame before anything is changed."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from sam2.tracking.records import FramePrompt
from sam2.utils.prompt_checks import BOX_LABELS, check_boxes, check_labels, check_points, to_tensor


def read_points(
    points: Any,
    labels: Any,
    box: Any,
    *,
    size: tuple[int, int],
    image_size: int,
    normalize_coords: bool = True,
) -> FramePrompt:
    """Points [p, 2] with labels [p] and a box (x0, y0, x1, y1) of one object, as the model reads them.

    Args:
        points, labels: (x, y) and 1 or 0; any array type, or None.
        box: any array type, or None.
        size: (height, width) of the frame.
        image_size: side of the model's square input.
        normalize_coords: coordinates are pixels of the frame; otherwise they are in 0..1.

    Raises:
        ValueError: names what is wrong; points without labels (or the other way round), nothing at all, NaN, ...
    """
    if (points is None) != (labels is None):
        given, lacking = ("labels", "points") if points is None else ("points", "labels")
        raise ValueError(f"points and labels must be provided together, got {given} without {lacking}")
    if points is None and box is None:
        raise ValueError("at least one of points or box must be provided as input")
    parts: list[Tensor] = []
    kinds: list[Tensor] = []
    if box is not None:
        corners = check_boxes(box, "box")
        if len(corners) != 1:
            raise ValueError(f"box must be of one object, shape [4], got {len(corners)} boxes")
        parts.append(corners.reshape(2, 2))
        kinds.append(torch.tensor(BOX_LABELS, dtype=torch.int32))
    if points is not None:
        coords = check_points(points, "points")
        if len(coords) != 1:
            raise ValueError(f"points must be of one object, shape [p, 2], got {len(coords)} sets of points")
        labels = check_labels(labels, "labels", coords, "points")
        parts.append(coords[0])
        kinds.append(labels[0])
    joined, marks = torch.cat([x.cpu() for x in parts]), torch.cat([x.cpu() for x in kinds])
    if not len(joined):
        raise ValueError("points must hold at least one point, got none")
    scale = torch.tensor([size[1], size[0]]) if normalize_coords else torch.ones(2)
    return FramePrompt(joined / scale * image_size, marks)


def read_mask(mask: Any, *, image_size: int) -> Bool[Tensor, "S S"]:
    """A mask [H, W] or [1, H, W], of any size, as bool at the model's input size.

    bool is taken as it is, integers are true where not 0, floats (0..1) from 0.5. Resized as officially: bilinear with
    antialiasing, then from 0.5.

    Raises:
        ValueError: another shape, an empty array, or NaN.
    """
    tensor = to_tensor(mask, "mask")
    shape = tuple(tensor.shape)
    if tensor.ndim == 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"mask must have shape [H, W] or [1, H, W], got {shape}")
    if tensor.is_complex():
        raise ValueError(f"mask must hold real numbers, got {tensor.dtype}")
    if tensor.is_floating_point():
        if not torch.isfinite(tensor).all():
            raise ValueError("mask must be finite, got NaN or infinite values")
        tensor = tensor >= 0.5
    tensor = (tensor != 0).cpu()
    if tensor.shape == (image_size, image_size):
        return tensor
    resized = F.interpolate(
        tensor[None, None].float(), size=(image_size,) * 2, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0] >= 0.5
