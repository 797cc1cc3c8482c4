"""Masks to polygons and back, exactly, in the plane where pixel (x, y) covers [x, x + 1) x [y, y + 1).

Outlines run along the edges of pixels, so that whoever fills them by pixel centres gets the mask back bit for bit. A
hole is joined to what surrounds it by a bridge: a line that is gone along twice, there and back, and encloses nothing.
Parts that touch at a corner belong together (8-connected).

Tracing goes through OpenCV, which follows the pixels inside an outline. In the mask enlarged twice, each of these
stands at one corner of a pixel: its parity says which.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from sam2.interop.rle import Mask

Polygon = npt.NDArray[np.float64]
"""Vertices [k, 2] as (x, y) in pixels; the last is joined to the first."""

Points = npt.NDArray[np.int64]
Within = tuple[float, float]

EDGES: Within = (0.0, 1.0)
"""Vertices at the edges of pixels: for those who fill by pixel centres."""

INSET: Within = (0.0625, 0.9375)
"""Vertices next to the edges: for those who fill by centres, or cut to whole pixels and draw the outline too."""

INSIDE: Within = (0.125, 0.4375)
"""Vertices inside the outermost pixels: for those who round or cut them to whole numbers and draw the outline too."""

_Stop = tuple[int, Points, int]
"""Segment of a ring, point on it, and the ring that is joined to it there."""


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
    stops = _bridges(rings, parents, bits)
    roots = [index for index, parent in enumerate(parents) if parent < 0]
    return [_outline(list(_walk(root, rings, stops)), tolerance, within) for root in roots]


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
    for polygon in polygons:
        rings = [np.floor(ring).astype(np.int32) for ring in _without_bridges(check_polygon(polygon)) if len(ring)]
        if len(polygons) == 1:
            return cv2.fillPoly(mask, rings, (1,)).astype(bool)
        part[:] = 0
        mask |= cv2.fillPoly(part, rings, (1,)).astype(np.uint8)
    return mask.astype(bool)


def join_polygons(polygons: Sequence[Polygon]) -> Polygon:
    """One polygon of several, joined by bridges between close vertices, for formats that hold one an object."""
    if not polygons:
        return np.zeros((0, 2))
    rings: list[npt.NDArray[Any]] = [np.asarray(polygon, np.float64) for polygon in polygons]
    order = sorted(range(len(rings)), key=lambda index: tuple(rings[index].min(0)))
    stops: dict[int, list[_Stop]] = {}
    before, owners, places = _Growing(), _Growing(), _Growing()
    for index in order:
        ring = rings[index]
        if len(before):
            own, theirs = _closest(ring, before.array)
            rings[index] = ring = np.roll(ring, -own, axis=0)
            owner, place = int(owners.array[theirs]), int(places.array[theirs])
            stops.setdefault(owner, []).append((place, before.array[theirs], index))
        before.extend(ring)
        owners.extend(np.full(len(ring), index))
        places.extend(np.arange(len(ring)))
    for found in stops.values():
        found.sort(key=lambda stop: stop[0])
    return _without_repeats(np.concatenate(list(_walk(order[0], rings, stops))))


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
    return (mask != 0).astype(np.uint8)


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


def _bridges(rings: list[npt.NDArray[Any]], parents: list[int], bits: npt.NDArray[np.uint8]) -> dict[int, list[_Stop]]:
    """Where holes are joined to the ring at their left, by ring; holes in ``rings`` are turned to start there.

    A bridge goes from a leftmost corner straight to the left, through set pixels, to the first outline: of the part, or
    of a hole that reaches further left, so that no circle can come about.
    """
    holes = [index for index, parent in enumerate(parents) if parent >= 0]
    if not holes:
        return {}
    starts = np.zeros((len(holes), 2), np.int64)
    ends = np.zeros(len(holes), np.int64)
    for number, index in enumerate(holes):
        rings[index] = np.roll(rings[index], -int(rings[index][:, 0].argmin()), axis=0)
        starts[number] = rings[index][0]
        x, y = (int(value) // 2 for value in starts[number])
        row = bits[y, x::-1]
        length = int(row.argmin())  # the first that is not set
        ends[number] = 2 * (x - (length if not row[length] else x + 1) + 1)
    owner, place, segment = _left_sides(rings, ends, starts[:, 1], 2 * bits.shape[0])
    stops: dict[int, list[tuple[int, int, Points, int]]] = {}
    for number, index in enumerate(holes):
        point = np.array([ends[number], starts[number, 1]])
        along = int(abs(point[1] - segment[number]))
        stops.setdefault(int(owner[number]), []).append((int(place[number]), along, point, index))
    return {
        ring: [(at, point, index) for at, _, point, index in sorted(found, key=lambda stop: stop[:2])]
        for ring, found in stops.items()
    }


def _left_sides(rings: list[npt.NDArray[Any]], x: Points, y: Points, height: int) -> tuple[Points, Points, Points]:
    """The vertical segment that each point (x, y) lies on: its ring, its number in there, and the y of its first end.

    Only segments with nothing at their left count (x is even there); those of one x do not meet.
    """
    lengths = np.array([len(ring) for ring in rings])
    first = np.concatenate(rings)
    second = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    chosen = np.flatnonzero((first[:, 0] == second[:, 0]) & (first[:, 0] % 2 == 0))
    keys = first[chosen, 0] * height + np.minimum(first[chosen, 1], second[chosen, 1])
    order = np.argsort(keys)
    found = chosen[order[np.searchsorted(keys[order], x * height + y, side="right") - 1]]
    owner = np.repeat(np.arange(len(rings)), lengths)[found]
    return owner, found - (np.cumsum(lengths) - lengths)[owner], first[found, 1]


def _walk(root: int, rings: Sequence[npt.NDArray[Any]], stops: dict[int, list[_Stop]]) -> Iterator[npt.NDArray[Any]]:
    """The way along ``root`` and, over bridges, along all rings joined to it, as chains between the ends of bridges.

    A ring without bridges is one chain without its end; all other chains have both ends.
    """
    if root not in stops:
        yield rings[root]
        return
    ring, (at, point, _) = rings[root], stops[root][0]
    # turned to start where the first bridge leaves
    turned = np.concatenate((point[None], ring[at + 1 :], ring[: at + 1]))
    moved: list[_Stop] = [((place - at) % len(ring), end, child) for place, end, child in stops[root]]
    stack = [_ring_chains(turned, moved)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, int):
            stack.append(_ring_chains(rings[item], stops.get(item, [])))
        else:
            yield item


def _ring_chains(ring: npt.NDArray[Any], stops: Sequence[_Stop]) -> Iterator[npt.NDArray[Any] | int]:
    """Chains from the start of ``ring`` around it; at each stop the number of the ring to go around first."""
    last, place = ring[:1], 0
    for at, point, child in stops:
        yield np.concatenate((last, ring[place + 1 : at + 1], point[None]))
        yield child
        last, place = point[None], at
    yield np.concatenate((last, ring[place + 1 :], ring[:1]))


def _outline(chains: Sequence[npt.NDArray[Any]], tolerance: float, within: Within) -> Polygon:
    """A polygon of chains of corners, simplified between the ends of bridges."""
    low, high = within
    exact = [chain // 2 + np.where(chain % 2, high, low) for chain in chains]
    polygon = _without_repeats(np.concatenate(exact))
    if tolerance == 0:
        return polygon
    closed = len(exact) == 1
    simple = [cv2.approxPolyDP(part.astype(np.float32), tolerance, closed)[:, 0] for part in exact]
    simplified = _without_repeats(np.concatenate(simple).astype(np.float64))
    # what is smaller than the tolerance stays what it is, rather than vanish
    area = float(cv2.contourArea(simplified.astype(np.float32), oriented=True)) if len(simplified) > 2 else 0.0
    return simplified if area * float(cv2.contourArea(polygon.astype(np.float32), oriented=True)) > 0 else polygon


def _without_repeats(points: Polygon) -> Polygon:
    """Without vertices that equal the one before."""
    different = (points != np.roll(points, 1, axis=0)).any(1)
    return points[different] if different.any() else points[:1]


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


class _Growing:
    """An array that is added to at its end."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[Any]] = []

    def __len__(self) -> int:
        return len(self._parts)

    def extend(self, values: npt.NDArray[Any]) -> None:
        self._parts.append(values)

    @property
    def array(self) -> npt.NDArray[Any]:
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]


def _closest(ring: Polygon, others: Polygon) -> tuple[int, int]:
    """The numbers of a vertex of ``ring`` and one of ``others`` that are close, if not the closest."""
    own, theirs, distance = 0, 0, np.inf
    while True:
        away = np.abs(others - ring[own]).max(1)  # pixels that a line between them has
        theirs = int(away.argmin())
        if away[theirs] >= distance:
            return own, theirs
        distance = away[theirs]
        own = int(np.abs(ring - others[theirs]).max(1).argmin())


def _without_bridges(polygon: Polygon) -> list[Polygon]:
    """The rings that bridges join into ``polygon``; the polygon itself if it has none.

    A bridge is gone along there and back, and what it joins does not end there: else it is a line that is to be seen.
    """
    points: list[tuple[float, float]] = [(float(x), float(y)) for x, y in _without_repeats(polygon)]
    if len(set(points)) == len(points):  # a bridge comes back to where it left
        return [polygon]
    edges = Counter(zip(points, points[1:] + points[:1], strict=True))
    single = edges - Counter({(end, start): count for (start, end), count in edges.items()})
    solid = {start for start, _ in single}
    follow: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for start, end in (single if solid else edges).elements():
        follow.setdefault(start, []).append(end)
    for (start, end), count in (edges - single).items():
        if solid and (start not in solid or end not in solid):
            follow.setdefault(start, []).extend([end] * count)
    # as many edges leave a point as come to it: every walk comes back to its start
    rings: list[Polygon] = []
    while follow:
        start = next(iter(follow))
        ring = [start]
        while (following := follow.get(ring[-1])) is not None:
            ring.append(following.pop())
            if not following:
                del follow[ring[-2]]
        rings.append(np.array(ring))
    return rings
