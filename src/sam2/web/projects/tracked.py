"""The masks that tracking found: a file of lines that only grows, and a small index of it in memory.

A line is ``{"n": 7, "frame": 12, "objects": [{"id": 1, "counts": ..., "area": ..., "box": ..., "iou": ...,
"score": ...}]}``: masks as COCO's compressed runs of the video's size. ``n`` counts the lines that were ever written.
Of an object on a frame the last line holds. A line that a crash cut off does not count.
"""

import json
import os
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2.web.schemas import RleMask

SLACK = 64
"""So many superseded masks are not worth writing a file anew."""


@dataclass(frozen=True, slots=True)
class TrackedMask:
    """An object on a frame, as the tracker saw it.

    Attributes:
        object_id: which object.
        mask: at the video's size; empty where the object is not seen.
        area: pixels of it.
        box: (x0, y0, x1, y1), the edges of the mask; zeros if it is empty.
        iou: predicted quality of the mask, 0..1.
        object_score: > 0 where the model thinks that the object is there.
    """

    object_id: int
    mask: RleMask
    area: int
    box: tuple[int, int, int, int]
    iou: float
    object_score: float


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """An object over time, an entry for every frame on which it was tracked, in ascending order of frames."""

    frames: NDArray[np.int64]
    areas: NDArray[np.int32]
    ious: NDArray[np.float32]


class _Index:
    """Where the masks of an object are: 12 bytes a frame."""

    def __init__(self, num_frames: int) -> None:
        self.rows = np.full(num_frames, -1, np.int32)
        self.areas = np.zeros(num_frames, np.int32)
        self.ious = np.zeros(num_frames, np.float32)


class TrackedLog:
    """Masks by frame and object, on disk as soon as they are added.

    Safe to use from several threads.

    Args:
        path: the file; made when something is added.
        num_frames: of the video.
        size: (height, width) of its frames.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path, num_frames: int, size: tuple[int, int]) -> None:
        self.path, self.num_frames, self.size = path, num_frames, size
        self._lock = threading.RLock()
        self._places, self._numbers = array("q"), array("q")
        self._objects: dict[int, _Index] = {}
        self._end = self._entries = self._number = 0
        self._file: Any = None
        if path.exists():
            self._scan()
            if self._entries > 2 * self._live() + SLACK:
                self._compact()

    @property
    def num_bytes(self) -> int:
        """Bytes of the index in memory."""
        with self._lock:
            return sum(index.rows.nbytes + index.areas.nbytes + index.ious.nbytes for index in self._objects.values())

    @property
    def number(self) -> int:
        """How many lines were ever written."""
        return self._number

    @property
    def object_ids(self) -> list[int]:
        """Objects that were tracked anywhere."""
        return sorted(self._objects)

    def append(self, frame: int, masks: Sequence[TrackedMask]) -> None:
        """Add what was found on a frame; it is with the operating system when this returns.

        Raises:
            OSError: it cannot be written; what was there before is as it was.
        """
        if not masks:
            return
        with self._lock:
            row = {"n": self._number + 1, "frame": frame, "objects": [_to_json(item) for item in masks]}
            self._note(self._write(row), row)

    def masks(self, frame: int) -> dict[int, TrackedMask]:
        """What is known of a frame, by object."""
        with self._lock:
            rows: dict[int, list[int]] = {}
            for object_id, index in self._objects.items():
                if index.rows[frame] >= 0:
                    rows.setdefault(int(index.rows[frame]), []).append(object_id)
            found = [self._read(row, object_ids) for row, object_ids in rows.items()]
        return dict(sorted((item.object_id, item) for items in found for item in items))

    def mask(self, frame: int, object_id: int) -> TrackedMask | None:
        """What is known of an object on a frame."""
        with self._lock:
            index = self._objects.get(object_id)
            if index is None or index.rows[frame] < 0:
                return None
            return self._read(int(index.rows[frame]), [object_id])[0]

    def seen(self, frame: int, object_id: int) -> bool:
        """Whether an object has a mask on a frame that is not empty."""
        index = self._objects.get(object_id)
        return index is not None and index.rows[frame] >= 0 and index.areas[frame] > 0

    def frames(self, start: int = 0, stop: int | None = None) -> list[int]:
        """The frames of ``range(start, stop)`` on which anything was tracked."""
        known = np.zeros(max(0, (self.num_frames if stop is None else stop) - start), bool)
        with self._lock:
            for index in self._objects.values():
                known |= index.rows[start:stop] >= 0
        return (np.flatnonzero(known) + start).tolist()

    def series(self, object_id: int) -> Series:
        """An object over time."""
        with self._lock:
            index = self._objects.get(object_id) or _Index(0)
            frames = np.flatnonzero(index.rows >= 0)
            return Series(frames, index.areas[frames], index.ious[frames])

    def after(self, number: int) -> list[tuple[int, int]]:
        """(frame, object) of all masks that were written after line ``number``."""
        with self._lock:
            numbers = np.asarray(self._numbers, np.int64)
            return [
                (int(frame), object_id)
                for object_id, index in self._objects.items()
                for frame in np.flatnonzero(index.rows >= 0)
                if numbers[index.rows[frame]] > number
            ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __del__(self) -> None:
        with suppress(Exception):  # half built, or the interpreter is going
            self.close()

    # ------------------------------------------------------------------ the file

    def _open(self) -> Any:
        if self._file is None:
            # without a buffer, which would come up with its rest of a line once more when the file is closed
            self._file = open(self.path, "r+b" if self.path.exists() else "x+b", buffering=0)  # noqa: SIM115
        return self._file

    def _write(self, row: dict[str, Any]) -> int:
        line, place = _line(row), self._end
        file = self._open()
        try:
            file.seek(place)
            _write_all(file, line)
        except OSError:
            file.truncate(place)
            raise
        self._end += len(line)
        return place

    def _read(self, row: int, object_ids: Iterable[int]) -> list[TrackedMask]:
        file = self._open()
        start = self._places[row]
        stop = self._places[row + 1] if row + 1 < len(self._places) else self._end
        file.seek(start)
        record = json.loads(file.read(stop - start))
        wanted = set(object_ids)
        return [_from_json(item, self.size) for item in record["objects"] if item["id"] in wanted]

    def _note(self, place: int, row: dict[str, Any]) -> None:
        """Put a line that is on disk into the index."""
        position, frame = len(self._places), row["frame"]
        self._places.append(place)
        self._numbers.append(row["n"])
        self._number = max(self._number, row["n"])
        if not 0 <= frame < self.num_frames:
            return
        for item in row["objects"]:
            index = self._objects.get(item["id"])
            if index is None:
                index = self._objects[item["id"]] = _Index(self.num_frames)
            index.rows[frame], index.areas[frame], index.ious[frame] = position, item["area"], item["iou"]
            self._entries += 1

    def _scan(self) -> None:
        """Go through what is there; what comes after a line that was cut off is dropped."""
        with open(self.path, "rb") as file:
            for line in file:
                row = _parse(line)
                if row is None:
                    break
                self._note(self._end, row)
                self._end += len(line)
        if self._end < self.path.stat().st_size:
            os.truncate(self.path, self._end)

    def _live(self) -> int:
        return sum(int((index.rows >= 0).sum()) for index in self._objects.values())

    def _compact(self) -> None:
        """Write the file anew without the masks that others have taken the place of."""
        draft = self.path.with_name(f".{self.path.name}.tmp")
        try:
            with open(draft, "wb") as file:
                for row in self._live_rows():
                    _write_all(file, _line(row))
                file.flush()
                os.fsync(file.fileno())
            self.close()
            os.replace(draft, self.path)
        except OSError:
            draft.unlink(missing_ok=True)  # a full disk: the long file will do
            return
        self._places, self._numbers, self._objects = array("q"), array("q"), {}
        self._end = self._entries = 0
        self._scan()

    def _holds(self, object_id: int, frame: int, position: int) -> bool:
        index = self._objects.get(object_id)
        return index is not None and 0 <= frame < self.num_frames and int(index.rows[frame]) == position

    def _live_rows(self) -> Iterator[dict[str, Any]]:
        last = self._number
        with open(self.path, "rb") as file:
            for position, line in enumerate(file):
                row = json.loads(line)
                row["objects"] = [item for item in row["objects"] if self._holds(item["id"], row["frame"], position)]
                if row["objects"] or row["n"] == last:  # the last one stays, for its number
                    yield row


def _to_json(item: TrackedMask) -> dict[str, Any]:
    return {
        "id": item.object_id,
        "counts": item.mask.counts,
        "area": item.area,
        "box": list(item.box),
        "iou": round(item.iou, 4),
        "score": round(item.object_score, 3),
    }


def _from_json(item: dict[str, Any], size: tuple[int, int]) -> TrackedMask:
    mask = RleMask.model_construct(size=size, counts=item["counts"])  # our own: checking it again would take time
    return TrackedMask(item["id"], mask, item["area"], tuple(item["box"]), item["iou"], item["score"])


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"n", "frame", "objects"} <= row.keys() else None


def _write_all(file: Any, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
