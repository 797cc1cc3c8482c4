"""A plot of how large each object is, and how sure the model is of it, along a video."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam2.viz.canvas import Window, cover, paint, rounded_box, text_size, write
from sam2.viz.palette import INK, Colour, object_colour

PAPER: Colour = (252, 252, 251)
_GRID: Colour = (226, 228, 230)
_AXIS: Colour = (120, 125, 130)
_TEXT: Colour = (70, 75, 80)
_WIDTH = 1600
_LEFT, _RIGHT = 96, 36
_SIZE, _TITLE_SIZE = 17, 22
_AREA_HEIGHT, _SCORE_HEIGHT = 400, 240
_MOST_ENTRIES = 84
_SUBPIXELS = 4
"""Binary digits after the point in coordinates that OpenCV takes."""


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """One object along a video.

    Attributes:
        object_id: chooses the colour.
        frames: k indices of frames, ascending: those in which the object is. Where it is not, the line has a gap.
        areas: k shares of the frame, 0..1.
        scores: k values, 0..1.
        name: for the legend; ``object 1`` and so on by default.
    """

    object_id: int
    frames: Sequence[int] | np.ndarray
    areas: Sequence[float] | np.ndarray
    scores: Sequence[float] | np.ndarray
    name: str | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "areas", "scores"):
            values = np.asarray(getattr(self, name), np.float64)
            if values.shape != (len(self.frames),) or not np.isfinite(values).all():
                raise ValueError(f"{name} must be {len(self.frames)} finite numbers, got an array {values.shape}")
            object.__setattr__(self, name, values)
        if (np.diff(self.frames) <= 0).any():
            raise ValueError(f"frames of object {self.object_id} must be ascending, each once")


@dataclass(frozen=True, slots=True)
class _Panel:
    """A part of the page with axes: frames ``first`` to ``last`` across, 0 to ``top`` upward."""

    x0: int
    y0: int
    x1: int
    y1: int
    first: int
    last: int
    top: float

    def x(self, frames: np.ndarray) -> np.ndarray:
        """Columns of frames; a single frame is in the middle."""
        span = self.last - self.first
        if span == 0:
            return np.full(np.shape(frames), (self.x0 + self.x1) / 2)
        return self.x0 + (np.asarray(frames) - self.first) * ((self.x1 - self.x0) / span)

    def y(self, values: np.ndarray) -> np.ndarray:
        """Rows of values, which are cut to the panel."""
        return self.y1 - np.clip(values, 0, self.top) * ((self.y1 - self.y0) / self.top)


def draw_timeline(
    lines: Sequence[ObjectLine], *, first: int, last: int, title: str = "", score_name: str = "predicted IoU"
) -> np.ndarray:
    """Draw areas (in percent of the frame) and scores of objects over the frames of a video.

    Where there are more frames than fit, a line is the mean of the frames of a pixel, in a band from least to most.

    Args:
        lines: n objects.
        first: the first frame.
        last: the last frame, itself included.
        title: what is shown.
        score_name: what the scores are.

    Returns:
        [h, 1600, 3] uint8 RGB; h depends on the legend.

    Raises:
        ValueError: ``last`` is before ``first``, or an object has frames outside of them.
    """
    if last < first:
        raise ValueError(f"last must not be before first, got {first} and {last}")
    for line in lines:
        if len(line.frames) and (line.frames[0] < first or line.frames[-1] > last):
            raise ValueError(f"object {line.object_id} has frames outside of {first} to {last}")
    top = _top_of_areas(lines)
    head = 86 if title else 44
    upper = _Panel(_LEFT, head, _WIDTH - _RIGHT, head + _AREA_HEIGHT, first, last, top)
    lower = _Panel(_LEFT, upper.y1 + 64, upper.x1, upper.y1 + 64 + _SCORE_HEIGHT, first, last, 1.0)
    entries = _place_legend(lines, lower.y1 + 84)
    bottom = entries[-1][1] if entries else lower.y1 + 60
    page = np.full((bottom + 36, _WIDTH, 3), PAPER, np.uint8)
    if title:
        _write_left(page, _shorten(title), (_LEFT, 30), size=_TITLE_SIZE, colour=INK)
    _draw_axes(page, upper, "area, % of the frame", percent=True)
    _draw_axes(page, lower, score_name, percent=False)
    _write_centre(page, "frame", ((lower.x0 + lower.x1) / 2, lower.y1 + 46))
    for panel, values in ((upper, "areas"), (lower, "scores")):
        for line in sorted(lines, key=lambda line: -float(np.sum(line.areas))):
            _draw_line(page, panel, np.asarray(line.frames), getattr(line, values), on_paper(line.object_id))
    for x, y, text, colour in entries:
        _draw_entry(page, (x, y), text, colour)
    return page


def on_paper(object_id: int) -> Colour:
    """An object's colour, darker where it would be lost on a light ground."""
    colour = np.asarray(object_colour(object_id), np.float64)
    luminance = float(colour @ (0.2126, 0.7152, 0.0722))
    red, green, blue = np.rint(colour * min(1.0, 165 / max(luminance, 1))).astype(int).tolist()
    return red, green, blue


def _top_of_areas(lines: Sequence[ObjectLine]) -> float:
    largest = max((float(np.max(line.areas)) for line in lines if len(line.areas)), default=0.0)
    if largest <= 0:
        return 1.0
    step = _nice_step(largest * 1.04, 5)
    return min(1.0, step * math.ceil(largest * 1.04 / step))


def _nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that about ``count`` steps make the span."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _draw_axes(page: np.ndarray, panel: _Panel, name: str, *, percent: bool) -> None:
    step = _nice_step(panel.top, 5)
    for number in range(round(panel.top / step) + 1):
        value = number * step
        y = round(float(panel.y(np.asarray(value))))
        page[y, panel.x0 : panel.x1 + 1] = _AXIS if number == 0 else _GRID
        text = f"{value * 100:.6g}" if percent else f"{value:.1f}"
        width, _ = text_size(text, _SIZE)
        _write_centre(page, text, (panel.x0 - 14 - width / 2, y))
    span = panel.last - panel.first
    step = max(1, round(_nice_step(span, 10))) if span else 1
    ticks = range(-(-panel.first // step) * step, panel.last + 1, step)
    for frame in ticks:
        x = round(float(panel.x(np.asarray(frame))))
        page[panel.y0 : panel.y1, x] = _GRID
        page[panel.y1 : panel.y1 + 6, x] = _AXIS
        _write_centre(page, str(frame), (x, panel.y1 + 20))
    _write_left(page, name, (panel.x0, panel.y0 - 18), size=_SIZE, colour=_TEXT)


def _draw_line(page: np.ndarray, panel: _Panel, frames: np.ndarray, values: np.ndarray, colour: Colour) -> None:
    """A line with gaps where frames are missing; frames that stand alone are dots."""
    if not len(frames):
        return
    each = max(1, math.ceil((panel.last - panel.first + 1) / (panel.x1 - panel.x0)))
    bins = (frames - panel.first).astype(np.int64) // each
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    counts = np.diff(np.append(starts, len(bins)))
    x, y = (panel.x(np.add.reduceat(frames, starts) / counts), panel.y(np.add.reduceat(values, starts) / counts))
    low, high = panel.y(np.minimum.reduceat(values, starts)), panel.y(np.maximum.reduceat(values, starts))
    runs = np.split(np.arange(len(starts)), np.flatnonzero(np.diff(bins[starts]) > 1) + 1)
    if each > 1:
        _draw_bands(
            page, panel, [np.concatenate([_dots(x[r], low[r]), _dots(x[r], high[r])[::-1]]) for r in runs], colour
        )
    for run in runs:
        dots = _dots(x[run], y[run])
        if len(run) == 1:
            cv2.circle(page, dots[0].tolist(), 3 << _SUBPIXELS, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXELS)
        else:
            cv2.polylines(page, [dots], False, colour, 2, cv2.LINE_AA, _SUBPIXELS)


def _draw_bands(page: np.ndarray, panel: _Panel, bands: list[np.ndarray], colour: Colour) -> None:
    part = page[panel.y0 - 2 : panel.y1 + 3]
    layer = part.copy()
    for band in bands:
        cv2.fillPoly(layer, [band - (0, (panel.y0 - 2) << _SUBPIXELS)], colour, cv2.LINE_AA, _SUBPIXELS)
    cv2.addWeighted(layer, 0.22, part, 0.78, 0, dst=layer)
    part[:] = layer


def _dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[k, 2] int32 as OpenCV takes coordinates with a binary point."""
    return np.rint(np.stack([x, y], axis=-1) * (1 << _SUBPIXELS)).astype(np.int32)


def _place_legend(lines: Sequence[ObjectLine], top: int) -> list[tuple[int, int, str, Colour]]:
    """Left, middle row, text and colour of each entry, in rows across the page."""
    texts = [(line.name or f"object {line.object_id}", on_paper(line.object_id)) for line in lines[:_MOST_ENTRIES]]
    if len(lines) > _MOST_ENTRIES:
        texts.append((f"and {len(lines) - _MOST_ENTRIES} more", PAPER))
    if not texts:
        return []
    texts = [(_shorten(text, 30), colour) for text, colour in texts]
    width = 30 + 26 + max(text_size(text, _SIZE)[0] for text, _ in texts)
    columns = max(1, (_WIDTH - _LEFT - _RIGHT) // width)
    return [
        (_LEFT + number % columns * width, top + number // columns * 28, text, colour)
        for number, (text, colour) in enumerate(texts)
    ]


def _draw_entry(page: np.ndarray, place: tuple[int, int], text: str, colour: Colour) -> None:
    x, y = place
    corners = (float(x), y - 6.0, x + 14.0, y + 6.0)
    window = Window.around(corners, 1, page)
    if window is not None:
        paint(page, window, colour, cover(rounded_box(window, corners, 3.0)))
    _write_left(page, text, (x + 24, y), size=_SIZE, colour=_TEXT)


def _write_centre(page: np.ndarray, text: str, centre: tuple[float, float]) -> None:
    write(page, text, centre, size=_SIZE, colour=_TEXT)


def _write_left(page: np.ndarray, text: str, place: tuple[float, float], *, size: int, colour: Colour) -> None:
    """Write ``text`` from x on, its ink around the row y."""
    write(page, text, (place[0] + text_size(text, size)[0] / 2, place[1]), size=size, colour=colour)


def _shorten(text: str, most: int = 100) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
