"""The pictures that annotations belong to: finding them in a folder, and their sizes without decoding them."""

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, cast

from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


class PictureFolder:
    """Pictures in a folder and the folders in it, found by name.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of pictures")
        self.folder = folder

    @cached_property
    def names(self) -> list[str]:
        """Names of all pictures, relative to the folder, with forward slashes, sorted."""
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        # the full name goes before the last part of it, and what comes first in the alphabet before the rest
        found: dict[str, str] = {}
        for name in self.names:
            found.setdefault(PurePosixPath(name).with_suffix("").as_posix(), name)
        for name in self.names:
            found.setdefault(PurePosixPath(name).stem, name)
        return found

    def find(self, name: str) -> str | None:
        """The name of the picture ``name``, whose extension may be another or missing, if there is one.

        Without one in the same folder, a picture of this name in any folder is taken.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        for place in (path, PurePosixPath(path.name)):
            if place.suffix.lower() in SUFFIXES and (self.folder / place).is_file():
                return place.as_posix()
            bare = place.with_suffix("") if place.suffix.lower() in SUFFIXES else place
            if (found := self._by_stem.get(bare.as_posix())) is not None:
                return found
        return None

    def size(self, name: str) -> tuple[int, int]:
        """(height, width) of the picture ``name`` (see ``find``).

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no picture.
        """
        found = self.find(name)
        if found is None:
            raise FileNotFoundError(f"{self.folder} holds no picture {name}")
        return picture_size(self.folder / found)


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is shown, upright.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no picture.
    """
    try:
        with cast(Any, Image.open(path)) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            width, height = (int(side) for side in image.size)
            return (width, height) if turned else (height, width)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such picture") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow can read") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from None
