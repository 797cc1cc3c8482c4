"""Blurring and pixelating through block means.

Both first reduce the picture to the means of blocks, and show nothing that is not in them: what is hidden cannot be had
back from the pixels that are written. Blocks lie on a fixed grid of the picture, so that a video does not shimmer.
"""

import math

import cv2
import numpy as np

from sam2.viz.canvas import Window

SMALLEST_BLOCK = 4


def block_side(wanted: float, size: tuple[int, int]) -> int:
    """A side of blocks of at least ``wanted`` pixels, in steps of half an octave.

    In steps, because an object that slowly grows would otherwise have another grid in every frame.
    """
    steps = math.ceil(2 * math.log2(max(wanted, SMALLEST_BLOCK) / SMALLEST_BLOCK) - 1e-9)
    return min(math.ceil(SMALLEST_BLOCK * 2 ** (steps / 2)), max(size))


def snap(window: Window, block: int, size: tuple[int, int], *, around: int) -> Window:
    """The window made larger until it holds whole blocks and ``around`` more, or ends with the picture."""
    height, width = size
    x0, y0 = (max(0, edge // block - around) * block for edge in (window.x0, window.y0))
    x1, y1 = ((-(-edge // block) + around) * block for edge in (window.x1, window.y1))
    return Window(x0, y0, min(x1, width), min(y1, height))


def block_means(picture: np.ndarray, block: int) -> np.ndarray:
    """Means [rows, columns, c] of blocks of a picture [h, w, c] (uint8 or float32, and of that type).

    A block that reaches beyond the picture is filled up with what is mirrored at the edge, so that it too is a mean of
    many pixels.
    """
    height, width = picture.shape[:2]
    rows, columns = -(-height // block), -(-width // block)
    below, right = rows * block - height, columns * block - width
    if below or right:
        picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REFLECT)
    return cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)


def means_beside(picture: np.ndarray, inside: np.ndarray, block: int, *, blur: bool) -> np.ndarray:
    """Means [rows, columns, 3] float32 of what is not ``inside`` [h, w] 0/1: no object glows into its background."""
    weights = (1 - inside).astype(np.float32)
    masked = cv2.copyTo(picture, 1 - inside).astype(np.float32)
    sums, shares = block_means(masked, block), block_means(weights, block)
    wide_sums, wide_shares = (cv2.GaussianBlur(part, (0, 0), 1.3) for part in (sums, shares))
    near = wide_sums / np.maximum(wide_shares, 1e-4)[..., None]
    if blur:
        return near
    own = sums / np.maximum(shares, 1e-4)[..., None]
    return np.where((shares > 0.1)[..., None], own, near)


def smooth(means: np.ndarray, block: int, size: tuple[int, int]) -> np.ndarray:
    """Block means enlarged to ``size`` (height, width) without steps, uint8."""
    return _enlarge(means, block, size, cv2.INTER_LINEAR)


def mosaic(means: np.ndarray, block: int, size: tuple[int, int]) -> np.ndarray:
    """Block means enlarged to ``size`` (height, width) as squares, uint8."""
    return _enlarge(means, block, size, cv2.INTER_NEAREST)


def soften(means: np.ndarray) -> np.ndarray:
    """Block means mixed with their neighbours'."""
    return cv2.GaussianBlur(means, (0, 0), 1.3)


def _enlarge(means: np.ndarray, block: int, size: tuple[int, int], how: int) -> np.ndarray:
    height, width = size
    rows, columns = means.shape[:2]
    small = np.clip(np.rint(means), 0, 255).astype(np.uint8) if means.dtype != np.uint8 else means
    return cv2.resize(small, (columns * block, rows * block), interpolation=how)[:height, :width]
