"""A project's folder. Every file is replaced whole, and is on the disk before a change counts.

``project.json`` has what is about the whole, ``frames/000012.json`` what was said of objects on a frame and the masks
that came of it. ``lock`` is held by the studio that has the project open.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam2.web.errors import StudioError, disk_error
from sam2.web.schemas import FrameObject, Kind, Status, StudioObject

FORMAT = 1
PARSED = 64
"""So many frames' files are kept in memory as they were read."""


class StoredObject(StudioObject):
    """An object, and whether it was deleted: then it can still be brought back."""

    deleted: bool = False


class ProjectRecord(BaseModel):
    """What ``project.json`` holds.

    ``source`` is a path, or null where the media lie in the project's own folder. ``size`` (height, width) and ``fps``
    are those of a video: its masks can be exported when it is gone.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    title: str
    kind: Kind
    model: str
    source: str | None = None
    names: list[str] = Field(default_factory=list)
    objects: dict[int, StoredObject] = Field(default_factory=dict)
    statuses: dict[int, Status] = Field(default_factory=dict)
    last_frame: int = 0
    num_frames: int = 1
    size: tuple[int, int] | None = None
    fps: float | None = None


class _FrameFile(BaseModel):
    """What the file of a frame holds."""

    model_config = ConfigDict(extra="forbid")

    objects: list[FrameObject]


class Brief(NamedTuple):
    """An object on a frame: pixels of its mask, its score 0..1, and whether anything was said of it there."""

    area: int
    score: float
    prompted: bool


class ProjectStore:
    """The folder of one project, held by one studio at a time.

    Args:
        folder: of the project; made if ``record`` is given.
        record: of a new project; None opens one that is there.

    Raises:
        StudioError: 404 no project, 409 it is damaged, of a newer version or open elsewhere, 507 the disk is full.
    """

    def __init__(self, folder: Path, record: ProjectRecord | None = None) -> None:
        self.folder = folder
        self._frames = folder / "frames"
        self._write_lock = threading.RLock()
        self._parsed: OrderedDict[int, dict[int, FrameObject]] = OrderedDict()
        if record is not None:
            with _writing("the project"):
                self._frames.mkdir(parents=True, exist_ok=True)
        self._hold = hold_folder(folder)
        try:
            self.record = read_record(folder) if record is None else record
            if record is not None:
                self.save()
            self._index = self._read_index()
        except BaseException:
            self.close()
            raise

    def save(self) -> None:
        """Write ``project.json``.

        Raises:
            StudioError: 507, the disk is full.
        """
        with self._write_lock, _writing("the project"):
            write_whole(self.folder / "project.json", self.record.model_dump_json(indent=1))

    def replace(self, **changes: Any) -> None:
        """Change fields of the record, on disk first: what cannot be written is not changed."""
        with self._write_lock:
            before, self.record = self.record, self.record.model_copy(update=changes)
            try:
                self.save()
            except BaseException:
                self.record = before
                raise

    def objects_on(self, frame: int) -> dict[int, FrameObject]:
        """What is stored of the objects on a frame, by number; those that were deleted included.

        Raises:
            StudioError: 409, the file is damaged.
        """
        with self._write_lock:
            if frame not in self._index:
                return {}
            found = self._parsed.get(frame)
            if found is None:
                found = self._read_frame(frame)
                self._keep(frame, found)
            return dict(found)

    def put(self, frame: int, objects: dict[int, FrameObject]) -> None:
        """Store what is known of the objects on a frame, in the place of what was stored.

        Raises:
            StudioError: 507, the disk is full; nothing is changed.
        """
        path = self._path(frame)
        with self._write_lock, _writing(f"frame {frame}"):
            if objects:
                write_whole(path, _FrameFile(objects=list(objects.values())).model_dump_json(exclude_defaults=True))
                self._index[frame] = _briefs(objects)
            else:
                path.unlink(missing_ok=True)
                self._index.pop(frame, None)
            self._keep(frame, objects)

    @property
    def marked(self) -> dict[int, dict[int, bool]]:
        """Frame -> object -> whether it has a mask there that is not empty, of all that is stored."""
        with self._write_lock:
            return {
                frame: {number: item.area > 0 for number, item in briefs.items()}
                for frame, briefs in self._index.items()
            }

    @property
    def prompted(self) -> dict[int, dict[int, Brief]]:
        """Object -> frame, in ascending order -> what came of the prompts there; deleted objects included.

        It is answered from memory: no file is read.
        """
        found: dict[int, dict[int, Brief]] = {}
        with self._write_lock:
            for frame in sorted(self._index):
                for number, item in self._index[frame].items():
                    if item.prompted:
                        found.setdefault(number, {})[frame] = item
        return found

    def close(self) -> None:
        """Let others open the project."""
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.close()

    def _path(self, frame: int) -> Path:
        return self._frames / f"{frame:06d}.json"

    def _keep(self, frame: int, objects: dict[int, FrameObject]) -> None:
        self._parsed[frame] = dict(objects)
        self._parsed.move_to_end(frame)
        while len(self._parsed) > PARSED:
            self._parsed.popitem(last=False)

    def _read_index(self) -> dict[int, dict[int, Brief]]:
        numbers = (int(path.stem) for path in self._frames.glob("*.json") if path.stem.isdecimal())
        return {frame: _briefs(self._read_frame(frame)) for frame in sorted(numbers)}

    def _read_frame(self, frame: int) -> dict[int, FrameObject]:
        path = self._path(frame)
        try:
            content = _FrameFile.model_validate_json(path.read_bytes())
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise StudioError(409, f"frames/{path.name} of project {self.folder.name} is damaged") from error
        return {item.object_id: item for item in content.objects}


def _briefs(objects: dict[int, FrameObject]) -> dict[int, Brief]:
    return {number: Brief(item.area, item.score, item.prompts is not None) for number, item in objects.items()}


def read_record(folder: Path) -> ProjectRecord:
    """``project.json`` of a folder.

    Raises:
        StudioError: 404 there is none, 409 it is damaged or of a newer version.
    """
    try:
        content = json.loads((folder / "project.json").read_bytes())
        version = content.get("format") if isinstance(content, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise StudioError(409, f"project {folder.name} was made by a newer version of sam2: update to open it")
        return ProjectRecord.model_validate(content)
    except FileNotFoundError:
        raise StudioError(404, f"there is no project {folder.name}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValidationError is a ValueError
        raise StudioError(409, f"project.json of project {folder.name} is damaged") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the former or the new one, whatever happens."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _replace(name: str, path: Path) -> None:
    for attempt in range(5):
        try:
            os.replace(name, path)
            return
        except PermissionError:  # on Windows, while a scanner or a reader has the file open
            if attempt == 4 or sys.platform != "win32":
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, what) from error


def hold_folder(folder: Path) -> IO[bytes]:
    """An open file by which this process holds the folder: the system lets go of it when the process ends.

    Raises:
        StudioError: 404 there is no such folder, 409 another studio holds it.
    """
    try:
        file = open(folder / "lock", "ab")  # noqa: SIM115 - it stays open as long as the project
    except FileNotFoundError:
        raise StudioError(404, f"there is no project {folder.name}") from None
    except OSError as error:
        raise disk_error(error, "the project") from error
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StudioError(409, f"project {folder.name} is open in another studio: close that first") from error
    return file
