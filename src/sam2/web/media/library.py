"""The folder whose photos and videos may be opened from the page, and what is uploaded."""

import os
import stat
from pathlib import Path

from sam2.io.listed import images_in, natural_key
from sam2.web.errors import StudioError
from sam2.web.media.kinds import kind_by_name
from sam2.web.media.uploads import Uploads
from sam2.web.schemas import Kind, MediaEntry, MediaListing
from sam2.web.settings import StudioSettings

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
        entries: list[MediaEntry] = []
        try:
            with os.scandir(place) as found:
                for item in found:
                    entry = None if item.name.startswith(".") else self._entry(item, folder)
                    if entry is not None:
                        entries.append(entry)
                    if len(entries) >= MOST_ENTRIES:
                        break
        except OSError as error:
            raise StudioError(403, f"folder {folder} may not be read") from error
        entries.sort(key=lambda entry: (entry.kind != "folder", natural_key(entry.name)))
        parent = None if not folder.strip("/") else folder.strip("/").rpartition("/")[0]
        return MediaListing(folder=folder.strip("/"), parent=parent, entries=tuple(entries))

    def resolve(self, path: str) -> Path:
        """The place of ``path`` in the allowed folder.

        Raises:
            StudioError: 404 no folder is allowed or there is nothing, 403 it leads out of the folder.
        """
        if self.root is None:
            raise StudioError(404, "no folder is open: start the studio with one, or upload a file")
        if "\0" in path or "\\" in path or path.startswith("/") or ":" in path.split("/")[0]:
            raise StudioError(403, "path must be relative to the folder that is open, with forward slashes")
        if ".." in path.split("/"):
            raise StudioError(403, "path must not leave the folder that is open")
        try:
            place = (self.root / path).resolve()
            if place != self.root and self.root not in place.parents:
                raise StudioError(403, "path must not leave the folder that is open")
            mode = place.stat().st_mode
        except (OSError, ValueError) as error:
            raise StudioError(404, "there is no such file or folder") from error
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise StudioError(404, "there is no such file or folder")
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
            raise StudioError(415, f"{path.name} is neither a photo nor a video")
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

    def _entry(self, item: os.DirEntry[str], folder: str) -> MediaEntry | None:
        path = "/".join(part for part in (folder.strip("/"), item.name) if part)
        try:
            self.resolve(path)  # a link that leads out is not shown
            if item.is_dir():
                return MediaEntry(name=item.name, path=path, kind="folder", images=_count_images(item.path))
            kind = kind_by_name(item.name)
            return None if kind is None else MediaEntry(name=item.name, path=path, kind=kind, size=item.stat().st_size)
        except (StudioError, OSError):
            return None


def _count_images(folder: str) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(kind_by_name(item.name) == "image" and item.name[0] != "." for item in found)
    except OSError:
        return 0
