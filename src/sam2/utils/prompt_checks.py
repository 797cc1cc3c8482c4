"""Coordinates, labels and masks as users give them, to tensors of known shape; every fault is named."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

KNOWN_LABELS = (-1, 0, 1, 2, 3)
"""Not a point, background, foreground, top-left and bottom-right corner of a box."""

BOX_LABELS = (2, 3)
"""Of the two corners that a box is to the model."""

MASK_LOGIT = 10.0
"""The logit that a bool mask prompt stands for; officially it would be read as logits 0 and 1, i.e. 'undecided'."""


def check_points(value: Any, name: str) -> Float[Tensor, "n p 2"]:
    """Points [p, 2] or [n, p, 2] of any array type as [n, p, 2] float32; finite."""
    points = _coordinates(value, name)
    if points.ndim not in (2, 3) or points.shape[-1] != 2:
        raise ValueError(f"{name} must have shape [p, 2] or [n, p, 2], got {tuple(points.shape)}")
    return points[None] if points.ndim == 2 else points


def check_labels(value: Any, name: str, points: Tensor, points_name: str) -> Int[Tensor, "n p"]:
    """Labels [p] or [n, p], one of ``KNOWN_LABELS`` for each of ``points``, as [n, p] int32."""
    raw = to_tensor(value, name)
    labels = raw[None] if raw.ndim == 1 else raw
    if labels.shape != points.shape[:2]:
        raise ValueError(
            f"{name} must have one label per point, shape {tuple(points.shape[:2])} for {points_name} of shape "
            f"{tuple(points.shape)}, got {tuple(raw.shape)}"
        )
    known = (
        torch.isin(labels, torch.tensor(KNOWN_LABELS, dtype=labels.dtype, device=labels.device))
        if labels.dtype != torch.bool
        else None
    )
    if known is not None and not known.all():
        odd = sorted(set(labels[~known].flatten().tolist()))
        raise ValueError(f"{name} must be 1 (foreground) or 0 (background), or one of {KNOWN_LABELS}, got {odd[:5]}")
    return labels.to(torch.int32)


def check_boxes(value: Any, name: str) -> Float[Tensor, "n 4"]:
    """Boxes [4], [n, 4] or [n, 2, 2] as [n, 4] float32 (x0, y0, x1, y1), the corners in order."""
    boxes = _coordinates(value, name)
    if boxes.ndim == 1 and boxes.shape == (4,):
        boxes = boxes[None]
    elif boxes.ndim == 3 and boxes.shape[1:] == (2, 2):
        boxes = boxes.flatten(1)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must have shape [4] or [n, 4], (x0, y0, x1, y1), got {tuple(boxes.shape)}")
    reversed_ = (boxes[:, 2:] < boxes[:, :2]).any(1)
    if reversed_.any():
        worst = boxes[reversed_][0].tolist()
        raise ValueError(f"{name} must be (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1, got {worst}")
    return boxes


def check_masks(value: Any, name: str) -> Float[Tensor, "n 1 h w"]:
    """Mask logits [h, w], [1, h, w] or [n, 1, h, w] as [n, 1, h, w] float32; a bool mask becomes +-``MASK_LOGIT``."""
    masks = to_tensor(value, name)
    shape = tuple(masks.shape)
    if masks.ndim == 2:
        masks = masks[None]
    if masks.ndim == 3 and masks.shape[0] == 1:
        masks = masks[None]
    if masks.ndim != 4 or masks.shape[1] != 1 or 0 in masks.shape[2:]:
        raise ValueError(f"{name} must have shape [h, w], [1, h, w] or [n, 1, h, w], got {shape}")
    if masks.dtype == torch.bool:
        return torch.where(masks, MASK_LOGIT, -MASK_LOGIT).to(torch.float32)
    masks = masks.to(torch.float32)
    if not torch.isfinite(masks).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite logits")
    return masks


def to_tensor(value: Any, name: str, *, bool_allowed: bool = True) -> Tensor:
    """``value`` as a tensor, memory of its own unless it was a tensor."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from error
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold numbers, got {array.dtype}")
        wide = {"b": np.bool_, "f": np.float64 if array.dtype.itemsize > 4 else np.float32}.get(
            array.dtype.kind, np.int64
        )
        value = torch.from_numpy(np.array(array, dtype=wide))
    if value.is_complex() or (value.dtype == torch.bool and not bool_allowed):
        raise ValueError(f"{name} must hold real numbers, got {value.dtype}")
    return value


def _coordinates(value: Any, name: str) -> Float[Tensor, "..."]:
    tensor = to_tensor(value, name, bool_allowed=False).to(torch.float32)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite coordinates")
    return tensor
