"""A file of JSON lines that says what a run has done, on disk as soon as it is done.

The first line, the header, says what was asked; every other one, a row, what came of one part of the work. A run that
stopped for any reason goes on behind the last whole row.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sam2.cli.errors import OutputError

Row = dict[str, Any]


class JsonLines:
    """A header, and rows that are found again by the place where they begin.

    Args:
        path: the file.
        header: for a new file, which takes the place of an older one; None opens what is there.
        note: called with the place and the content of every row that is there already.

    Raises:
        ValueError: the file is no journal.
        OutputError: it cannot be written.
    """

    def __init__(
        self, path: Path, header: Mapping[str, Any] | None = None, *, note: Callable[[int, Row], None] | None = None
    ) -> None:
        self.path = path
        self._end = 0
        try:
            # without a buffer, which would come up with its rest of a line once more when the file is closed
            self._file = open(path, "wb" if header is not None else "r+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            if header is not None:
                self.append(header)
            self.header: Row = self._scan(note) if header is None else dict(header)
        except BaseException:
            self._file.close()
            raise

    def append(self, record: Mapping[str, Any]) -> int:
        """Add a row, which is with the operating system when this returns; the place where it begins.

        Raises:
            OutputError: it cannot be written; the rows before are as they were.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        place = self._end
        try:
            self._file.seek(place)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._end += len(line)
        return place

    def truncate(self, place: int) -> None:
        """Drop the row that begins at ``place`` and all behind it."""
        self._end = place
        self._file.truncate(place)

    def read(self, places: Iterable[int]) -> Iterator[Row]:
        """The rows that begin at ``places``, one at a time."""
        with open(self.path, "rb") as file:
            for place in places:
                file.seek(place)
                yield json.loads(file.readline())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _scan(self, note: Callable[[int, Row], None] | None) -> Row:
        """Go through what is there; a last line that was cut off by a crash does not count."""
        header: Row | None = None
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
                elif note is not None:
                    note(self._end, record)
                self._end += len(line)
        if header is None:
            raise ValueError(f"{self.path} is not the journal of a run")
        self._file.truncate(self._end)
        return header
