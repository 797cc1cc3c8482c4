"""Masks drawn over the picture they belong to: what ``sam2 image`` writes beside its masks.

Line widths, markers and labels scale with the picture, so that a thumbnail and a photo of twelve megapixels look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam2.viz.canvas import (
    Window,
    blend,
    cover,
    disk,
    paint,
    rounded_box,
    signed_distance,
    text_size,
    write,
)
from sam2.viz.palette import INK, NEGATIVE, POSITIVE, WHITE, Colour, object_colour, text_colour


@dataclass(frozen=True, slots=True)
class DrawnPrompts:
    """What the user pointed at, for one object, and the colour that they chose for it.

    Attributes:
        points: [p, 2] (x, y) in pixels of the picture.
        labels: p values, 1 on the object, 0 on the background.
        box: (x0, y0, x1, y1) in pixels, or None.
        colour: (red, green, blue) of 0..255; that of the object's id if None.
    """

    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] = ()
    box: tuple[float, float, float, float] | None = None
    colour: Colour | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.labels):
            raise ValueError(f"labels must have one entry per point ({len(self.points)}), got {len(self.labels)}")


@dataclass(frozen=True, slots=True)
class OutlinedObject:
    """One mask on the way to the picture: ``depth`` is the signed distance to its edge inside ``window``."""

    object_id: int
    colour: Colour
    area: int
    window: Window
    depth: np.ndarray


def draw_overlay(
    image: np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    *,
    ids: Sequence[int] | None = None,
    prompts: Sequence[DrawnPrompts] | None = None,
    tint: float = 0.42,
    dim: float = 0.3,
    show_ids: bool | None = None,
) -> np.ndarray:
    """Draw masks and prompts over an image: tint, outline, markers, boxes, id labels.

    Args:
        image: [h, w, 3] uint8 RGB; not changed.
        masks: n masks [h, w] of any dtype; above 0 is inside. Empty masks are skipped.
        ids: n object ids, which choose the colours and are written on the labels; 1..n by default.
        prompts: n records, what was asked for each object.
        tint: opacity of the colour over an object, 0..1.
        dim: how far the rest of the picture steps back, 0 (not at all) to 1 (black and grey).
        show_ids: write id labels; by default where there are several objects.

    Returns:
        [h, w, 3] uint8.

    Raises:
        ValueError: wrong shape or dtype, or lists of different lengths.
    """
    masks = check_picture(image, masks)
    ids = list(range(1, len(masks) + 1)) if ids is None else list(ids)
    prompts = [DrawnPrompts()] * len(masks) if prompts is None else list(prompts)
    for name, given in (("ids", ids), ("prompts", prompts)):
        if len(given) != len(masks):
            raise ValueError(f"{name} must have one entry per mask ({len(masks)}), got {len(given)}")
    for name, share in (("tint", tint), ("dim", dim)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be in 0..1, got {share}")

    unit = stroke_unit(image)
    colours = [prompt.colour or object_colour(id_) for id_, prompt in zip(ids, prompts, strict=True)]
    objects = locate_all(masks, ids, colours=colours, unit=unit)
    objects.sort(key=lambda found: -found.area)  # small objects on top of large ones
    canvas = _step_back(image, masks, dim if objects else 0.0)
    for found in objects:
        _draw_tint(canvas, found, tint, unit)
    for found in objects:
        draw_outline(canvas, found, unit)
    for colour, prompt in zip(colours, prompts, strict=True):
        if prompt.box is not None:
            _draw_box(canvas, prompt.box, colour, unit)
    for prompt in prompts:
        for point, label in zip(prompt.points, prompt.labels, strict=True):
            draw_point(canvas, point, positive=bool(label))
    if show_ids if show_ids is not None else len(masks) > 1:
        _draw_ids(canvas, objects, unit)
    return canvas


def stroke_unit(image: np.ndarray) -> float:
    """Width of a thin line in pixels: 1 at about 0.3 megapixels, growing with the side of the picture."""
    height, width = image.shape[:2]
    return max(0.6, float(np.sqrt(height * width)) / 560)


def draw_point(picture: np.ndarray, point: tuple[float, float], *, positive: bool) -> None:
    """Draw a click, in place: green with a plus or red with a minus (so that colour is not the only sign)."""
    unit = stroke_unit(picture)
    x, y = float(point[0]), float(point[1])
    radius = 5.2 * unit
    window = Window.around((x, y, x, y), radius + 5 * unit, picture)
    if window is None:
        return
    edge = disk(window, (x, y), radius)
    paint(picture, window, INK, 0.45 * np.exp(-(np.maximum(-edge - 1.2 * unit, 0) ** 2) / (2 * (1.3 * unit) ** 2)))
    paint(picture, window, WHITE, cover(edge + 1.5 * unit))
    paint(picture, window, POSITIVE if positive else NEGATIVE, cover(edge))
    arm, thick = 2.9 * unit, 0.75 * unit
    sign = cover(rounded_box(window, (x - arm, y - thick, x + arm, y + thick), 0.0))
    if positive:
        sign = np.maximum(sign, cover(rounded_box(window, (x - thick, y - arm, x + thick, y + arm), 0.0)))
    paint(picture, window, WHITE, sign)


def check_picture(image: np.ndarray, masks: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """The masks as [h, w] bool. ``ValueError`` if the image is not [h, w, 3] uint8 or a mask has another size."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image must be a uint8 array of shape [h, w, 3], got {shape}")
    checked = [np.asarray(mask) > 0 for mask in masks]
    for number, mask in enumerate(checked):
        if mask.shape != image.shape[:2]:
            raise ValueError(f"masks[{number}] must have the image's shape {image.shape[:2]}, got {mask.shape}")
    return checked


def locate_all(
    masks: Sequence[np.ndarray], ids: Sequence[int], *, colours: Sequence[Colour], unit: float
) -> list[OutlinedObject]:
    """Where the masks lie that are not empty, and how deep inside each pixel is."""
    found = (_locate(mask, id_, colour, unit) for mask, id_, colour in zip(masks, ids, colours, strict=True))
    return [item for item in found if item is not None]


def _locate(mask: np.ndarray, object_id: int, colour: Colour, unit: float) -> OutlinedObject | None:
    """The object's window and the distance to its edge; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    window = Window.around((columns[0], rows[0], columns[-1], rows[-1]), 8 * unit + 4, mask)
    assert window is not None
    inside = mask[window.slices].astype(np.uint8)
    depth = signed_distance(inside)
    # Smoothing the distance, not the mask, turns the pixel staircase into a clean line and keeps thin parts alive.
    cv2.GaussianBlur(depth, (0, 0), 0.7 * unit, dst=depth)
    return OutlinedObject(object_id, colour, int(inside.sum()), window, depth)


def _step_back(image: np.ndarray, masks: list[np.ndarray], dim: float) -> np.ndarray:
    """A copy of the image, darker and greyer where no object is."""
    if dim == 0:
        return image.copy()
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    light = 1 - 0.7 * dim
    canvas = cv2.addWeighted(image, (1 - dim) * light, grey, dim * light, 0)
    return cv2.copyTo(image, np.logical_or.reduce(masks).astype(np.uint8), canvas)


def _draw_tint(canvas: np.ndarray, found: OutlinedObject, tint: float, unit: float) -> None:
    """Colour over the object, fuller towards its edge, so that the middle keeps its texture."""
    inside = found.depth > -0.5
    depth = found.depth[inside]
    towards_edge = np.exp(-np.maximum(depth, 0) / (14 * unit))
    blend(
        canvas, found.window, inside, ((found.colour, cover(depth) * tint * (0.72 + 0.55 * towards_edge).clip(0, 1)),)
    )


def draw_outline(canvas: np.ndarray, found: OutlinedObject, unit: float) -> None:
    """Draw, in place, a line in the object's colour between white ones, on a soft dark halo: seen on any background."""
    near = (found.depth > -6.5 * unit) & (found.depth < 2.5 * unit)
    depth = found.depth[near]
    beyond = np.maximum(-depth - 1.6 * unit, 0) / (1.8 * unit)
    halo = np.where(depth < 0, 0.5 * np.exp(-(beyond**2)), 0)
    white = 0.95 * cover(1.75 * unit - np.abs(depth))
    line = cover(0.95 * unit - np.abs(depth))
    blend(canvas, found.window, near, ((INK, halo), (WHITE, white), (found.colour, line)))


def _draw_box(canvas: np.ndarray, box: tuple[float, float, float, float], colour: Colour, unit: float) -> None:
    """A thin white frame with dashes in the object's colour: readable on any background."""
    x0, y0, x1, y1 = (float(value) for value in box)
    half = 0.8 * unit
    edges = ((x0, y0, x1, y0), (x0, y1, x1, y1), (x0, y0, x0, y1), (x1, y0, x1, y1))
    layers = ((INK, half + 0.8 * unit, 0.4, False), (WHITE, half, 1.0, False), (colour, half, 1.0, True))
    for paint_colour, reach, opacity, dashed in layers:
        for edge in edges:
            window = Window.around(edge, reach + 1, canvas)
            if window is None:
                continue
            corners = (edge[0] - reach, edge[1] - reach, edge[2] + reach, edge[3] + reach)
            alpha = opacity * cover(rounded_box(window, corners, 0.0))
            if dashed:
                alpha = alpha * _dashes(window, edge, 6 * unit)
            paint(canvas, window, paint_colour, alpha)


def _dashes(window: Window, edge: tuple[float, float, float, float], length: float) -> np.ndarray:
    """Opacity of dashes along a horizontal or vertical edge: a whole number of periods, a dash at both ends."""
    columns, rows = window.grid()
    span = max(edge[2] - edge[0], edge[3] - edge[1], 1e-6)
    along = columns - edge[0] if edge[2] > edge[0] else rows - edge[1]
    period = span / max(1, round(span / (2 * length)))
    to_dash = np.abs((along + period / 2) % period - period / 2)
    return np.clip(period / 4 - to_dash + 0.5, 0, 1)


def _draw_ids(canvas: np.ndarray, objects: list[OutlinedObject], unit: float) -> None:
    """One label per object, above it or within it, and never on top of another label."""
    taken: list[tuple[float, float, float, float]] = []
    size = max(9, round(11.5 * unit))
    for found in objects:
        text = str(found.object_id)
        width, height = text_size(text, size)
        half_width, half_height = width / 2 + 4.5 * unit, height / 2 + 3.8 * unit
        half_width = max(half_width, half_height)
        spots = _label_spots(canvas, found, half_width, half_height, unit)
        corners = next((spot for spot in spots if not any(_overlap(spot, other) for other in taken)), spots[0])
        taken.append(corners)
        _draw_label(canvas, text, corners, found.colour, size=size, unit=unit)


def _label_spots(
    canvas: np.ndarray, found: OutlinedObject, half_width: float, half_height: float, unit: float
) -> list[tuple[float, float, float, float]]:
    """Where a label may sit, best first: above the top of the object, below its bottom, in its thickest part."""
    rows, columns = np.nonzero(found.depth > 0)
    if not len(rows):  # smoothing ate an object of a few pixels: its window still says where it is
        rows, columns = np.array([found.depth.shape[0] // 2]), np.array([found.depth.shape[1] // 2])
    top, bottom = rows.argmin(), rows.argmax()
    deepest = np.unravel_index(int(found.depth.argmax()), found.depth.shape)
    gap = half_height + 3.5 * unit
    height, width = canvas.shape[:2]
    spots = []
    for x, y in (
        (columns[top], rows[top] - gap),
        (columns[bottom], rows[bottom] + gap),
        (deepest[1], deepest[0]),
    ):
        x = min(max(float(x) + found.window.x0, half_width + 1), width - 2 - half_width)
        y = min(max(float(y) + found.window.y0, half_height + 1), height - 2 - half_height)
        spots.append((x - half_width, y - half_height, x + half_width, y + half_height))
    return spots


def _draw_label(
    canvas: np.ndarray,
    text: str,
    corners: tuple[float, float, float, float],
    colour: Colour,
    *,
    size: int,
    unit: float,
) -> None:
    window = Window.around(corners, 5 * unit, canvas)
    if window is None:
        return
    radius = (corners[3] - corners[1]) / 2
    edge = rounded_box(window, corners, radius)
    paint(canvas, window, INK, 0.4 * np.exp(-((np.maximum(-edge - 0.8 * unit, 0) / (1.8 * unit)) ** 2)))
    paint(canvas, window, WHITE, cover(edge + 1.1 * unit))
    paint(canvas, window, colour, cover(edge))
    centre = ((corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2)
    write(canvas, text, centre, size=size, colour=text_colour(colour))


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
