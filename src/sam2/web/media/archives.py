"""Archives of photos: unpacked by hand, because nothing in them can be trusted."""

import shutil
import zipfile
import zlib
from pathlib import Path

from sam2.io.listed import natural_key
from sam2.web.errors import StudioError
from sam2.web.media.kinds import check_image, kind_by_name
from sam2.web.settings import StudioSettings

RATIO = 200
"""Photos are compressed already: what unpacks to so much more is a bomb."""
_CHUNK = 2**20


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
        with zipfile.ZipFile(archive) as file:
            members = [item for item in file.infolist() if _is_photo(item)]
            _check(members, archive.stat().st_size, settings, most)
            for number, item in enumerate(members):
                _write(file, item, draft / f"{number}", limit=item.file_size)
                check_image(draft / f"{number}", pixels=settings.image_pixels)
        names = _names(members, taken)
        for number, name in enumerate(names):
            (draft / f"{number}").replace(folder / name)
        return sorted(names, key=natural_key)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise StudioError(415, "this archive is damaged, or made in a way that is not known here") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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


def _write(file: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path, *, limit: int) -> None:
    """A member as a file. Its size is counted: what the archive says of it need not be true."""
    came = 0
    with file.open(item) as source, path.open("wb") as target:
        while chunk := source.read(_CHUNK):
            came += len(chunk)
            if came > limit:
                raise StudioError(413, "the archive holds more than it says: it is refused")
            target.write(chunk)


def _names(members: list[zipfile.ZipInfo], taken: set[str]) -> list[str]:
    from sam2.web.media.uploads import free_name, safe_name  # which unpacks archives

    names: list[str] = []
    for item in members:
        parts = [part for part in item.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        names.append(free_name(safe_name("_".join(parts[-3:])), {*taken, *names}))
    return names
