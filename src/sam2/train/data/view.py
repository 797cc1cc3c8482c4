"""Which part of a picture a square sample shows, and how turned: one map for images and masks alike."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2.train.data.config import AugmentConfig

FILL = (124, 116, 104)
"""What is beyond the picture: the mean colour of ImageNet, which is 0 for the network."""
MIN_CROP = 16
"""Pixels of a side that a crop has at least."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are not part of it."""


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of a picture that is brought to a square, mirrored, then turned, sheared, enlarged and moved.

    Attributes:
        box: the rectangle, in pixels of the picture.
        mirrored: left to right.
        turn: [2, 3] affine map of the square, in shares of its side from the top left; None: as it is.
    """

    box: Box
    mirrored: bool = False
    turn: NDArray[np.float64] | None = None

    def source_of(self, side: int) -> NDArray[np.float64]:
        """[2, 3] map from pixel centres (x, y) of the square of ``side`` to those of the picture."""
        left, top, right, bottom = self.box
        from_pixels = np.array([[1 / side, 0, 0.5 / side], [0, 1 / side, 0.5 / side], [0, 0, 1]])
        unturned = np.eye(3)
        if self.turn is not None:
            unturned = np.linalg.inv(np.vstack([self.turn, [0, 0, 1]]))
        unmirrored = np.array([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]]) if self.mirrored else np.eye(3)
        to_picture = np.array([[right - left, 0, left - 0.5], [0, bottom - top, top - 0.5], [0, 0, 1]])
        return (to_picture @ unmirrored @ unturned @ from_pixels)[:2]

    def image(self, picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """``picture`` [h, w, 3] as [side, side, 3]; averaged where it shrinks, ``FILL`` beyond it.

        Where nothing is turned this is Pillow's antialiased bilinear resize, as in the official training.
        """
        if self.turn is None:
            square = _resized(picture, self.box, (side, side))
            return np.ascontiguousarray(square[:, ::-1]) if self.mirrored else square
        source = self.source_of(side)
        left, top, right, bottom = region = self._region(source, side, picture.shape[:2])
        if right <= left or bottom <= top:
            return np.full((side, side, 3), FILL, np.uint8)
        # Shrink first, by averaging; what is enlarged is enlarged only once, by the warp.
        shrink = np.minimum(1, side / np.array([self.box[2] - self.box[0], self.box[3] - self.box[1]]))
        width, height = (
            max(1, round(length * by)) for length, by in zip((right - left, bottom - top), shrink, strict=True)
        )
        part = _resized(picture, region, (width, height))
        ratio = np.array([width / (right - left), height / (bottom - top)])
        inner = source.copy()
        inner[:, 2] -= np.array([left, top]) - 0.5
        inner *= ratio[:, None]
        inner[:, 2] -= 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(part, inner, (side, side), flags=flags, borderValue=FILL), np.uint8)

    def mask(self, mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
        """``mask`` [h, w] as [side, side]: of the nearest pixel, nothing beyond the picture."""
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(mask.view(np.uint8), self.source_of(side), (side, side), flags=flags).view(np.bool_)

    def _region(self, source: NDArray[np.float64], side: int, shape: tuple[int, ...]) -> Box:
        """The rectangle of the picture that the turned square shows a part of."""
        corners = source @ np.array([[-0.5, -0.5, 1], [side, -0.5, 1], [-0.5, side, 1], [side, side, 1]]).T
        low = np.floor(corners.min(1)).astype(int) - 1
        high = np.ceil(corners.max(1)).astype(int) + 2
        height, width = shape[:2]
        return max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)


def _resized(picture: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    part = picture[top:bottom, left:right]
    if (right - left, bottom - top) == size:
        return part
    resized = Image.fromarray(part).resize(size, Image.Resampling.BILINEAR)
    return np.array(resized, np.uint8)


def whole_view(shape: tuple[int, ...]) -> View:
    """All of a picture of ``shape`` (height, width, ...)."""
    return View((0, 0, shape[1], shape[0]))


def draw_view(
    rng: np.random.Generator, config: AugmentConfig, shape: tuple[int, ...], *, around: Box | None = None
) -> View:
    """A random view of a picture of ``shape`` (height, width, ...); crops around an object go around ``around``."""
    height, width = shape[:2]
    box = (0, 0, width, height)
    if rng.random() < config.crop:
        wanted = around if rng.random() < config.crop_objects else None
        box = _draw_crop(rng, config, (height, width), around=wanted)
    mirrored = bool(rng.random() < config.flip)
    turn = None
    if rng.random() < config.affine:
        turn = _draw_turn(rng, config, box[2] - box[0], box[3] - box[1])
    return View(box, mirrored, turn)


def _draw_crop(rng: np.random.Generator, config: AugmentConfig, shape: tuple[int, int], *, around: Box | None) -> Box:
    scale = rng.uniform(*config.crop_scale)
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    sides = []
    for place, (length, by) in enumerate(zip((shape[1], shape[0]), (stretch, 1 / stretch), strict=True)):
        least = min(MIN_CROP, length)
        low, high = 0, length
        if around is not None:
            low, high = around[place], around[place + 2]
            least = max(least, high - low)
        crop = int(np.clip(round(scale * by * length), least, length))
        # Without an object any place will do; with one, any place that shows all of it.
        first, last = (0, length - crop) if around is None else (max(0, high - crop), min(low, length - crop))
        start = int(rng.integers(first, last + 1))
        sides.append((start, start + crop))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom


def _draw_turn(rng: np.random.Generator, config: AugmentConfig, width: int, height: int) -> NDArray[np.float64] | None:
    """An affine map about the middle of a rectangle, in shares of its sides; None where it would change nothing."""
    angle = np.radians(rng.uniform(-config.degrees, config.degrees))
    shear = np.tan(np.radians(rng.uniform(-config.shear, config.shear)))
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    shift = rng.uniform(-config.shift, config.shift, 2)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = zoom * np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, -shear], [0, 1]])
    if np.array_equal(turn, np.eye(2)) and not shift.any():
        return None
    sides = np.array([width, height], float)
    turn = turn * sides[None] / sides[:, None]
    return np.column_stack([turn, np.array([0.5, 0.5]) + shift - turn @ [0.5, 0.5]])
