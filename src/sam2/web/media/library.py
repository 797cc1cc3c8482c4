"""The folder whose photos and videos may be opened from the page, and what is uploaded."""

import os
import stat
from itertools import islice
from pathlib import Path

from sam2.io.listed import images_in, natural_key
from sam2.web.errors import StudioError
from sam2.web.media.kinds import can_be_told, kind_by_name, unknown_kind
from sam2.web.media.uploads import Uploads
from sam2.web.schemas import Kind, MediaEntry, MediaListing
from sam2.web.settings import StudioSettings

_FOREIGN = "\0\\:" if os.name == "nt" else "\0"
"""What no relative path holds: on Windows they name drives and streams, elsewhere names may have them."""
MOST_ENTRIES = 5000
"""So many entries of a folder are listed at most."""


class MediaLibrary:
    """What may be opened, and nothing else.

    Args:
        settings: the allowed folder, and limits of uploads.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.root = None if settings.files is None else settings.files.resolve()
        self.uploads = Uploads(settings)

    def listing(self, folder: str = "") -> MediaListing:
        """Folders, then photos and videos of a folder, in natural order.

        Args:
            folder: relative to the allowed one, with forward slashes; empty for that itself.

        Raises:
            StudioError: 404 no folder is allowed or there is no such one, 403 it lies elsewhere.
        """
        place = self.resolve(folder)
        if not place.is_dir():
            raise StudioError(404, f"there is no folder {folder}")
        try:
            with os.scandir(place) as found:
                names = sorted(
                    (_sort_key(item), item.name) for item in found if item.name[0] != "." and can_be_told(item.name)
                )
        except OSError as error:
            raise StudioError(403, f"folder {folder} may not be read") from error
        known = (self._entry(place / name, folder) for _, name in names)
        entries = islice((entry for entry in known if entry is not None), MOST_ENTRIES)
        parent = None if not folder.strip("/") else folder.strip("/").rpartition("/")[0]
        return MediaListing(folder=folder.strip("/"), parent=parent, entries=tuple(entries))

    def resolve(self, path: str) -> Path:
        """The place of ``path`` in the allowed folder.

        Raises:
            StudioError: 404 no folder is allowed or there is nothing, 403 it leads out of the folder.
        """
        if self.root is None:
            raise StudioError(404, "no folder is open: start the studio with one, or upload a file")
        if path.startswith("/") or any(sign in path for sign in _FOREIGN):
            raise StudioError(403, "path must be relative to the folder that is open, with forward slashes")
        if ".." in path.split("/"):
            raise StudioError(403, "path must not leave the folder that is open")
        try:
            place = (self.root / path).resolve()
            if place != self.root and self.root not in place.parents:
                raise StudioError(403, "path must not leave the folder that is open")
            mode = place.stat().st_mode
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            raise StudioError(404, "there is no such file or folder") from error
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise StudioError(404, "there is no such file or folder")
        return place

    def to_open(self, path: str) -> Path:
        """As :meth:`resolve`, of something that becomes a project: the photos of a folder must not lead out of it.

        Raises:
            StudioError: as there; 403, a photo in the folder is a link that leads out.
        """
        place = self.resolve(path)
        assert self.root is not None  # or there would be no place
        for photo in images_in(place) if place.is_dir() else ():
            if photo.is_symlink() and self.root not in photo.resolve().parents:
                raise StudioError(403, f"photo {photo.name} is a link that leaves the folder that is open")
        return place

    def kind_of(self, path: Path) -> Kind:
        """What a file or folder is opened as.

        Raises:
            StudioError: 404 there is nothing, 415 it is neither a photo, a folder of photos nor a video.
        """
        if path.is_dir():
            if not images_in(path):
                raise StudioError(415, "this folder holds no photo")
            return "images"
        if not path.is_file():
            raise StudioError(404, "there is no such file or folder")
        kind = kind_by_name(path.name)
        if kind is None:
            raise unknown_kind(path.name)
        return "images" if kind == "image" else "video"

    def upload_kind(self, upload: str) -> Kind:
        """What an upload is opened as.

        Raises:
            StudioError: 404 there is no such upload.
        """
        return self.uploads.state(upload).kind

    def upload_title(self, upload: str) -> str:
        """What a project of an upload is called.

        Raises:
            StudioError: 404 there is no such upload.
        """
        files = self.uploads.state(upload).files
        return Path(files[0]).stem if len(files) == 1 else f"{len(files)} photos"

    def claim(self, upload: str, into: Path) -> Path:
        """Move the files of an upload into a new folder, which is returned.

        Raises:
            StudioError: 404 there is no such upload, 507 the disk is full.
        """
        return self.uploads.claim(upload, into)

    def close(self) -> None:
        """Drop uploads that nobody made a project of."""
        self.uploads.close()

    def _entry(self, item: Path, folder: str) -> MediaEntry | None:
        path = "/".join(part for part in (folder.strip("/"), item.name) if part)
        try:
            if item.is_symlink() or any(sign in item.name for sign in _FOREIGN):
                self.resolve(path)  # what leads out, or could not be opened, is not shown
            if item.is_dir():
                os.scandir(item).close()  # nor is what may not be read
                return MediaEntry(name=item.name, path=path, kind="folder", images=_count_images(item))
            kind = kind_by_name(item.name)
            if kind is None or not item.is_file() or not os.access(item, os.R_OK):
                return None
            return MediaEntry(name=item.name, path=path, kind=kind, size=item.stat().st_size)
        except (StudioError, OSError):
            return None


def _sort_key(item: os.DirEntry[str]) -> tuple[bool, list[tuple[int, int, str]]]:
    """Folders first; where it is not known what an entry is, finding out is left for later."""
    try:
        return not item.is_dir(), natural_key(item.name)
    except OSError:
        return True, natural_key(item.name)


def _count_images(folder: Path) -> int:
    try:
        return len(images_in(folder))
    except OSError:
        return 0
