"""Fetch one large file over HTTP: resumed, checked, and moved into place only when whole."""

import errno
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the total, or None where the server does not say."""

_CHUNK = 1 << 20
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30
_SPARE_BYTES = 16 << 20


class DownloadError(OSError):
    """A file could not be downloaded; the message says which file to put where."""


class _Interrupted(Exception):
    """The connection broke: what came so far is kept, and the next attempt goes on from there."""


def fetch(
    url: str,
    destination: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download ``url`` to ``destination`` and return it.

    Bytes go to ``destination`` + ``.part``; a part that is there already is continued. Only a file of the right size
    and hash is renamed to ``destination``, in one step.

    Raises:
        DownloadError: offline, refused, cut off again and again, not enough room on the disk (``errno`` is ENOSPC), or
            not the file that was expected. A part that may be continued is kept, a corrupt one is removed.
    """
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(error.errno, f"cannot create {destination.parent}: {error.strerror}") from error
    for attempt in range(_ATTEMPTS):
        try:
            _continue_part(url, part, size, progress)
            break
        except _Interrupted as error:
            if attempt == _ATTEMPTS - 1:
                raise DownloadError(_advice(url, destination, str(error))) from error
            time.sleep(0.2 * 2**attempt)
    try:
        check_file(part, size=size, sha256=sha256)
    except ValueError as error:
        part.unlink()
        raise DownloadError(_advice(url, destination, f"the download is corrupt and was removed ({error})")) from error
    os.replace(part, destination)
    return destination


def check_file(path: Path, *, size: int | None, sha256: str | None) -> None:
    """Raise ``ValueError`` unless ``path`` has the size and SHA-256 given; None is not checked."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        raise ValueError(f"{path} has {actual} bytes, expected {size}")
    if sha256 is not None and (got := file_sha256(path)) != sha256:
        raise ValueError(f"{path} has SHA-256 {got}, expected {sha256}")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def terminal_progress(description: str) -> Iterator[Progress | None]:
    """A progress bar on standard error if that is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _continue_part(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Bring ``part`` to its full length, from wherever it is."""
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start > size:  # of another file: not worth a request
        part.unlink()
        start = 0
    if size is not None and start == size:
        return
    headers = {"User-Agent": "sam2", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    destination = part.with_suffix("")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as response:
            resumed = response.status == http.client.PARTIAL_CONTENT
            start = start if resumed else 0
            length = response.headers.get("Content-Length")
            total = size if length is None else start + int(length)
            if size is not None and total != size:
                raise DownloadError(_advice(url, destination, f"the server offers {total} bytes, expected {size}"))
            _check_room(part, 0 if total is None else total - start)
            _write(response, part, start, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            part.unlink()
            raise _Interrupted("the server could not continue the part, which was removed") from error
        if error.code >= 500:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise DownloadError(_advice(url, destination, f"the server answered {error.code} {error.reason}")) from error
    except urllib.error.URLError as error:
        raise _Interrupted(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Interrupted(f"the connection broke ({error})") from error


def _write(response: Any, part: Path, start: int, total: int | None, progress: Progress | None) -> None:
    done = start
    try:
        with part.open("ab" if start else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(part, 0 if total is None else total - done) from error
        raise
    if total is not None and done < total:
        raise _Interrupted(f"the connection closed after {done} of {total} bytes")


def _check_room(part: Path, needed: int) -> None:
    if needed and shutil.disk_usage(part.parent).free < needed + _SPARE_BYTES:
        raise _disk_full(part, needed)


def _disk_full(part: Path, needed: int) -> DownloadError:
    kept = f" {part} holds what came so far and will be continued." if part.exists() else ""
    message = (
        f"no room on the disk of {part.parent}: {needed / 1e6:.0f} MB more are needed.{kept}"
        " Free some space, or set SAM2_CACHE to a folder on another disk."
    )
    return DownloadError(errno.ENOSPC, message)


def _advice(url: str, destination: Path, reason: str) -> str:
    return (
        f"could not download {destination.name}: {reason}. "
        f"Get {url} by other means and put it at {destination}, or try again: what came so far is kept."
    )
