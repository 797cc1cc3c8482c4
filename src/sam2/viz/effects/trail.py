"""Where objects have been: their past positions, fading."""

from collections.abc import Sequence

import cv2
import numpy as np

from sam2.viz.effects.matte import centred_matte, mix, union
from sam2.viz.overlay import stroke_unit
from sam2.viz.palette import Colour

LENGTH = 20
"""Frames until a position has faded."""
_OPACITY = 0.62


class Trail:
    """Takes the frames of one video in order and remembers, for every pixel, who was there last and how long ago.

    Memory does not depend on the number of frames or objects: seven bytes a pixel.

    Args:
        length: frames until a position has faded.
    """

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self._state: tuple[np.ndarray, np.ndarray] | None = None

    def draw(self, image: np.ndarray, masks: Sequence[np.ndarray], shades: Sequence[Colour]) -> np.ndarray:
        """The image [h, w, 3] uint8 with trails in ``shades`` behind its objects.

        Raises:
            ValueError: the image has another size than the ones before.
        """
        left, colours = self._state_of(image)
        canvas = _with_trails(image, left, colours)
        present = centred_matte(union(masks, (left.shape[0], left.shape[1])), soft=max(2.0, stroke_unit(image)))
        if present is not None:
            mix(canvas, image, present)
        np.maximum(left - 1 / self._length, 0, out=left)
        _remember(left, colours, masks, shades)
        return canvas

    def _state_of(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is left of each pixel's last visitor [h, w] float32, and its colour [h, w, 3] uint8."""
        height, width = image.shape[:2]
        if self._state is None:
            self._state = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.uint8)
        was = self._state[0].shape
        if was != (height, width):
            raise ValueError(
                f"image is {width}x{height}, the frames before were {was[1]}x{was[0]}: make an effect for each video"
            )
        return self._state


def _with_trails(image: np.ndarray, left: np.ndarray, colours: np.ndarray) -> np.ndarray:
    if not left.any():
        return image.copy()
    # the little blur takes the staircase from the edges of masks
    opacity = cv2.GaussianBlur(left, (0, 0), max(0.5, 0.8 * stroke_unit(image)))
    opacity *= _OPACITY
    return cv2.blendLinear(image, colours, 1 - opacity, opacity)


def _remember(left: np.ndarray, colours: np.ndarray, masks: Sequence[np.ndarray], shades: Sequence[Colour]) -> None:
    """Note who is where, in place; small objects on top of large ones."""
    by_area = sorted(zip(masks, shades, strict=True), key=lambda item: -cv2.countNonZero(item[0].view(np.uint8)))
    for mask, shade in by_area:
        left[mask] = 1
        # a little further than the mask, so that no other colour shows at the soft edge
        grown = cv2.dilate(mask.view(np.uint8), np.ones((7, 7), np.uint8))
        colours[(grown > 0) & ((left == 0) | mask)] = shade
