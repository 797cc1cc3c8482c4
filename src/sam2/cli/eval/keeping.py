"""What an evaluation has finished, kept so that it can go on behind it: JSON lines beside the file of ``--json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam2.cli.journal import JsonLines, Row


class Kept:
    """Finished parts of a run by their keys.

    Args:
        json_path: of ``--json``; None keeps nothing on disk.
        settings: what results depend on. A run with other settings cannot go on from these.
        resume: take what is there; otherwise it is begun anew.

    Raises:
        ValueError: there is nothing to resume by, or settings differ; the message says which.
        OutputError: the file cannot be written.
    """

    def __init__(self, json_path: Path | None, settings: Mapping[str, Any], *, resume: bool) -> None:
        self.rows: dict[str, Row] = {}
        self._lines: JsonLines | None = None
        if json_path is None:
            if resume:
                raise ValueError("--resume needs --json FILE: what is finished is kept beside it, in FILE's .jsonl")
            return
        path = journal_of(json_path)
        if not (resume and path.exists()):
            self._lines = JsonLines(path, {"settings": dict(settings)})
            return
        self._lines = JsonLines(path, note=self._note)
        before = self._lines.header.get("settings")
        if before != dict(settings):
            self._lines.close()
            raise ValueError(f"--resume: {path} is of another run: {_difference(before, settings)}")

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Note that a part is finished."""
        self.rows[key] = dict(row)
        if self._lines is not None:
            self._lines.append({"key": key, **row})

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, place: int, row: Row) -> None:
        del place
        self.rows[row.pop("key")] = row


def journal_of(json_path: Path) -> Path:
    """Where the finished parts of a run with ``--json`` are kept."""
    return json_path.with_name(f"{json_path.name.removesuffix('.json')}.jsonl")


def identity(path: str) -> list[Any]:
    """A checkpoint's name, with size and time where it is a file: another one of the same name is another model."""
    file = Path(path)
    if not file.is_file():
        return [path]
    found = file.stat()
    return [path, found.st_size, found.st_mtime_ns]


def _difference(before: Any, now: Mapping[str, Any]) -> str:
    if not isinstance(before, Mapping):
        return "it says nothing of its settings"
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in keys)
