"""Crops, flips and colour, in numpy and OpenCV: a few milliseconds a sample."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LUMA = np.array([0.299, 0.587, 0.114])
SHAKEN_SHARE = 0.1
"""Pictures smeared by a camera that moved."""
MAX_SHAKE = 1 / 40
"""Of the side: how far it moved."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a photo (x, y, width, height in pixels), mirrored or not, that becomes a square sample."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool

    def crop(self, image: Image, size: int) -> Image:
        """The window of [h, w, 3] as [size, size, 3]; averaged where it shrinks."""
        view = image[self.y : self.y + self.height, self.x : self.x + self.width]
        square = _resize(view, size, size)
        return np.ascontiguousarray(square[:, ::-1]) if self.mirrored else square

    def crop_mask(self, mask: Image, x: int, y: int, size: int) -> NDArray[np.bool_] | None:
        """The window of an object ([h, w] 0 or 1, its top left pixel at x, y) as [size, size], or None if outside."""
        left, top = max(x, self.x), max(y, self.y)
        right = min(x + mask.shape[1], self.x + self.width)
        bottom = min(y + mask.shape[0], self.y + self.height)
        if right <= left or bottom <= top:
            return None
        canvas = np.zeros((self.height, self.width), np.uint8)
        inside = mask[top - y : bottom - y, left - x : right - x]
        canvas[top - self.y : bottom - self.y, left - self.x : right - self.x] = inside * 255
        square = _resize(canvas, size, size) > 127
        return square[:, ::-1] if self.mirrored else square


def _resize(image: Image, width: int, height: int) -> Image:
    shrinks = width * height < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def random_window(rng: np.random.Generator, height: int, width: int) -> Window:
    """A rectangle of 30 to 100 % of each side, about as wide as it is high to within the photo's own shape."""
    scale = rng.uniform(0.3, 1.0)
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    rows = int(np.clip(scale * height * stretch, 32, height))
    columns = int(np.clip(scale * width / stretch, 32, width))
    return _placed(rng, height, width, rows, columns)


def whole_window(rng: np.random.Generator, height: int, width: int) -> Window:
    """Nearly the whole photo: what inference sees."""
    rows, columns = (int(np.clip(side * rng.uniform(0.85, 1.08), 32, side)) for side in (height, width))
    return _placed(rng, height, width, rows, columns)


def object_window(rng: np.random.Generator, height: int, width: int, *, box: tuple[int, int, int, int]) -> Window:
    """A rectangle around the object in ``box`` (x, y, width, height) that leaves it 1.1 to 4 times its size of room."""
    x, y, columns, rows = box
    room = np.exp(rng.uniform(np.log(1.1), np.log(4.0)))
    side = max(columns, rows) if rng.random() < 0.5 else np.sqrt(columns * rows)
    rows_wanted = max(rows * 1.05, side * room * np.exp(rng.uniform(-0.2, 0.2)))
    columns_wanted = max(columns * 1.05, side * room * np.exp(rng.uniform(-0.2, 0.2)))
    window_rows = int(np.clip(rows_wanted, min(64, height), height))
    window_columns = int(np.clip(columns_wanted, min(64, width), width))
    top = _around(rng, y, rows, window_rows, height)
    left = _around(rng, x, columns, window_columns, width)
    return Window(left, top, window_columns, window_rows, bool(rng.random() < 0.5))


def _around(rng: np.random.Generator, start: int, length: int, window: int, limit: int) -> int:
    low, high = max(0, start + length - window), min(start, limit - window)
    return int(rng.integers(low, high + 1)) if high >= low else int(np.clip(start, 0, limit - window))


def _placed(rng: np.random.Generator, height: int, width: int, rows: int, columns: int) -> Window:
    top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    return Window(left, top, columns, rows, bool(rng.random() < 0.5))


def jitter_colours(rng: np.random.Generator, image: Image, *, strength: float = 1.0) -> Image:
    """Brightness, contrast, saturation, white balance as one affine map of the colours; sometimes gamma or grey."""
    saturation = 0.0 if rng.random() < 0.05 * strength else np.exp(rng.normal(0, 0.25 * strength))
    contrast = np.exp(rng.normal(0, 0.2 * strength, 1)) * np.exp(rng.normal(0, 0.06 * strength, 3))
    brightness = rng.normal(0, 14 * strength)
    grey = np.tile(LUMA, (3, 1))
    matrix = contrast[:, None] * (saturation * np.eye(3) + (1 - saturation) * grey)
    shift = 110 * (1 - contrast) + brightness
    image = np.asarray(cv2.transform(image, np.column_stack([matrix, shift])), np.uint8)
    if rng.random() < 0.3 * strength:
        gamma = np.exp(rng.normal(0, 0.25))
        table = (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    return image


def smear(image: Image, *, length: float, angle: float) -> Image:
    """``image`` ([h, w] or [h, w, 3]) as it looks when it moves by ``length`` pixels while the shutter is open.

    ``angle`` is the direction in radians. The brightness stays, and so does the middle of what moves.
    """
    side = 2 * (int(np.ceil(length)) // 2) + 1
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, (length - 1) / 2
    step = (reach * np.cos(angle), reach * np.sin(angle))
    start, end = ((round(16 * (middle + sign * step[0])), round(16 * (middle + sign * step[1]))) for sign in (-1, 1))
    cv2.line(kernel, start, end, (1.0,), thickness=1, lineType=cv2.LINE_8, shift=4)  # in sixteenths of a pixel
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def degrade(rng: np.random.Generator, image: Image) -> Image:
    """A shaken camera, blur, noise and JPEG blocks, each now and then."""
    if rng.random() < SHAKEN_SHARE:
        length = float(rng.uniform(2, max(3.0, MAX_SHAKE * image.shape[0])))
        image = smear(image, length=length, angle=float(rng.uniform(0, np.pi)))
    if rng.random() < 0.1:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5))), np.uint8)
    if rng.random() < 0.05:
        noise = rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        quality = int(rng.integers(30, 90))
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image
