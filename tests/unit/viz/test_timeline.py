"""The timeline: lines where objects are, gaps where they are not, any number of frames and objects."""

import numpy as np
import pytest

from sam2.viz import ObjectLine, draw_timeline
from sam2.viz.timeline import on_paper

LEFT, RIGHT = 96, 1564  # of the axes


def line(object_id: int, frames: list[int], area: float = 0.2, score: float = 0.9) -> ObjectLine:
    return ObjectLine(object_id, frames, [area] * len(frames), [score] * len(frames))


def columns_of(page: np.ndarray, object_id: int) -> np.ndarray:
    """Columns of the axes in which there is a pixel of an object's colour."""
    part = page[:760].astype(int)
    near = (np.abs(part - on_paper(object_id)) < 24).all(axis=2)
    return np.flatnonzero(near.any(axis=0))


def test_lines_have_gaps_where_objects_are_absent() -> None:
    page = draw_timeline([line(1, [*range(0, 41), *range(60, 101)])], first=0, last=100)
    there = columns_of(page, 1)
    x = LEFT + np.arange(101) * (RIGHT - LEFT) / 100
    assert there.min() < LEFT + 4
    assert there.max() > RIGHT - 4
    assert not ((there > x[41] - 4) & (there < x[59] + 4)).any()
    assert np.isin(np.arange(LEFT + 4, int(x[40]) - 4), there).all()


def test_a_frame_alone_is_a_dot() -> None:
    page = draw_timeline([line(1, [3]), line(2, [0, 1, 2, 3, 4])], first=0, last=4)
    there = columns_of(page, 1)
    middle = LEFT + 3 * (RIGHT - LEFT) / 4
    assert len(there)
    assert np.abs(there - middle).max() <= 5


def test_larger_areas_are_higher() -> None:
    page = draw_timeline([line(1, list(range(10)), 0.05), line(2, list(range(10)), 0.3)], first=0, last=9)
    rows = []
    for object_id in (1, 2):
        part = page[:470, 300:400].astype(int)
        rows.append(np.flatnonzero((np.abs(part - on_paper(object_id)) < 24).all(axis=2).any(axis=1)).mean())
    assert rows[0] > rows[1] + 100


def test_thousands_of_frames_show_their_extremes() -> None:
    values = np.full(10_000, 0.1)
    values[5_000] = 0.5
    frames = np.arange(10_000)
    page = draw_timeline([ObjectLine(1, frames, values, np.full(10_000, 0.5))], first=0, last=9_999)
    flat = draw_timeline([ObjectLine(1, frames, np.clip(values, 0, 0.1), values)], first=0, last=9_999)
    assert page.shape == flat.shape
    middle = (LEFT + RIGHT) // 2
    column = page[90:400, middle - 3 : middle + 4].astype(int)
    tinted = (column.max(axis=2) - column.min(axis=2) > 20).any(axis=1)
    assert tinted.mean() > 0.6, "one frame of ten thousand is seen"


@pytest.mark.parametrize(("objects", "last"), [(0, 0), (1, 0), (40, 500), (200, 3), (2, 100_000)])
def test_any_number_of_objects_and_frames(objects: int, last: int) -> None:
    lines = [line(number, list(range(0, last + 1, max(1, last // 50)))) for number in range(1, objects + 1)]
    page = draw_timeline(lines, first=0, last=last, title="a name much longer than it ought to be.mp4 " * 9)
    assert page.dtype == np.uint8
    assert page.shape[1:] == (1600, 3)
    assert page.shape[0] < 1400
    assert page.mean() > 200, "a light page"
    for number in range(1, min(objects, 5) + 1):
        assert (np.abs(page[780:].astype(int) - on_paper(number)) < 24).all(axis=2).any(), "in the legend"


def test_empty_lines_and_areas_of_nothing() -> None:
    assert draw_timeline([line(1, [])], first=4, last=4).shape[1] == 1600
    assert draw_timeline([line(1, [4], area=0.0)], first=4, last=4).shape[1] == 1600


def test_no_colour_is_lost_on_paper() -> None:
    for object_id in range(1, 22):
        assert np.dot(on_paper(object_id), (0.2126, 0.7152, 0.0722)) < 170


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ObjectLine(1, [1, 2], [0.1], [0.5, 0.5]), r"areas must be 2 finite numbers"),
        (lambda: ObjectLine(1, [1], [0.1], [float("nan")]), r"scores must be 1 finite numbers"),
        (lambda: ObjectLine(1, [2, 1], [0.1, 0.1], [0.5, 0.5]), "must be ascending"),
        (lambda: draw_timeline([], first=3, last=2), "last must not be before first"),
        (lambda: draw_timeline([line(7, [5])], first=0, last=4), "object 7 has frames outside of 0 to 4"),
    ],
)
def test_wrong_input_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
