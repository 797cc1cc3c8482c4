"""Frames that lie there one by one: arrays, tensors, folders of images, and image files of several pages."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sam2.io.images import read_image
from sam2.io.source import FrameSource

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_OFFICIAL_SUFFIXES = (".jpg", ".jpeg")
_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


class ArrayFrames(FrameSource):
    """Frames of an array [T, H, W, 3], a tensor [T, 3, H, W], or a sequence of images of any kind.

    An array or tensor of floats is 0..1 throughout or, if its largest value is above 1, 0..255 throughout.

    Raises:
        ValueError: there is no frame, or frames differ in size.
    """

    def __init__(self, frames: Any) -> None:
        if isinstance(frames, torch.Tensor):
            frames = frames.detach().cpu()
        if isinstance(frames, np.ndarray | torch.Tensor) and frames.ndim != 4:
            expected = "[T, 3, H, W]" if isinstance(frames, torch.Tensor) else "[T, H, W, 3]"
            raise ValueError(f"frames must have shape {expected}, got {tuple(frames.shape)}")
        if not len(frames):
            raise ValueError("frames must hold at least one frame, got none")
        self._frames = frames
        # one frame alone cannot say it: a black one of 0..255 has no value above 1 either
        self._divide = _is_float(frames) and bool(frames.max() > 1)
        self.num_frames = len(frames)
        self.fps = None
        self.height, self.width = self._decode(0).shape[:2]

    def _decode(self, index: int) -> NDArray[np.uint8]:
        return read_image(self._frames[index] / 255 if self._divide else self._frames[index])


class FolderFrames(ArrayFrames):
    """The images of a folder in natural order (``frame_2`` before ``frame_10``); other files are left out.

    Raises:
        ValueError: the folder holds no image, a file is none, or images differ in size; the file is named.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = images_in(folder)
        if not self.paths:
            raise ValueError(f"{folder} holds no image: expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        super().__init__(self.paths)
        for path in self.paths[1:]:
            width, height = _size_of(path)
            if (height, width) != (self.height, self.width):
                raise ValueError(
                    f"{path} has {width} x {height} pixels, the first image {self.paths[0].name} "
                    f"{self.width} x {self.height}: all frames must have one size"
                )

    def _name(self, index: int) -> str:
        return str(self.paths[index])


class PageFrames(FrameSource):
    """The pages of a TIFF, or the pictures of an animated WebP or PNG."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._image: Image.Image | None = Image.open(path)
        self.num_frames = getattr(self._image, "n_frames", 1)
        self.height, self.width = self._decode(0).shape[:2]

    def close(self) -> None:
        """Close the file; frames cannot be read any more."""
        image, self._image = self._image, None
        if image is not None:
            image.close()

    def __del__(self) -> None:
        with suppress(Exception):  # half built, or the interpreter is going
            self.close()

    def _decode(self, index: int) -> NDArray[np.uint8]:
        if self._image is None:
            raise ValueError(f"{self.path} is closed")
        return self._page(self._image, index)

    def _decode_run(self, indices: range) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        with Image.open(self.path) as image:  # of its own: it runs in another thread
            for index in indices:
                yield index, self._page(image, index)

    def _page(self, image: Image.Image, index: int) -> NDArray[np.uint8]:
        try:
            image.seek(index)
            return read_image(image)
        except (OSError, EOFError, SyntaxError) as error:
            raise ValueError(f"{self._name(index)} cannot be decoded: {error}") from error

    def _name(self, index: int) -> str:
        return f"page {index} of {self.path}"


def open_image_file(path: Path) -> FrameSource:
    """An image file as a video: of one frame, or of its pages."""
    try:
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
    except (OSError, SyntaxError):
        pages = 1  # reading it says what is wrong
    return PageFrames(path) if pages > 1 else ArrayFrames([path])


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order, hidden files left out.

    Officially only JPEGs are read. So where a picture of another kind bears the name of a JPEG, it is left out, as it
    may well be the mask that belongs to it.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "." and p.is_file()]
    photos = {path.stem for path in found if path.suffix.lower() in _OFFICIAL_SUFFIXES}
    chosen = [p for p in found if p.suffix.lower() in _OFFICIAL_SUFFIXES or p.stem not in photos]
    return sorted(chosen, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts digits as numbers, the rest without regard to case."""
    parts = re.split(r"(\d+)", name.casefold())  # every second part is digits
    return [(1, int(part), part) if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


def _is_float(frames: Any) -> bool:
    if isinstance(frames, torch.Tensor):
        return frames.is_floating_point()
    return isinstance(frames, np.ndarray) and frames.dtype.kind == "f"


def _size_of(path: Path) -> tuple[int, int]:
    """(width, height) as shown, from the file's head."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            return (image.height, image.width) if turned else image.size
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image that Pillow can read") from error
    except (OSError, SyntaxError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error
