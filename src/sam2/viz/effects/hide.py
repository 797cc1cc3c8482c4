"""Blur and pixelate, the background or the objects."""

from collections.abc import Sequence

import cv2
import numpy as np

from sam2.viz.canvas import Window
from sam2.viz.effects import blocks
from sam2.viz.effects.matte import Matte, centred_matte, mix, outer_matte, union, window_of
from sam2.viz.overlay import stroke_unit

# Sides of blocks, as shares of the square root of the picture's area, and of the object's.
_BACKGROUND_BLUR, _BACKGROUND_MOSAIC = 1 / 90, 1 / 45
_OBJECT_BLUR, _OBJECT_MOSAIC = 1 / 140, 1 / 90
_OWN_BLUR, _OWN_MOSAIC = 1 / 11, 1 / 8


def hide_background(image: np.ndarray, masks: Sequence[np.ndarray], strength: float, *, blur: bool) -> np.ndarray:
    """The image [h, w, 3] uint8 with blurred, or else pixelated, surroundings: all of it if no object is there."""
    size = image.shape[0], image.shape[1]
    inside, unit = union(masks, size), stroke_unit(image)
    share = _BACKGROUND_BLUR if blur else _BACKGROUND_MOSAIC
    block = blocks.block_side(strength * share * _side(size), size)
    if not inside.any():
        return _coarse(image, block, blur=blur)
    means = blocks.means_beside(image, inside, block, blur=blur)
    canvas = np.ascontiguousarray((blocks.smooth if blur else blocks.mosaic)(means, block, size))
    matte = centred_matte(inside, soft=max(2.0, (2.0 if blur else 1.2) * unit))
    assert matte is not None
    mix(canvas, image, matte)
    return canvas


def hide_objects(image: np.ndarray, masks: Sequence[np.ndarray], strength: float, *, blur: bool) -> np.ndarray:
    """The image [h, w, 3] uint8 with blurred, or else pixelated, objects, and some pixels around each."""
    size = image.shape[0], image.shape[1]
    canvas, unit = image.copy(), stroke_unit(image)
    by_block: dict[int, list[np.ndarray]] = {}
    for mask in masks:
        area = cv2.countNonZero(mask.view(np.uint8))
        own = (_OWN_BLUR if blur else _OWN_MOSAIC) * area**0.5
        least = (_OBJECT_BLUR if blur else _OBJECT_MOSAIC) * _side(size)
        if area:
            by_block.setdefault(blocks.block_side(strength * max(own, least), size), []).append(mask)
    # Coarse ones come last, over what finer ones show of the same pixels.
    for block, group in sorted(by_block.items()):
        inside = union(group, size)
        _fill_small_holes(inside, block)
        # Outlines are off by a pixel or two: the margin covers that.
        matte = outer_matte(inside, grow=1 + 2.4 * unit, soft=max(1.5, (3.5 if blur else 1.0) * unit))
        assert matte is not None
        window = blocks.snap(matte.window, block, size, around=2 if blur else 0)
        _cover(canvas, image, matte, window=window, block=block, blur=blur)
    return canvas


def _fill_small_holes(inside: np.ndarray, block: int) -> None:
    """Close holes smaller than a block in a mask [h, w] uint8 0/1, in place: models leave them by mistake."""
    window = window_of(inside, 2 * block)
    assert window is not None
    patch = inside[window.slices]
    _, numbers, found, _ = cv2.connectedComponentsWithStats(1 - patch, connectivity=4)
    small = found[:, cv2.CC_STAT_AREA] < block * block
    if small.any():
        patch[small[np.asarray(numbers, np.int32)]] = 1


def _cover(canvas: np.ndarray, image: np.ndarray, matte: Matte, *, window: Window, block: int, blur: bool) -> None:
    """Lay the coarse version of ``window`` over the canvas, where the matte is."""
    x0, y0 = window.x0, window.y0
    inner = Window(matte.window.x0 - x0, matte.window.y0 - y0, matte.window.x1 - x0, matte.window.y1 - y0)
    coarse = _coarse(np.ascontiguousarray(image[window.slices]), block, blur=blur)
    mix(canvas[window.slices], coarse, Matte(inner, matte.alpha))


def _coarse(picture: np.ndarray, block: int, *, blur: bool) -> np.ndarray:
    size = picture.shape[0], picture.shape[1]
    means = blocks.block_means(picture, block)
    if blur:
        return np.ascontiguousarray(blocks.smooth(blocks.soften(means), block, size))
    return np.ascontiguousarray(blocks.mosaic(means, block, size))


def _side(size: tuple[int, int]) -> float:
    return float(np.sqrt(size[0] * size[1]))
