"""Effects that set objects off: spotlight, cut-out, contour."""

from collections.abc import Sequence

import cv2
import numpy as np

from sam2.viz.effects.matte import centred_matte, mix, outer_matte, union
from sam2.viz.overlay import draw_outline, locate_all, stroke_unit
from sam2.viz.palette import Colour


def spotlight(image: np.ndarray, masks: Sequence[np.ndarray], strength: float) -> np.ndarray:
    """The image [h, w, 3] uint8, dark and nearly grey where no object is; the light ends softly."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    light, colour = 0.36**strength, 0.25**strength
    canvas = cv2.addWeighted(image, light * colour, grey, light * (1 - colour), 0)
    matte = outer_matte(union(masks, (image.shape[0], image.shape[1])), grow=0.0, soft=5 * stroke_unit(image))
    if matte is not None:
        mix(canvas, image, matte)
    return canvas


def cut_out(image: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """[h, w, 4] uint8: the objects' pixels, smoothly transparent at their edges; black where nothing is."""
    inside = union(masks, (image.shape[0], image.shape[1]))
    picture = np.zeros((*inside.shape, 4), np.uint8)
    matte = centred_matte(inside, soft=max(2.0, 1.2 * stroke_unit(image)))
    if matte is None:
        return picture
    window = matte.window.slices
    # colours go a little beyond the edge, where video codecs mix neighbouring pixels
    near = cv2.dilate(inside[window], np.ones((9, 9), np.uint8))
    picture[window][..., :3] = cv2.copyTo(image[window], near, np.zeros_like(image[window]))
    picture[window][..., 3] = np.rint(matte.alpha * 255)
    return picture


def contours(
    image: np.ndarray, masks: Sequence[np.ndarray], *, colours: Sequence[Colour], strength: float
) -> np.ndarray:
    """The image [h, w, 3] uint8 with a line around each object, in its colour."""
    canvas, unit = image.copy(), stroke_unit(image) * strength
    found = locate_all(masks, range(len(masks)), colours=colours, unit=unit)
    for item in sorted(found, key=lambda item: -item.area):
        draw_outline(canvas, item, unit)
    return canvas
