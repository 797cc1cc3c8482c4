"""Colours that stay apart for colour-blind readers, one per object id, without end."""

import colorsys

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

# Hues after Okabe and Ito (2008), which differ in lightness as well as in hue, so that they can be told apart under
# every common colour-vision deficiency; saturation is raised a little because they are seen through a photo.
_BASE: tuple[Colour, ...] = (
    (38, 153, 242),
    (245, 158, 11),
    (0, 170, 125),
    (224, 98, 170),
    (245, 226, 60),
    (222, 84, 12),
    (40, 92, 200),
)
# After one round the same hues come back lighter, then darker: neighbours in the cycle never look alike.
_LIGHTNESS = (0.0, 0.16, -0.14)

POSITIVE: Colour = (22, 163, 74)
"""A click on the object."""
NEGATIVE: Colour = (220, 38, 38)
"""A click on the background."""
WHITE: Colour = (255, 255, 255)
INK: Colour = (17, 20, 24)


def object_colour(object_id: int) -> Colour:
    """The colour of an object: the same id has the same colour in every picture.

    Args:
        object_id: a positive int (ids from 1, so that 1 has the first colour); any other int is accepted too.
    """
    round_, index = divmod(object_id - 1, len(_BASE))
    red, green, blue = (value / 255 for value in _BASE[index])
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    lightness = min(0.85, max(0.2, lightness + _LIGHTNESS[round_ % len(_LIGHTNESS)]))
    shifted = colorsys.hls_to_rgb(hue, lightness, saturation)
    return tuple(round(value * 255) for value in shifted)  # type: ignore[return-value]


def text_colour(background: Colour) -> Colour:
    """Dark or white, whichever reads better on ``background``."""
    luminance = 0.2126 * background[0] + 0.7152 * background[1] + 0.0722 * background[2]
    return INK if luminance > 150 else WHITE
