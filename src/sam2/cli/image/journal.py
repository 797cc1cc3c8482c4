"""What a run over many photos has done: which files came of each photo, and all that formats of data sets need."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam2.cli.journal import JsonLines, Row

NAME = ".sam2-image.jsonl"


@dataclass(frozen=True, slots=True)
class Done:
    """A photo that is done.

    Attributes:
        place: of its row.
        stem: what the names of its files begin with.
        stamp: size and time of the photo, which say whether it has changed since.
        masks: how many were written.
    """

    place: int
    stem: str
    stamp: tuple[int, int]
    masks: int


class PhotoJournal:
    """The journal of a folder of results.

    Args:
        path: the file.
        header: what was asked, for a new journal, which takes the place of an older file; None opens one.

    Raises:
        ValueError: the file is no journal of photos.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any] | None = None) -> None:
        self._folder = path.parent
        self._done: dict[str, Done] = {}
        self._finished: list[list[Any]] | None = None
        self._lines = JsonLines(path, header, note=self._note)
        if "settled" not in self._lines.header:
            self.close()
            raise ValueError(f"{path} is not the journal of a run over photos")

    @property
    def settled(self) -> dict[str, Any]:
        """What was asked."""
        return self._lines.header["settled"]

    def __len__(self) -> int:
        """Photos that are done."""
        return len(self._done)

    def __iter__(self) -> Iterator[str]:
        """The keys of photos that are done, in the order in which they were first done."""
        return iter(self._done)

    def __contains__(self, key: str) -> bool:
        return key in self._done

    def get(self, photo: Path) -> Done | None:
        """What is known of a photo; None if it is not done, has changed since, or its files are gone."""
        done = self._done.get(self.key(photo))
        if done is None or done.stamp != stamp(photo):
            return None
        files = next(self._lines.read([done.place]))["files"]
        return done if all((self._folder / name).exists() for name in files) else None

    def stems(self) -> dict[str, str]:
        """Key -> stem of all photos that have ever been done."""
        return {key: done.stem for key, done in self._done.items()}

    def add(self, photo: Path, stem: str, content: Row) -> None:
        """Note that a photo is done; ``content`` has ``"files"``, ``"masks"`` and what formats need.

        Raises:
            OutputError: it cannot be written.
        """
        row = {"photo": self.key(photo), "stem": stem, "stamp": list(stamp(photo)), **content}
        self._note(self._lines.append(row), row)

    def rows(self, keys: Sequence[str]) -> Iterator[Row]:
        """The rows of photos, one at a time."""
        return self._lines.read(self._done[key].place for key in keys)

    def finish(self, written: Sequence[Path]) -> None:
        """Note that everything is written, ``written`` being what holds all photos together."""
        row = {"finished": [[path.relative_to(self._folder).as_posix(), *stamp(path)] for path in written]}
        self._note(self._lines.append(row), row)

    @property
    def is_finished(self) -> bool:
        """Whether the last run came to its end, and what it wrote of all photos together is still there."""
        if self._finished is None:
            return False
        return all(stamp(self._folder / name) == (size, time) for name, size, time in self._finished)

    @property
    def masks(self) -> int:
        """How many masks were written of all photos."""
        return sum(done.masks for done in self._done.values())

    def key(self, photo: Path) -> str:
        """A photo's name in the journal: its way from the folder of results, which may be moved together."""
        path = os.path.abspath(photo)
        with suppress(ValueError):  # on another drive there is no such way
            path = os.path.relpath(path, os.path.abspath(self._folder))
        return Path(path).as_posix()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _note(self, place: int, row: Row) -> None:
        self._finished = row.get("finished")
        if "photo" in row:
            size, time = row["stamp"]
            self._done[row["photo"]] = Done(place, row["stem"], (size, time), row["masks"])


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time in nanoseconds; of a folder and of what is not there, (-1, 0) and (-2, 0)."""
    try:
        found = path.stat()
    except OSError:
        return -2, 0
    return (-1, 0) if path.is_dir() else (found.st_size, found.st_mtime_ns)
