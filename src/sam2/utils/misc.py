"""Official helper names (``sam2.utils.misc``) over :mod:`sam2.utils.masks`, for code that imports them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .masks import connected_components, fill_holes, mask_boxes
from .video_frames import load_video_frames

__all__ = [
    "concat_points",
    "fill_holes_in_mask_scores",
    "get_connected_components",
    "load_video_frames",
    "mask_to_box",
]

_FILLED = 0.1


def get_connected_components(mask: Tensor) -> tuple[Int[Tensor, "n 1 h w"], Int[Tensor, "n 1 h w"]]:
    """8-connected components of ``mask`` [n, 1, h, w]: (labels, area of each pixel's component), int32, 0 outside."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"mask must have shape [n, 1, h, w], got {tuple(mask.shape)}")
    return connected_components(mask)


def fill_holes_in_mask_scores(mask: Float[Tensor, "n 1 h w"], max_area: float) -> Float[Tensor, "n 1 h w"]:
    """Mask logits with background components (``<= 0``) of at most ``max_area`` pixels set to 0.1, a weak foreground.

    Raises:
        ValueError: ``max_area`` is not positive.
    """
    if not max_area > 0:
        raise ValueError(f"max_area must be positive, got {max_area!r}")
    return fill_holes(mask, max_area, value=_FILLED)


def mask_to_box(masks: Bool[Tensor, "b 1 h w"]) -> Int[Tensor, "b 1 4"]:
    """Boxes (x0, y0, x1, y1) int32, both ends inside; (w, h, -1, -1) for an empty mask."""
    if masks.ndim != 4 or masks.shape[1] != 1:
        raise ValueError(f"masks must have shape [b, 1, h, w], got {tuple(masks.shape)}")
    return mask_boxes(masks)


def concat_points(old_point_inputs: dict | None, new_points: Tensor, new_labels: Tensor) -> dict[str, Tensor]:
    """``{"point_coords": [b, p, 2], "point_labels": [b, p]}`` of the old prompt, if any, with new points after it."""
    if old_point_inputs is None:
        return {"point_coords": new_points, "point_labels": new_labels}
    return {
        "point_coords": torch.cat([old_point_inputs["point_coords"], new_points], dim=1),
        "point_labels": torch.cat([old_point_inputs["point_labels"], new_labels], dim=1),
    }
