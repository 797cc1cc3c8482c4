"""Effects by name: one form for pictures and for the frames of a video."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from sam2.viz.effects.hide import hide_background, hide_objects
from sam2.viz.effects.show import contours, cut_out, spotlight
from sam2.viz.effects.trail import LENGTH, Trail
from sam2.viz.overlay import DrawnPrompts, check_picture, draw_overlay
from sam2.viz.palette import Colour, object_colour

EFFECTS = (
    "overlay",
    "contour",
    "spotlight",
    "cutout",
    "blur-background",
    "blur-object",
    "pixelate-background",
    "pixelate-object",
    "trail",
)
"""Names of all effects. ``trail`` needs the frames of a video."""
STRONGEST = 10.0

_Draw = Callable[[np.ndarray, list[np.ndarray], list[int], list[Colour]], np.ndarray]


class Effect:
    """An effect that is ready to be called with a picture, or with the frames of one video in order.

    Attributes:
        name: of ``EFFECTS``.
        alpha: whether the pictures it makes have an alpha channel.
    """

    def __init__(self, name: str, draw: _Draw) -> None:
        self.name = name
        self.alpha = name == "cutout"
        self._draw = draw

    def __call__(
        self,
        image: np.ndarray,
        masks: Sequence[np.ndarray] | np.ndarray,
        ids: Sequence[int] | None = None,
        *,
        colours: Sequence[Colour] | None = None,
    ) -> np.ndarray:
        """The picture with the effect.

        Args:
            image: [h, w, 3] uint8 RGB; not changed.
            masks: n masks [h, w] of any dtype; above 0 is inside. There may be none.
            ids: n object ids, which choose colours; 1..n by default.
            colours: n colours, (red, green, blue) of 0..255, in place of those that the ids choose.

        Returns:
            [h, w, 3] uint8, or [h, w, 4] with ``alpha`` (colours not multiplied by it).

        Raises:
            ValueError: wrong shape or dtype, or a number of ids or colours other than of masks.
        """
        checked = check_picture(image, masks)
        numbers = list(range(1, len(checked) + 1)) if ids is None else list(ids)
        if len(numbers) != len(checked):
            raise ValueError(f"ids must have one entry per mask ({len(checked)}), got {len(numbers)}")
        shades = [object_colour(number) for number in numbers] if colours is None else list(colours)
        if len(shades) != len(checked):
            raise ValueError(f"colours must have one entry per mask ({len(checked)}), got {len(shades)}")
        return self._draw(image, checked, numbers, shades)


def make_effect(name: str, *, strength: float = 1.0) -> Effect:
    """An effect to be called with a picture, or with frame after frame of one video.

    Args:
        name: of ``EFFECTS``.
        strength: how far it goes, above 0 to 10, 1 as usual: the width of a blur and the side of mosaic squares grow
            with it, lines get wider, a spotlight's surroundings darker, tints fuller, trails longer. A cutout has none.

    Raises:
        ValueError: there is no such effect, or ``strength`` is out of range.
    """
    if name not in EFFECTS:
        raise ValueError(f"name must be one of {', '.join(EFFECTS)}, got {name!r}")
    if not (math.isfinite(strength) and 0 < strength <= STRONGEST):
        raise ValueError(f"strength must be above 0 and at most {STRONGEST:g}, got {strength}")
    if name == "trail":
        trail = Trail(max(1, round(LENGTH * strength)))
        return Effect(name, lambda image, masks, ids, shades: trail.draw(image, masks, shades))
    return Effect(name, _still(name, strength))


def apply_effect(
    name: str,
    image: np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    *,
    ids: Sequence[int] | None = None,
    strength: float = 1.0,
) -> np.ndarray:
    """A still picture with an effect; arguments as in :func:`make_effect` and :class:`Effect`.

    Returns:
        [h, w, 3] uint8, for ``cutout`` [h, w, 4].

    Raises:
        ValueError: an argument is wrong, or the effect needs a video.
    """
    if name == "trail":
        raise ValueError('name: trail shows past positions and needs the frames of a video: make_effect("trail")')
    return make_effect(name, strength=strength)(image, masks, ids)


def _still(name: str, strength: float) -> _Draw:
    drawers: dict[str, _Draw] = {
        # dimmed backgrounds would flicker where objects come and go
        "overlay": lambda image, masks, ids, shades: draw_overlay(
            image,
            masks,
            ids=ids,
            prompts=[DrawnPrompts(colour=shade) for shade in shades],
            dim=0.0,
            tint=min(1.0, 0.42 * strength),
        ),
        "contour": lambda image, masks, ids, shades: contours(image, masks, colours=shades, strength=strength),
        "spotlight": lambda image, masks, ids, shades: spotlight(image, masks, strength),
        "cutout": lambda image, masks, ids, shades: cut_out(image, masks),
        "blur-background": lambda image, masks, ids, shades: hide_background(image, masks, strength, blur=True),
        "pixelate-background": lambda image, masks, ids, shades: hide_background(image, masks, strength, blur=False),
        "blur-object": lambda image, masks, ids, shades: hide_objects(image, masks, strength, blur=True),
        "pixelate-object": lambda image, masks, ids, shades: hide_objects(image, masks, strength, blur=False),
    }
    return drawers[name]
