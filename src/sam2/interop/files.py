"""Files that appear whole or not at all, and JSON that is written while it is being made."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def write_file(path: Path, data: bytes | str) -> None:
    """Write ``data`` to ``path`` under another name first; folders above it are made. ``OSError`` if it cannot be."""
    with Draft(path) as draft:
        draft.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, in UTF-8, whole or not at all."""
    write_file(path, json_text(value) + "\n")


def json_text(value: Any) -> str:
    """``value`` in one line of JSON, without spaces; NaN is refused, since other readers would choke on it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def inner_path(name: str) -> PurePosixPath:
    """``name`` as a path that cannot lead out of a folder and is allowed everywhere; folders in it stay.

    Names come from other people's files: ``../a.jpg`` becomes ``a.jpg``, ``C:\\photos\\a?.jpg`` ``photos/a_.jpg``.
    """
    parts = [part.strip().rstrip(".") for part in re.split(r"[/\\]", name)]
    kept = [part for part in parts if part and not re.fullmatch(r"[A-Za-z]:", part)]
    return PurePosixPath(*[re.sub(r'[<>:"|?*\x00-\x1f]', "_", part) for part in kept] or ["_"])


class DraftFolder:
    """Files that are moved to their folder all at once by ``close``; ``discard`` leaves what was there before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._open = True

    def place(self, name: str | PurePosixPath, *, unique: bool = False) -> Path:
        """Where to write the file that will be ``name`` in the folder; the folders above it are there.

        If ``unique``, a name that this draft has already gets a number: ``a.json``, ``a_2.json``.
        """
        assert self._open, "place after close"
        first = path = self._draft / inner_path(str(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while unique and path.exists():
            number += 1
            path = first.with_name(f"{first.stem}_{number}{first.suffix}")
        return path

    def name_of(self, place: Path) -> str:
        """The name that a file at ``place`` will have in the folder, with forward slashes."""
        return place.relative_to(self._draft).as_posix()

    def write(self, name: str | PurePosixPath, data: bytes | str) -> None:
        """Write a file, text as UTF-8."""
        self.place(name).write_bytes(data.encode() if isinstance(data, str) else data)

    def close(self) -> None:
        """Move the files to their places; does nothing the second time."""
        if not self._open:
            return
        self._open = False
        self.path.mkdir(parents=True, exist_ok=True)
        for folder, _, files in os.walk(self._draft):
            target = self.path / Path(folder).relative_to(self._draft)
            target.mkdir(exist_ok=True)
            for file in files:
                os.replace(Path(folder, file), target / file)
        self.discard()

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._open = False
        shutil.rmtree(self._draft, ignore_errors=True)


class Draft:
    """A file that grows beside its place and is moved there by ``close``; ``discard`` leaves nothing.

    As a context it is closed at the end, and discarded by an error.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file: BinaryIO | None = self._draft.open("wb")

    def write(self, data: bytes | str) -> None:
        """Add ``data``, text as UTF-8."""
        assert self._file is not None, "write after close"
        self._file.write(data.encode() if isinstance(data, str) else data)

    def close(self) -> None:
        """Give the file its name; does nothing the second time."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
            os.replace(self._draft, self.path)
        except OSError:
            self._draft.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError:
            pass  # the disk is full: what could not be written is thrown away in any case
        finally:
            self._draft.unlink(missing_ok=True)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


class JsonObjectDraft:
    """A JSON object with one long list, written entry by entry, and other fields that are known in the end.

    ``{"annotations": [..., ...], "images": ...}``: the list comes first in the file, whatever its length.
    """

    def __init__(self, path: Path, list_name: str) -> None:
        self._draft = Draft(path)
        self._started = False
        self._draft.write(json_text({list_name: []})[:-2])

    @property
    def path(self) -> Path:
        """Where the file will be."""
        return self._draft.path

    def add(self, entry: Any) -> None:
        """Write the next entry of the list."""
        self._draft.write(("," if self._started else "") + json_text(entry))
        self._started = True

    def close(self, fields: Mapping[str, Any]) -> None:
        """End the list, write the other fields and give the file its name."""
        rest = json_text(dict(fields))[1:-1]
        self._draft.write("]" + ("," + rest if rest else "") + "}\n")
        self._draft.close()

    def discard(self) -> None:
        """Leave nothing."""
        self._draft.discard()
