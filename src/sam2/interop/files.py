"""Files that appear whole or not at all, and JSON that is written while it is being made."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, BinaryIO


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, too
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


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal_xml(text: str) -> str:
    """``text`` without characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def inner_path(name: str) -> PurePosixPath:
    """``name`` as a path that cannot lead out of a folder and is allowed everywhere; folders in it stay.

    Names come from other people's files: ``../a.jpg`` becomes ``a.jpg``, ``C:\\photos\\a?.jpg`` ``photos/a_.jpg``.
    """
    parts = [part.strip().rstrip(".") for part in re.split(r"[/\\]", name)]
    kept = [part for part in parts if part and not re.fullmatch(r"[A-Za-z]:", part)]
    return PurePosixPath(*[re.sub(r'[<>:"|?*\x00-\x1f]', "_", part) for part in kept] or ["_"])


_VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".wmv", ".ts"}


def video_path(name: str) -> PurePosixPath:
    """What files and folders made of a video are called: its name as ``inner_path`` has it, without ``.mp4``."""
    path = inner_path(name)
    return path.with_suffix("") if path.suffix.lower() in _VIDEO_SUFFIXES else path


class DraftFolder:
    """Files that are moved to their folder all at once by ``close``; ``discard`` leaves what was there before.

    Args:
        path: the folder.
        name: what tells this draft from others of the same folder, where there are several.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        self.path = path
        draft = path if name is None else path / name
        self._draft = draft.with_name(f".{draft.name}.{os.getpid()}.tmp")
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

    def scratch(self) -> IO[bytes]:
        """A temporary file on the same disk, to be closed before the draft is."""
        return tempfile.TemporaryFile(dir=self.place("_").parent)

    def name_of(self, place: Path) -> str:
        """The name that a file at ``place`` will have in the folder, with forward slashes."""
        return place.relative_to(self._draft).as_posix()

    def write(self, name: str | PurePosixPath, data: bytes | str) -> None:
        """Write a file, text as UTF-8."""
        self.place(name).write_bytes(data.encode() if isinstance(data, str) else data)

    def close(self) -> list[Path]:
        """Move the files to their places; what is then in the folder of it, and nothing the second time."""
        if not self._open:
            return []
        self._open = False
        self.path.mkdir(parents=True, exist_ok=True)
        moved: list[Path] = []
        for folder, folders, files in os.walk(self._draft):
            target = self.path / Path(folder).relative_to(self._draft)
            target.mkdir(exist_ok=True)
            moved += [target / name for name in (*folders, *files) if target == self.path]
            for file in files:
                os.replace(Path(folder, file), target / file)
        self.discard()
        return sorted(moved)

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
    """A JSON object with long lists, written entry by entry, and other fields that are known in the end.

    ``{"annotations": [..., ...], "images": [...], ...}``: lists come first in the file, in the order of ``list_names``.
    The first grows in its place, the others in temporary files meanwhile, so that memory does not grow.
    """

    def __init__(self, path: Path, *list_names: str) -> None:
        self._draft = Draft(path)
        self._lists = dict.fromkeys(list_names, 0)
        self._first, *others = list_names
        self._asides: dict[str, IO[bytes]] = {}
        self._draft.write(json_text({self._first: []})[:-2])
        try:
            for name in others:
                self._asides[name] = tempfile.TemporaryFile(dir=path.parent, prefix=f".{path.name}.")  # noqa: SIM115
        except OSError:
            self.discard()
            raise

    @property
    def path(self) -> Path:
        """Where the file will be."""
        return self._draft.path

    def add(self, entry: Any, list_name: str | None = None) -> None:
        """Write the next entry of a list, the first if none is named."""
        name = self._first if list_name is None else list_name
        text = ("," if self._lists[name] else "") + json_text(entry)
        if name == self._first:
            self._draft.write(text)
        else:
            self._asides[name].write(text.encode())
        self._lists[name] += 1

    def close(self, fields: Mapping[str, Any]) -> None:
        """End the lists, write the other fields and give the file its name."""
        self._draft.write("]")
        for name, aside in self._asides.items():
            self._draft.write("," + json_text({name: []})[1:-2])
            aside.seek(0)
            while data := aside.read(1 << 20):
                self._draft.write(data)
            self._draft.write("]")
        rest = json_text(dict(fields))[1:-1]
        self._draft.write(("," + rest if rest else "") + "}\n")
        self._close_asides()
        self._draft.close()

    def discard(self) -> None:
        """Leave nothing."""
        self._close_asides()
        self._draft.discard()

    def _close_asides(self) -> None:
        for aside in self._asides.values():
            with contextlib.suppress(OSError):  # a full disk: what could not be written is not wanted any more
                aside.close()
