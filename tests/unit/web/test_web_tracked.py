"""The log of tracked masks: what is written is there again, whatever happened to the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from sam2.interop.rle import decode_mask, encode_mask, mask_area, mask_edges
from sam2.web.projects.tracked import SLACK, TrackedLog, TrackedMask
from sam2.web.schemas import RleMask

SIZE = (24, 32)


def block(object_id: int, x: int, *, iou: float = 0.9) -> TrackedMask:
    """An object of 5 x 4 pixels, ``x`` from the left; none at all below 0."""
    mask = np.zeros(SIZE, bool)
    if x >= 0:
        mask[3:8, x : x + 4] = True
    rle = encode_mask(mask)
    return TrackedMask(
        object_id, RleMask(size=SIZE, counts=rle["counts"]), mask_area(rle), mask_edges(rle), iou, 3.0 if x >= 0 else -3
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracked.jsonl"


def test_later_lines_win_object_by_object(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    log.append(4, [block(1, 2), block(2, 9)])
    log.append(4, [block(1, 7, iou=0.5)])

    for again in (log, TrackedLog(path, 10, SIZE)):
        found = again.masks(4)
        assert sorted(found) == [1, 2]
        assert found[1].box == (7, 3, 11, 8)
        assert found[1].iou == 0.5
        assert found[2] == block(2, 9)
        assert np.array_equal(decode_mask(found[2].mask.model_dump()), decode_mask(block(2, 9).mask.model_dump()))
        assert again.masks(5) == {}
        assert again.mask(4, 3) is None
        assert again.frames() == [4]


def test_an_object_that_is_not_seen_is_known_but_empty(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    log.append(1, [block(1, -1)])

    assert log.masks(1)[1].area == 0
    assert not log.seen(1, 1)
    assert log.series(1).areas.tolist() == [0]


def test_series_are_in_the_order_of_frames(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    for frame in (7, 3, 5):
        log.append(frame, [block(1, frame, iou=frame / 10)])

    series = log.series(1)

    assert series.frames.tolist() == [3, 5, 7]
    assert series.areas.tolist() == [20, 20, 20]
    np.testing.assert_allclose(series.ious, [0.3, 0.5, 0.7], rtol=1e-6)
    assert log.series(9).frames.tolist() == []
    assert log.frames(4, 8) == [5, 7]


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_torn_last_line_is_dropped_and_writing_goes_on(path: Path, cut: int) -> None:
    log = TrackedLog(path, 10, SIZE)
    log.append(0, [block(1, 1)])
    log.append(1, [block(1, 2)])
    log.close()
    path.write_bytes(path.read_bytes()[:-cut])

    log = TrackedLog(path, 10, SIZE)
    assert log.frames() == [0]
    log.append(2, [block(1, 3)])
    log.close()

    assert TrackedLog(path, 10, SIZE).frames() == [0, 2]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_that_is_mostly_stale_is_written_anew(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    for turn in range(SLACK):
        for frame in range(3):
            log.append(frame, [block(1, turn % 20), block(2, frame)])
    number = log.number
    before = {frame: log.masks(frame) for frame in range(3)}
    log.close()
    size = path.stat().st_size

    again = TrackedLog(path, 10, SIZE)

    assert path.stat().st_size < size / 20
    assert {frame: again.masks(frame) for frame in range(3)} == before
    assert again.number == number  # numbers go on: a state that was saved knows what is younger
    again.append(5, [block(1, 0)])
    assert again.after(number) == [(5, 1)]
    assert list(path.parent.iterdir()) == [path]


def test_what_is_younger_than_a_number(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    log.append(0, [block(1, 0), block(2, 0)])
    log.append(1, [block(1, 0)])
    number = log.number
    log.append(0, [block(2, 5)])

    assert log.after(number) == [(0, 2)]
    assert sorted(log.after(0)) == [(0, 1), (0, 2), (1, 1)]


def test_a_disk_that_is_full_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = TrackedLog(path, 10, SIZE)
    log.append(0, [block(1, 0)])
    whole = path.read_bytes()

    class Full:
        """A file that takes ten bytes of a line."""

        def __init__(self, file) -> None:
            self.file = file

        def write(self, content) -> int:
            if len(content) <= 10:
                raise OSError(28, "No space left on device")
            return self.file.write(bytes(content[: len(content) - 10]))

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(log, "_file", Full(log._file))
        with pytest.raises(OSError, match="No space"):
            log.append(1, [block(1, 4)])

    assert path.read_bytes() == whole
    log.append(2, [block(1, 8)])
    assert log.frames() == [0, 2]
    log.close()
    assert TrackedLog(path, 10, SIZE).frames() == [0, 2]


def test_a_shorter_video_of_the_same_name_does_no_harm(path: Path) -> None:
    log = TrackedLog(path, 10, SIZE)
    for _ in range(SLACK * 3):
        log.append(9, [block(1, 0)])
    log.append(1, [block(2, 0)])
    log.close()

    assert TrackedLog(path, 5, SIZE).frames() == [1]
