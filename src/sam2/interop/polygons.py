"""Masks to polygons and back, exactly, in the plane where pixel (x, y) covers [x, x + 1) x [y, y + 1).

Outlines run along the edges of pixels, so that whoever fills them by pixel centres gets the mask back bit for bit. A
hole is joined to what surrounds it by a bridge: a line that is gone along twice, there and back, and encloses nothing.
Parts that touch at a corner belong together (8-connected).

Tracing goes through OpenCV, which follows the pixels inside an outline. In the mask enlarged twice, each of these
stands at one corner of a pixel: its parity says which.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from sam2.interop.bridges import Points, Polygon, find_bridges, walk, without_bridges, without_repeats
from sam2.interop.rle import Mask

Within = tuple[float, float]

EDGES: Within = (0.0, 1.0)
"""Vertices at the edges of pixels: for those who fill by pixel centres."""

INSET: Within = (0.0625, 0.9375)
"""Vertices next to the edges: for those who fill by centres, or cut to whole pixels and draw the outline too."""

INSIDE: Within = (0.125, 0.4375)
"""Vertices inside the outermost pixels: for those who round or cut them to whole numbers and draw the outline too."""


def mask_to_polygons(
    mask: npt.NDArray[Any],
    *,
    holes: Literal["bridge", "drop"] = "bridge",
    tolerance: float = 0.0,
    within: Within = EDGES,
) -> list[Polygon]:
    """The outline of each part of a mask [h, w] (true where not zero), one polygon a part; none if it is empty.

    Args:
        holes: "bridge" joins them to the outline, "drop" fills them.
        tolerance: how far a simplified outline may be from the exact one, in pixels; 0 keeps it exact.
        within: where in its pixel a vertex lies, at its left or top and at its right or bottom: ``EDGES`` gives the
            outline proper, (0.5, 0.5) goes through the centres of the outermost pixels.

    Raises:
        ValueError: the mask has another rank, or an option is none of these.
    """
    if holes not in ("bridge", "drop"):
        raise ValueError(f"holes must be 'bridge' or 'drop', got {holes!r}")
    _check_tolerance(tolerance)
    bits = _bits(mask)
    rings, parents = _trace(bits, cv2.RETR_CCOMP if holes == "bridge" else cv2.RETR_EXTERNAL)
    stops = find_bridges(rings, parents, bits)
    roots = [index for index, parent in enumerate(parents) if parent < 0]
    return [_outline(list(walk(root, rings, stops)), tolerance, within) for root in roots]


def mask_to_rings(mask: npt.NDArray[Any], *, tolerance: float = 0.0) -> list[list[Polygon]]:
    """The parts of a mask [h, w], each as its outline followed by its holes, for formats that know holes.

    Exact rings (``tolerance`` 0) are simple and touch in single points only, as geographic tools demand: parts that
    touch at a corner are parts of their own here.

    Raises:
        ValueError: the mask has another rank, or ``tolerance`` is negative.
    """
    _check_tolerance(tolerance)
    bits = _bits(mask)
    parts: list[list[Polygon]] = []
    for component, offset in _components(bits):
        rings, _ = _trace(component, cv2.RETR_CCOMP)
        # one part has one outline, and it comes first
        parts.append([_outline([ring], tolerance, EDGES) + offset for ring in rings])
    return parts


def polygons_to_mask(polygons: Sequence[npt.ArrayLike], size: tuple[int, int]) -> Mask:
    """The mask of ``size`` = (height, width), set where a pixel's centre lies in at least one of ``polygons`` [k, 2].

    Each polygon by itself is filled by the even-odd rule: bridges enclose nothing, and what a polygon goes around
    twice is a hole. Vertices may have fractions and lie outside. A centre right on an outline counts to the left and at
    the top of a polygon, not to the right and at the bottom.

    Raises:
        ValueError: a polygon has another shape, or coordinates that are not finite.
    """
    return rings_to_mask([[polygon] for polygon in polygons], size)


def rings_to_mask(parts: Sequence[Sequence[npt.ArrayLike]], size: tuple[int, int]) -> Mask:
    """The same for parts that are made of several rings [k, 2] each, such as an outline and its holes.

    Raises:
        ValueError: a ring has another shape, or coordinates that are not finite.
    """
    height, width = size
    mask: Mask = np.zeros((height, width), bool)
    for part in parts:
        rings = [ring for ring in map(check_polygon, part) if len(ring)]
        if not rings:
            continue
        # only what the part can reach
        low, high = (np.stack([edge(ring, axis=0) for ring in rings]) for edge in (np.min, np.max))
        left, top = (int(edge) for edge in _first_centre(low.min(0), np.array([width, height])))
        right, bottom = (int(edge) for edge in _first_centre(high.max(0), np.array([width, height])))
        if top < bottom and left < right:
            inside = _fill([ring - (left, top) for ring in rings], bottom - top, right - left)
            mask[top:bottom, left:right] |= inside
    return mask


def outlines_to_mask(polygons: Sequence[npt.ArrayLike], size: tuple[int, int]) -> Mask:
    """The mask of ``size`` = (h, w) whose outermost pixels ``polygons`` [k, 2] go through: ``INSIDE`` read back.

    Coordinates are cut to whole pixels and the outline itself is set, as trainers of YOLO do it. Bridges are left out,
    however, which those draw. A polygon without extent still gives a pixel.

    Raises:
        ValueError: a polygon has another shape, or coordinates that are not finite.
    """
    mask = np.zeros(size, np.uint8)
    part = np.zeros_like(mask)
    if not mask.size:  # which OpenCV refuses
        return mask.astype(bool)
    for polygon in polygons:
        rings = [np.floor(ring).astype(np.int32) for ring in without_bridges(check_polygon(polygon)) if len(ring)]
        if len(polygons) == 1:
            return cv2.fillPoly(mask, rings, (1,)).astype(bool)
        part[:] = 0
        mask |= cv2.fillPoly(part, rings, (1,)).astype(np.uint8)
    return mask.astype(bool)


def check_polygon(polygon: npt.ArrayLike) -> Polygon:
    """``polygon`` as an array [k, 2] of float64.

    Raises:
        ValueError: it has another shape, or coordinates that are no numbers, not finite or absurdly large.
    """
    try:
        points = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        raise ValueError("a polygon must be a list of (x, y)") from None
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"a polygon must have shape [k, 2], got {list(points.shape)}")
    if not (np.abs(points) < _FAR).all():  # NaN fails too
        raise ValueError("a polygon has coordinates that are not finite or far outside any picture")
    return points


_FAR = 1e8


def _check_tolerance(tolerance: float) -> None:
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")


def _bits(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if mask.ndim != 2:
        raise ValueError(f"mask must have shape [h, w], got {mask.shape}")
    return (mask != 0).astype(np.uint8, order="C")  # decoded masks have the other order


def _trace(bits: npt.NDArray[np.uint8], mode: int) -> tuple[list[npt.NDArray[Any]], list[int]]:
    """Closed chains of corners [k, 2] in the mask enlarged twice; for each the chain whose hole it is, or -1."""
    left, top, width, height = cv2.boundingRect(bits) if bits.size else (0, 0, 0, 0)
    if not width or not height:
        return [], []
    crop = bits[top : top + height, left : left + width]
    twice = cv2.resize(crop, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    contours, family = cv2.findContours(twice, mode, cv2.CHAIN_APPROX_SIMPLE, offset=(2 * left, 2 * top))
    rings: list[npt.NDArray[Any]] = [contour[:, 0].astype(np.int64) for contour in contours]
    return rings, [int(parent) for parent in family[0, :, 3]]


def _components(bits: npt.NDArray[np.uint8]) -> Iterator[tuple[npt.NDArray[np.uint8], tuple[int, int]]]:
    """The 4-connected parts of a mask, each cut out, with its place (x, y)."""
    if not bits.size:  # which OpenCV does not survive
        return
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(bits, connectivity=4)
    for number in range(1, count):
        left, top, width, height = (int(value) for value in boxes[number, :4])
        yield (labels[top : top + height, left : left + width] == number).astype(np.uint8), (left, top)


def _outline(chains: Sequence[npt.NDArray[Any]], tolerance: float, within: Within) -> Polygon:
    """A polygon of chains of corners, simplified between the ends of bridges."""
    low, high = within
    exact = [chain // 2 + np.where(chain % 2, high, low) for chain in chains]
    polygon = without_repeats(np.concatenate(exact))
    if tolerance == 0:
        return polygon
    closed = len(exact) == 1
    simple = [cv2.approxPolyDP(part.astype(np.float32), tolerance, closed)[:, 0] for part in exact]
    simplified = without_repeats(np.concatenate(simple).astype(np.float64))
    # what is smaller than the tolerance stays what it is, rather than vanish
    area = float(cv2.contourArea(simplified.astype(np.float32), oriented=True)) if len(simplified) > 2 else 0.0
    return simplified if area * float(cv2.contourArea(polygon.astype(np.float32), oriented=True)) > 0 else polygon


def _fill(rings: Sequence[Polygon], height: int, width: int) -> Mask:
    """Pixels [height, width] whose centres are in an odd number of rings."""
    points = np.concatenate(rings)
    other = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    # each edge from its upper end: a bridge crosses a row at the same place on both its ways
    swap = (points[:, 1] > other[:, 1])[:, None]
    upper, lower = np.where(swap, other, points), np.where(swap, points, other)
    first, last = _first_centre(upper[:, 1], height), _first_centre(lower[:, 1], height)
    count = last - first
    upper, lower, first, count = upper[count > 0], lower[count > 0], first[count > 0], count[count > 0]
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    crossing = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[edge]
    column = _first_centre(crossing, width)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    odd: Mask = np.reshape(flips.astype(np.uint8) & 1, (height, width + 1)).astype(bool)
    return np.logical_xor.accumulate(odd, axis=1)[:, :width]


def _first_centre(edge: Polygon, count: int | Points) -> Points:
    """The first of ``count`` pixels whose centre is not before ``edge``; ``count`` if there is none."""
    return np.minimum(np.maximum(np.ceil(edge - 0.5), 0), count).astype(np.int64)
