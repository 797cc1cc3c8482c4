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
from sam2.cli.journal import JsonLines, Row


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
        self._places = array("q")
        self._lines = JsonLines(path, header, note=self._note)
        self.header = self._lines.header
        if "frame" in self.header:
            self.close()
            raise ValueError(f"{path} is not the journal of a run")

    def __len__(self) -> int:
        """Rows."""
        return len(self._frames)

    def append(self, frame: int, objects: list[Row]) -> None:
        """Add a row; it is with the operating system when this returns.

        Raises:
            OutputError: it cannot be written; the rows before are as they were.
        """
        row = {"frame": frame, "objects": objects}
        self._note(self._lines.append(row), row)

    def truncate(self, rows: int) -> None:
        """Keep the first ``rows`` rows only."""
        if rows < len(self):
            self._lines.truncate(self._places[rows])
            del self._frames[rows:], self._places[rows:]

    def merged(self) -> Iterator[Row]:
        """The frames in ascending order, each once, its objects by their ids."""
        order = np.argsort(np.asarray(self._frames), kind="stable")
        waiting: Row | None = None
        for row in self._lines.read(self._places[position] for position in order):
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
        self._lines.close()

    def _note(self, place: int, row: Row) -> None:
        self._frames.append(row["frame"])
        self._places.append(place)


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
