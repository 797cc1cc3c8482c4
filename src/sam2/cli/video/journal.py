"""The journal of a run: a line of JSON for every frame, on disk as soon as the frame is done.

All results can be made from it and the video, so that a run that stopped for any reason has lost nothing. The first
line says what was asked; every other one is ``{"frame": ..., "objects": [...]}``. A frame may have several lines, each
with other objects, where tracking has come by more than once.
"""

import json
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sam2.cli.errors import OutputError

Row = dict[str, Any]


class Journal:
    """Rows in the order they were written, and a small index to read them by frame.

    Args:
        path: the file.
        header: what was asked, for a new journal, which takes the place of an older file; None opens one.

    Raises:
        ValueError: the file is no journal.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._frames = array("q")
        self._offsets = array("q")
        self._end = 0
        try:
            # without a buffer, which would come up with its rest of a line once more when the file is closed
            self._file = open(path, "wb" if header is not None else "r+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            self.header: dict[str, Any] = self._scan() if header is None else dict(header)
            if header is not None:
                self._write(self.header)
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        """Rows."""
        return len(self._frames)

    def append(self, frame: int, objects: list[Row]) -> None:
        """Add a row; it is with the operating system when this returns.

        Raises:
            OutputError: it cannot be written; the rows before are as they were.
        """
        offset = self._end
        self._write({"frame": frame, "objects": objects})
        self._frames.append(frame)
        self._offsets.append(offset)

    def truncate(self, rows: int) -> None:
        """Keep the first ``rows`` rows only."""
        if rows < len(self):
            self._end = self._offsets[rows]
            del self._frames[rows:], self._offsets[rows:]
            self._file.truncate(self._end)

    def merged(self) -> Iterator[Row]:
        """The frames in ascending order, each once, its objects by their ids."""
        frames = np.asarray(self._frames)
        waiting: Row | None = None
        with open(self.path, "rb") as file:
            for position in np.argsort(frames, kind="stable"):
                file.seek(self._offsets[position])
                row = json.loads(file.readline())
                if waiting is not None and waiting["frame"] == row["frame"]:
                    waiting["objects"] += row["objects"]
                    continue
                if waiting is not None:
                    yield _sorted(waiting)
                waiting = row
        if waiting is not None:
            yield _sorted(waiting)

    def num_frames(self) -> int:
        """Frames that have a row."""
        return len(set(self._frames))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self._file.seek(self._end)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._end += len(line)

    def _scan(self) -> dict[str, Any]:
        """Find the rows; a last line that was cut off by a crash does not count."""
        header: dict[str, Any] | None = None
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    record = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    break
                if header is None:
                    header = record
                else:
                    self._frames.append(record["frame"])
                    self._offsets.append(self._end)
                self._end += len(line)
        if header is None or "frame" in header:
            raise ValueError(f"{self.path} is not the journal of a run")
        self._file.truncate(self._end)
        return header


def _sorted(row: Row) -> Row:
    return {"frame": row["frame"], "objects": sorted(row["objects"], key=lambda item: item["id"])}


def write_results(path: Path, summary: Mapping[str, Any], journal: Journal) -> None:
    """Write the JSON of a run: ``summary``, and every frame under ``"frames"``, a line each; whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            for name, value in summary.items():
                file.write("{\n" if file.tell() == 0 else ",\n")
                file.write(f"{json.dumps(name)}: {_block(value)}")
            file.write(',\n"frames": [')
            for number, row in enumerate(journal.merged()):
                file.write((",\n" if number else "\n") + json.dumps(row, allow_nan=False))
            file.write("\n]\n}\n")
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _block(value: Any) -> str:
    """A list of records with a line for each, everything else on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
