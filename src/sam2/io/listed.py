"""Frames that lie there one by one: arrays, tensors, and folders of images."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.io.images import read_image
from sam2.io.source import FrameSource

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class ArrayFrames(FrameSource):
    """Frames of an array [T, H, W, 3], a tensor [T, 3, H, W], or a sequence of images of any kind.

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
        self.num_frames = len(frames)
        self.fps = None
        first = read_image(frames[0])
        self.height, self.width = first.shape[:2]

    def _decode(self, index: int) -> NDArray[np.uint8]:
        return read_image(self._frames[index])

    def _name(self, index: int) -> str:
        return f"frame {index}"


class FolderFrames(ArrayFrames):
    """The images of a folder in natural order (``frame_2`` before ``frame_10``); other files are left out.

    Raises:
        ValueError: the folder holds no image, or images differ in size.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = images_in(folder)
        if not self.paths:
            raise ValueError(f"{folder} holds no image: expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        super().__init__(self.paths)

    def _name(self, index: int) -> str:
        return str(self.paths[index])


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(found, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts digits as numbers, the rest without regard to case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]
