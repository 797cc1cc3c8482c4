"""Archives of photos: unpacked by hand, because nothing in them can be trusted."""

import lzma
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from sam2.io.listed import natural_key
from sam2.web.errors import StudioError
from sam2.web.media.kinds import check_image, kind_by_name
from sam2.web.settings import StudioSettings

RATIO = 200
"""Photos are compressed already: what unpacks to so much more is a bomb."""
_CHUNK = 2**20
_LIST_BYTES = 32 * 2**20
"""The list of what is in an archive is held in memory as a whole: so long may it be, for some 100,000 files."""
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError, OverflowError),
)
"""What ``zipfile`` raises, depending on what is wrong with an archive."""


def unpack(archive: Path, folder: Path, *, settings: StudioSettings, most: int, taken: set[str]) -> list[str]:
    """Unpack the photos of a .zip file into ``folder``; what else is in it is left out. All of them or none.

    Args:
        archive: the file.
        folder: where to; folders in the archive become part of the names.
        settings: limits.
        most: photos at most.
        taken: names that are in use.

    Returns:
        The names of the new files, in natural order.

    Raises:
        StudioError: 413 too many or too large, 415 damaged, encrypted, or without a photo.
    """
    draft = archive.with_suffix(".unpacked")
    draft.mkdir()
    try:
        _check_list(archive)
        with zipfile.ZipFile(archive) as file:
            members = [item for item in file.infolist() if _is_photo(item)]
            _check(members, archive.stat().st_size, settings, most)
            for number, item in enumerate(members):
                _write(file, item, draft / f"{number}", limit=item.file_size)
                _look_at(draft / f"{number}", item, settings)
        names = _names(members, taken)
        _move(draft, folder, names)
        return sorted(names, key=natural_key)
    except _DAMAGED as error:
        raise StudioError(415, "this archive is damaged, or made in a way that is not known here") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_list(archive: Path) -> None:
    """Refuse a list that is too long before it is read. An archive's last bytes say how long it is."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - 2**16 - 22))
        tail = file.read()
    place = tail.rfind(b"PK\5\6")
    end = tail[place + 12 : place + 16] if place >= 0 else b""
    large = tail.rfind(b"PK\6\6", 0, max(0, place))
    length = int.from_bytes(end, "little") if large < 0 else int.from_bytes(tail[large + 40 : large + 48], "little")
    if length > _LIST_BYTES:
        raise StudioError(413, "the archive holds too many files")


def _is_photo(item: zipfile.ZipInfo) -> bool:
    parts = item.filename.replace("\\", "/").split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts if part not in ("", "..", "."))
    return not item.is_dir() and not hidden and kind_by_name(parts[-1]) == "image"


def _check(members: list[zipfile.ZipInfo], packed: int, settings: StudioSettings, most: int) -> None:
    if not members:
        raise StudioError(415, "this archive holds no photo")
    if len(members) > most:
        raise StudioError(413, f"too many files: the archive holds {len(members)}, {most} are allowed")
    if any(item.flag_bits & 1 for item in members):
        raise StudioError(415, "this archive is encrypted")
    if any((item.external_attr >> 16) & 0o170000 == 0o120000 for item in members):
        raise StudioError(415, "this archive holds links")
    size = sum(item.file_size for item in members)
    if size > settings.unpacked_limit:
        raise StudioError(413, f"the archive unpacks to {size} bytes, {settings.unpacked_limit} are allowed")
    if size > RATIO * max(packed, _CHUNK):
        raise StudioError(413, f"the archive unpacks to {size / packed:.0f} times its size: it is refused")


def _look_at(path: Path, item: zipfile.ZipInfo, settings: StudioSettings) -> None:
    try:
        check_image(path, pixels=settings.image_pixels)
    except StudioError as error:
        name = item.filename.replace("\\", "/").rpartition("/")[2][:100]
        raise StudioError(error.status, f"{name} in the archive: {error.detail}") from error


def _write(file: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path, *, limit: int) -> None:
    """A member as a file. Its size is counted: what the archive says of it need not be true."""
    came = 0
    with file.open(item) as source, path.open("wb") as target:
        while chunk := _read(source):
            came += len(chunk)
            if came > limit:
                raise StudioError(413, "the archive holds more than it says: it is refused")
            target.write(chunk)


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        if error.errno is None:  # so says bz2 that its data are damaged; disks give numbers
            raise zipfile.BadZipFile(str(error)) from error
        raise


def _move(draft: Path, folder: Path, names: list[str]) -> None:
    """Give the files their names. All of them or none."""
    done: list[Path] = []
    try:
        for number, name in enumerate(names):
            done.append((draft / f"{number}").replace(folder / name))
    except OSError:
        for path in done:
            path.unlink(missing_ok=True)
        raise


def _names(members: list[zipfile.ZipInfo], taken: set[str]) -> list[str]:
    from sam2.web.media.uploads import free_name, safe_name, stem_of  # which unpacks archives

    names: list[str] = []
    stems = {stem_of(name) for name in taken}
    for item in members:
        parts = [part for part in item.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        names.append(free_name(safe_name("_".join(parts[-3:])), stems))
        stems.add(stem_of(names[-1]))
    return names
