"""Mask post-processing, the same on every device: connected components, holes, sprinkles, boxes, areas.

Components are found by OpenCV on the CPU whatever the device of the mask, because components are integers: one
implementation gives the same bits everywhere, and 16 masks of 256 x 256 take a few milliseconds.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DECISIVE = 10.0
"""How far from the threshold the image route puts a filled hole or a removed island."""

_CONNECTIVITY = 8


def connected_components(mask: Tensor) -> tuple[Int[Tensor, "... h w"], Int[Tensor, "... h w"]]:
    """Label the 8-connected components of each mask.

    Args:
        mask: [..., h, w], bool or anything that is true where not zero.

    Returns:
        ``labels`` and ``areas``, both int32 of the shape and on the device of ``mask``: the component of each pixel
        (1, 2, ... in each mask, 0 outside) and the number of pixels of that component (0 outside).

    Raises:
        ValueError: ``mask`` has fewer than two dimensions.
    """
    planes = _planes(mask)
    labels = np.zeros(planes.shape, np.int32)
    areas = np.zeros(planes.shape, np.int32)
    for i, plane in enumerate(planes):
        component, area = _components(plane)
        labels[i], areas[i] = component, area[component]
    shape, device = mask.shape, mask.device
    return torch.from_numpy(labels).reshape(shape).to(device), torch.from_numpy(areas).reshape(shape).to(device)


def small_components(mask: Tensor, max_area: float) -> Bool[Tensor, "... h w"]:
    """Where ``mask`` [..., h, w] is true and its 8-connected component has at most ``max_area`` pixels."""
    planes = _planes(mask)
    small = np.zeros(planes.shape, bool)
    for i, plane in enumerate(planes):
        component, area = _components(plane)
        is_small = area <= max_area
        is_small[0] = False
        if is_small.any():
            small[i] = is_small[component]
    return torch.from_numpy(small).reshape(mask.shape).to(mask.device)


def fill_holes(
    logits: Float[Tensor, "... h w"], max_area: float, *, threshold: float = 0.0, value: float = 0.1
) -> Float[Tensor, "... h w"]:
    """Set background components (``logits <= threshold``) of at most ``max_area`` pixels to ``value``.

    Areas are pixels of ``logits`` as it is, i.e. of the low-resolution mask where that is what is given.
    """
    return logits.masked_fill(small_components(logits <= threshold, max_area), value)


def clean_logits(
    logits: Float[Tensor, "... h w"],
    threshold: float = 0.0,
    *,
    max_hole_area: float = 0.0,
    max_sprinkle_area: float = 0.0,
) -> Float[Tensor, "... h w"]:
    """Put small holes ``DECISIVE`` above ``threshold`` and small islands (sprinkles) as far below it.

    Both are found in the logits as given, as officially, so that their order does not matter. 0 leaves them alone.
    """
    cleaned = logits
    if max_hole_area > 0:
        holes = small_components(logits <= threshold, max_hole_area)
        cleaned = cleaned.masked_fill(holes, threshold + DECISIVE)
    if max_sprinkle_area > 0:
        sprinkles = small_components(logits > threshold, max_sprinkle_area)
        cleaned = cleaned.masked_fill(sprinkles, threshold - DECISIVE)
    return cleaned


def mask_areas(masks: Bool[Tensor, "... h w"]) -> Int[Tensor, "..."]:
    """The number of true pixels of each mask, int64."""
    return masks.flatten(-2).sum(-1)


def mask_boxes(masks: Bool[Tensor, "... h w"]) -> Int[Tensor, "... 4"]:
    """The box of each mask as int32 (x0, y0, x1, y1), pixel indices, both ends inside; (w, h, -1, -1) where empty."""
    h, w = masks.shape[-2:]

    def ends(line: Tensor, length: int) -> tuple[Tensor, Tensor]:
        index = torch.arange(length, dtype=torch.int32, device=masks.device)
        first = torch.where(line, index, torch.full_like(index, length)).amin(-1)
        last = torch.where(line, index, torch.full_like(index, -1)).amax(-1)
        return first, last

    x0, x1 = ends(masks.any(-2), w)
    y0, y1 = ends(masks.any(-1), h)
    return torch.stack((x0, y0, x1, y1), -1)


def resize_masks(logits: Float[Tensor, "n m h w"], size: tuple[int, int]) -> Float[Tensor, "n m H W"]:
    """Mask logits, bilinear, to ``size`` = (height, width): how a low-resolution mask becomes one of the image."""
    return torch.nn.functional.interpolate(logits.float(), size, mode="bilinear", align_corners=False)


def _planes(mask: Tensor) -> np.ndarray:
    """``mask`` [..., h, w] as contiguous uint8 0/1 planes [n, h, w] in CPU memory."""
    if mask.ndim < 2:
        raise ValueError(f"mask must have at least 2 dimensions, got shape {tuple(mask.shape)}")
    flat = mask.detach() if mask.dtype == torch.bool else mask.detach() != 0
    h, w = flat.shape[-2:]
    return flat.reshape(-1, h, w).to("cpu", torch.uint8).contiguous().numpy()


def _components(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The component of each pixel and the area of each component (component 0 is the outside, area 0)."""
    if not plane.size:
        return np.zeros(plane.shape, np.int32), np.zeros(1, np.int32)
    _, component, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=_CONNECTIVITY, ltype=cv2.CV_32S)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return component, area
