"""Bridges: lines of no width that join rings to one polygon, for formats that know neither holes nor parts.

A bridge is gone along twice, there and back, and encloses nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Polygon = npt.NDArray[np.float64]
"""Vertices [k, 2] as (x, y) in pixels; the last is joined to the first."""

Points = npt.NDArray[np.int64]

Stop = tuple[int, Points, int]
"""Segment of a ring, point on it, and the ring that is joined to it there."""


def find_bridges(
    rings: list[npt.NDArray[Any]], parents: Sequence[int], bits: npt.NDArray[np.uint8]
) -> dict[int, list[Stop]]:
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


def walk(root: int, rings: Sequence[npt.NDArray[Any]], stops: dict[int, list[Stop]]) -> Iterator[npt.NDArray[Any]]:
    """The way along ``root`` and, over bridges, along all rings joined to it, as chains between the ends of bridges.

    A ring without bridges is one chain without its end; all other chains have both ends.
    """
    if root not in stops:
        yield rings[root]
        return
    ring, (at, point, _) = rings[root], stops[root][0]
    # turned to start where the first bridge leaves
    turned = np.concatenate((point[None], ring[at + 1 :], ring[: at + 1]))
    moved: list[Stop] = [((place - at) % len(ring), end, child) for place, end, child in stops[root]]
    stack = [_ring_chains(turned, moved)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, int):
            stack.append(_ring_chains(rings[item], stops.get(item, [])))
        else:
            yield item


def _ring_chains(ring: npt.NDArray[Any], stops: Sequence[Stop]) -> Iterator[npt.NDArray[Any] | int]:
    """Chains from the start of ``ring`` around it; at each stop the number of the ring to go around first."""
    last, place = ring[:1], 0
    for at, point, child in stops:
        yield np.concatenate((last, ring[place + 1 : at + 1], point[None]))
        yield child
        last, place = point[None], at
    yield np.concatenate((last, ring[place + 1 :], ring[:1]))


def join_polygons(polygons: Sequence[Polygon]) -> Polygon:
    """One polygon of several, joined by bridges between close vertices, for formats that hold one an object."""
    if not polygons:
        return np.zeros((0, 2))
    rings: list[npt.NDArray[Any]] = [np.asarray(polygon, np.float64) for polygon in polygons]
    order = sorted(range(len(rings)), key=lambda index: tuple(rings[index].min(0)))
    stops: dict[int, list[Stop]] = {}
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
    return without_repeats(np.concatenate(list(walk(order[0], rings, stops))))


def without_repeats(points: Polygon) -> Polygon:
    """Without vertices that equal the one before."""
    different = (points != np.roll(points, 1, axis=0)).any(1)
    return points[different] if different.any() else points[:1]


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


def without_bridges(polygon: Polygon) -> list[Polygon]:
    """The rings that bridges join into ``polygon``; the polygon itself if it has none.

    A bridge is gone along there and back, and what it joins does not end there: else it is a line that is to be seen.
    """
    points: list[tuple[float, float]] = [(float(x), float(y)) for x, y in without_repeats(polygon)]
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
