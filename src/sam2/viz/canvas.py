"""Anti-aliased shapes on a uint8 picture, in place.

Every shape is a signed distance (in pixels, positive inside) that becomes an opacity, so that edges are smooth at any
size. Only the window that a shape covers is touched: drawing on a photo of twelve megapixels stays quick.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam2.viz.palette import Colour


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the picture: columns ``x0`` to ``x1`` and rows ``y0`` to ``y1``, ends excluded."""

    x0: int
    y0: int
    x1: int
    y1: int

    @staticmethod
    def around(corners: tuple[float, float, float, float], margin: float, picture: np.ndarray) -> "Window | None":
        """The window that holds x0, y0, x1, y1 and a margin, cut to the picture; None where nothing is left."""
        height, width = picture.shape[:2]
        x0 = int(max(0, np.floor(corners[0] - margin)))
        y0 = int(max(0, np.floor(corners[1] - margin)))
        x1 = int(min(width, np.ceil(corners[2] + margin) + 1))
        y1 = int(min(height, np.ceil(corners[3] + margin) + 1))
        return Window(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a picture with."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Column [1, w] and row [h, 1] coordinates of the window's pixel centres, float32."""
        columns = np.arange(self.x0, self.x1, dtype=np.float32)[None, :]
        rows = np.arange(self.y0, self.y1, dtype=np.float32)[:, None]
        return columns, rows


def cover(distance: np.ndarray) -> np.ndarray:
    """Opacity 0..1 of a shape: one pixel wide from full to none, centred on its edge."""
    return np.clip(distance + 0.5, 0.0, 1.0)


def blend(picture: np.ndarray, window: Window, where: np.ndarray, layers: Sequence[tuple[Colour, np.ndarray]]) -> None:
    """Blend layers of colour, first to last, into the pixels of ``window`` that ``where`` [h, w] bool selects.

    Args:
        picture: [H, W, 3] uint8, changed in place.
        window: the part of the picture that ``where`` speaks of.
        where: k pixels are true.
        layers: colours with their opacities [k] in 0..1.
    """
    patch = picture[window.slices]
    pixels = patch[where].astype(np.float32)
    for colour, opacity in layers:
        pixels += (np.asarray(colour, dtype=np.float32) - pixels) * opacity[:, None]
    patch[where] = np.rint(pixels).astype(np.uint8)


def paint(picture: np.ndarray, window: Window, colour: Colour, opacity: np.ndarray) -> None:
    """Blend ``colour`` into ``window`` of ``picture`` (uint8, changed in place) by ``opacity`` [h, w] in 0..1."""
    where = opacity > 1 / 512
    blend(picture, window, where, ((colour, opacity[where]),))


def signed_distance(inside: np.ndarray) -> np.ndarray:
    """Distance in pixels to the edge of a mask [h, w] uint8 0/1: positive within; the picture's border is no edge."""
    if inside.all():
        return np.full(inside.shape, 1e4, dtype=np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(inside > 0, within - 0.5, 0.5 - beyond).astype(np.float32)


def disk(window: Window, centre: tuple[float, float], radius: float) -> np.ndarray:
    """Signed distance to a disk."""
    columns, rows = window.grid()
    return radius - np.hypot(columns - centre[0], rows - centre[1])


def rounded_box(window: Window, corners: tuple[float, float, float, float], radius: float) -> np.ndarray:
    """Signed distance to a rectangle x0, y0, x1, y1 with rounded corners."""
    columns, rows = window.grid()
    x0, y0, x1, y1 = corners
    across = np.abs(columns - (x0 + x1) / 2) - ((x1 - x0) / 2 - radius)
    down = np.abs(rows - (y0 + y1) / 2) - ((y1 - y0) / 2 - radius)
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return radius - outside - np.minimum(np.maximum(across, down), 0)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The typeface inside Pillow: the same on every machine."""
    return ImageFont.load_default(size=size)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of ``text``'s ink in pixels."""
    left, top, right, bottom = font(size).getbbox(text)
    return int(np.ceil(right - left)), int(np.ceil(bottom - top))


def write(picture: np.ndarray, text: str, centre: tuple[float, float], *, size: int, colour: Colour) -> None:
    """Write ``text`` with the middle of its ink at ``centre``."""
    width, height = text_size(text, size)
    left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
    window = Window.around((left, top, left + width - 1, top + height - 1), 0, picture)
    if window is None:
        return
    ink = Image.new("L", (width, height))
    offset = font(size).getbbox(text)
    ImageDraw.Draw(ink).text((-offset[0], -offset[1]), text, fill=255, font=font(size))
    opacity = np.asarray(ink, dtype=np.float32)[window.y0 - top : window.y1 - top, window.x0 - left : window.x1 - left]
    paint(picture, window, colour, opacity / 255)
