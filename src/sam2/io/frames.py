"""``open_frames``: anything that holds frames as a :class:`FrameSource`; ``stream_frames``: the same one by one."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.io.camera import camera_frames, is_live
from sam2.io.images import read_image
from sam2.io.listed import IMAGE_SUFFIXES, ArrayFrames, FolderFrames, open_image_file
from sam2.io.source import FrameSource
from sam2.io.video_file import VideoFile

__all__ = ["FrameSource", "open_frames", "stream_frames"]


def open_frames(source: Any) -> FrameSource:
    """Frames that can be read in any order.

    Args:
        source: a video file (mp4, mov, mkv, webm, avi, gif, ...) by its path or as bytes; a folder of images, taken in
            natural order; an image file, for its one frame or its pages; an array [T, H, W, 3], a tensor [T, 3, H, W],
            or a sequence of images; an iterator of images, which is read to its end and kept as uint8; or a
            :class:`FrameSource`, which is returned as it is.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: it holds no frame, cannot be decoded, or has frames of several sizes.
        TypeError: something else.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return VideoFile(bytes(source))
    if isinstance(source, np.ndarray | torch.Tensor | Sequence):
        return ArrayFrames(source)
    if isinstance(source, Iterable):
        return ArrayFrames([read_image(image) for image in source])
    raise TypeError(f"frames must be a path, bytes, an array, a tensor or images, got {type(source).__name__}")


def stream_frames(source: Any) -> Iterator[NDArray[np.uint8]]:
    """Frames [H, W, 3] uint8 RGB one after another, none kept.

    Args:
        source: as for :func:`open_frames`, where an iterator is read as it goes; or a camera's index, or the URL of a
            network stream.

    Raises:
        OSError: the camera or stream cannot be opened.
        FileNotFoundError, ValueError, TypeError: as :func:`open_frames`.
    """
    if is_live(source):
        return camera_frames(source)
    if isinstance(source, Iterator):
        return (read_image(image) for image in source)
    frames = open_frames(source)
    return (image for _, image in frames.read(0, frames.num_frames))


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return FolderFrames(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return open_image_file(path)
    if not path.exists() and re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", path.as_posix()):
        raise ValueError(f"{path} is an address, whose frames come once and in order: use stream_frames")
    return VideoFile(path)
