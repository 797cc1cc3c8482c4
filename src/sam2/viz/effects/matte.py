"""Soft edges of masks: opacities that fall from 1 to 0 over a few pixels, in the window that needs them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam2.viz.canvas import Window, signed_distance


@dataclass(frozen=True, slots=True)
class Matte:
    """Opacity of a soft-edged shape: ``alpha`` [h, w] float32 in 0..1 inside ``window``, 0 everywhere else."""

    window: Window
    alpha: np.ndarray


def union(masks: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """[h, w] uint8, 1 where any of the masks [h, w] bool is."""
    joined = np.zeros(size, np.uint8)
    for mask in masks:
        np.bitwise_or(joined, mask.view(np.uint8), out=joined)
    return joined


def window_of(mask: np.ndarray, margin: float) -> Window | None:
    """The window of a mask [h, w] and a margin around it in pixels; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Window.around((columns[0], rows[0], columns[-1], rows[-1]), margin, mask)


def centred_matte(mask: np.ndarray, *, soft: float) -> Matte | None:
    """An edge ``soft`` pixels wide, half of it inside and half outside of the mask [h, w] uint8 0/1."""
    window = window_of(mask, soft + 4)
    if window is None:
        return None
    depth = signed_distance(mask[window.slices])
    # Smoothing the distance, not the mask, turns the pixel staircase into a clean line and keeps thin parts alive.
    cv2.GaussianBlur(depth, (0, 0), max(0.4, 0.3 * soft), dst=depth)
    return Matte(window, _smooth_step(depth / soft + 0.5))


def outer_matte(mask: np.ndarray, *, grow: float, soft: float) -> Matte | None:
    """1 in the mask [h, w] uint8 0/1 and for ``grow`` pixels around it, then falling to 0 over ``soft`` pixels."""
    window = window_of(mask, grow + 1.5 * soft + 4)
    if window is None:
        return None
    inside = mask[window.slices]
    if inside.all():
        return Matte(window, np.ones(inside.shape, np.float32))
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    cv2.GaussianBlur(beyond, (0, 0), max(0.4, 0.3 * min(soft, grow + 1)), dst=beyond)
    alpha = _smooth_step((grow + soft + 0.5 - beyond) / soft)
    alpha[inside > 0] = 1  # smoothing must not take anything from what is to be covered
    return Matte(window, alpha)


def mix(below: np.ndarray, above: np.ndarray, matte: Matte) -> None:
    """Blend ``above`` into ``below`` where the matte is, in place; both [h, w, 3] uint8 of the picture's size.

    Where the opacity is 1 nothing is left of what was below, to the last bit.
    """
    rows_columns = matte.window.slices
    patch = np.ascontiguousarray(below[rows_columns])
    below[rows_columns] = cv2.blendLinear(
        patch, np.ascontiguousarray(above[rows_columns]), 1 - matte.alpha, matte.alpha
    )


def _smooth_step(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
