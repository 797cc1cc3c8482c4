"""Records that are painted when they are read, every object in a colour of its own: pixels say what they are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.sources import BadSampleError

GROUND = (90, 90, 90)
COLOURS = ((250, 30, 30), (30, 250, 30), (30, 30, 250), (250, 250, 30), (30, 250, 250))


@dataclass(frozen=True)
class Painted:
    """Discs on grey ground, disc k of colour k, that move to the right.

    Attributes:
        discs: (x, y, radius) in pixels at frame 0; later ones lie over earlier ones.
        empty: frames without an object.
        broken: what its reader says when asked for a picture.
    """

    name: str = "painted"
    labelled: tuple[int, ...] = (0,)
    num_frames: int = 1
    height: int = 80
    width: int = 120
    discs: tuple[tuple[float, float, float], ...] = ((30, 40, 16), (80, 30, 14), (60, 55, 12))
    pace: float = 1.0
    empty: tuple[int, ...] = ()
    broken: str = ""

    def image(self, index: int) -> NDArray[np.uint8]:
        if self.broken:
            raise BadSampleError(self.broken)
        image = np.full((self.height, self.width, 3), GROUND, np.uint8)
        for number, mask in self.masks(index).items():
            image[mask] = COLOURS[number]
        return image

    def masks(self, index: int) -> dict[int, NDArray[np.bool_]]:
        if index not in self.labelled:
            raise AssertionError(f"frame {index} has no masks")
        if index in self.empty:
            return {}
        rows, columns = np.mgrid[: self.height, : self.width]
        masks: dict[int, NDArray[np.bool_]] = {}
        for number, (x, y, radius) in enumerate(self.discs):
            disc = (columns - x - self.pace * index) ** 2 + (rows - y) ** 2 < radius**2
            masks = {other: mask & ~disc for other, mask in masks.items()} | {number: disc}
        return {number: mask for number, mask in masks.items() if mask.any()}


def video(name: str = "video", frames: int = 12, *, every: int = 1, **fields) -> Painted:
    """A painted video whose every ``every``-th frame has masks."""
    return Painted(name, tuple(range(0, frames, every)), frames, **fields)


def misplaced(image: NDArray[np.uint8], mask: NDArray[np.bool_], number: int, *, rim: int = 2) -> float:
    """Share of pixels whose colour contradicts the mask of disc ``number``, further than ``rim`` from its outline."""
    colour = np.abs(image.astype(int) - COLOURS[number]).max(-1) < 40
    kernel = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    inside = cv2.erode(mask.astype(np.uint8), kernel, borderValue=0) > 0
    outside = cv2.dilate(mask.astype(np.uint8), kernel, borderValue=0) == 0
    return float(((inside & ~colour) | (outside & colour)).mean())
