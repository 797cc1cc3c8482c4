"""Files that come from the page: streamed to disk, within limits, told by their content."""

import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from sam2.web.errors import StudioError, disk_error
from sam2.web.media.archives import unpack
from sam2.web.media.kinds import check_image, check_video, kind_by_name, unknown_kind
from sam2.web.schemas import Kind, UploadState
from sam2.web.settings import StudioSettings

FOLDER = ".uploads"
HOURS = 6.0
"""What nobody made a project of for so long is dropped."""
_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789\u00b9\u00b2\u00b3"),
}
_NAME_BYTES = 180
"""Names of files are 255 bytes at most nearly everywhere; exports make longer ones of them."""


@dataclass(slots=True)
class _Upload:
    folder: Path
    kind: Kind | None = None
    files: list[str] = field(default_factory=list[str])
    size: int = 0
    changed: float = field(default_factory=time.monotonic)
    busy: bool = False


class Uploads:
    """What was uploaded and is not yet a project.

    Args:
        settings: where projects lie, and the limits.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
        self.folder = settings.projects / FOLDER
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}
        shutil.rmtree(self.folder, ignore_errors=True)  # of a studio that was killed

    async def receive(self, name: str, upload: str | None, chunks: AsyncIterator[bytes]) -> UploadState:
        """Take a file.

        Args:
            name: its name; only the last part counts.
            upload: the upload that it belongs to; None begins one.
            chunks: its bytes.

        Raises:
            StudioError: 404 no such upload, 413 too large, 415 no picture, video or archive, 422 the name, 507 full.
        """
        name = safe_name(name)
        number, entry = self._begin(upload)
        path = entry.folder / f".{secrets.token_hex(8)}.part"
        try:
            await run_in_threadpool(lambda: entry.folder.mkdir(parents=True, exist_ok=True))
            size = await self._write(path, chunks, limit=self.settings.upload_limit - entry.size)
            await run_in_threadpool(self._accept, entry, path, name, size)
        except OSError as error:
            raise disk_error(error, "the upload") from error
        except ClientDisconnect as error:
            raise StudioError(400, "the upload was cut off") from error  # nobody hears it: the client is gone
        finally:
            entry.busy = False
            path.unlink(missing_ok=True)
            if not entry.files:
                self.drop(number, missing_ok=True)
        return self.state(number)

    def state(self, upload: str) -> UploadState:
        """What was uploaded so far.

        Raises:
            StudioError: 404 there is no such upload.
        """
        entry = self._get(upload)
        if entry.kind is None:
            raise StudioError(404, "this upload has no file yet")
        return UploadState(upload=upload, kind=entry.kind, files=tuple(entry.files), size=entry.size)

    def claim(self, upload: str, into: Path) -> Path:
        """Move the files into ``into``.

        Raises:
            StudioError: 404 there is no such upload, 409 it still comes, 507 the disk is full.
        """
        entry = self._get(upload)
        with self._lock:
            if entry.busy:
                raise StudioError(409, "the upload is not complete yet")
            entry.busy = True  # nothing is added to what moves
        try:
            shutil.move(str(entry.folder), str(into))
        except OSError as error:
            entry.busy = False
            raise disk_error(error, "the upload") from error
        with self._lock:
            self._uploads.pop(upload, None)
        return into

    def drop(self, upload: str, *, missing_ok: bool = False) -> None:
        """Remove an upload.

        Raises:
            StudioError: 404 there is none.
        """
        with self._lock:
            entry = self._uploads.pop(upload, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)
        elif not missing_ok:
            raise StudioError(404, "there is no such upload")

    def close(self) -> None:
        """Remove all of them."""
        for upload in list(self._uploads):
            self.drop(upload, missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, upload: str | None) -> tuple[str, _Upload]:
        old = [n for n, e in self._uploads.items() if time.monotonic() - e.changed > HOURS * 3600 and not e.busy]
        for number in old:
            self.drop(number, missing_ok=True)
        if upload is None:
            upload = secrets.token_urlsafe(16)
            with self._lock:
                self._uploads[upload] = _Upload(self.folder / upload)
        entry = self._get(upload)
        with self._lock:
            if entry.busy:
                raise StudioError(409, "another file of this upload is still coming")
            if entry.kind == "video":
                raise StudioError(422, "a video is a project of its own: begin another upload")
            entry.busy, entry.changed = True, time.monotonic()
        return upload, entry

    def _get(self, upload: str) -> _Upload:
        entry = self._uploads.get(upload)
        if entry is None:
            raise StudioError(404, "there is no such upload")
        return entry

    async def _write(self, path: Path, chunks: AsyncIterator[bytes], *, limit: int) -> int:
        size = 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise StudioError(413, f"too large: an upload may have {self.settings.upload_limit} bytes")
                await run_in_threadpool(_append, file, chunk)
        return size

    def _accept(self, entry: _Upload, path: Path, name: str, size: int) -> None:
        """Look at what came, and give it its name."""
        if not size:
            raise StudioError(415, f"{name} is empty")
        if name.lower().endswith(".zip"):
            room = self.settings.upload_files - len(entry.files)
            names = unpack(path, entry.folder, settings=self.settings, most=room, taken=set(entry.files))
            entry.kind, entry.size = "images", entry.size + size
            entry.files += names
            return
        kind = kind_by_name(name)
        if kind is None:
            raise unknown_kind(name)
        if kind == "video" and entry.files:
            raise StudioError(422, "a video is a project of its own: begin another upload")
        if len(entry.files) >= self.settings.upload_files:
            raise StudioError(413, f"too many files: {self.settings.upload_files} are allowed")
        if kind == "image":
            check_image(path, pixels=self.settings.image_pixels)
        else:
            check_video(path, pixels=self.settings.image_pixels)
        name = free_name(name, {stem_of(other) for other in entry.files})
        path.replace(entry.folder / name)
        entry.kind, entry.size = "images" if kind == "image" else "video", entry.size + size
        entry.files.append(name)


def safe_name(name: str) -> str:
    """The last part of ``name``, as any system takes it for a file.

    Raises:
        StudioError: 422 nothing is left.
    """
    last = re.split(r"[/\\]", name)[-1]
    last = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]', "_", last).strip(" .")
    last = last.encode()[-_NAME_BYTES:].decode(errors="ignore").strip(" .")  # what counts is the ending
    if not last:
        raise StudioError(422, "name must be the name of a file")
    return f"_{last}" if last.split(".")[0].strip().lower() in _RESERVED else last


def stem_of(name: str) -> str:
    """What no two files of an upload may share: capitals and endings do not count.

    What is exported of a photo is called as the photo, with another ending.
    """
    return name.rpartition(".")[0].casefold()


def free_name(name: str, stems: Container[str]) -> str:
    """``name``, with a number if its stem is among ``stems``; see :func:`stem_of`."""
    stem, dot, suffix = name.rpartition(".")
    found, number = name, 1
    while stem_of(found) in stems:
        number += 1
        found = f"{stem}-{number}{dot}{suffix}"
    return found


def _append(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)
