"""Pictures of records: a file, a folder of files, or a video; opened when they are read, and pickled as paths."""

import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.interop.pictures import picture_size
from sam2.io.images import Scale, read_image
from sam2.io.listed import IMAGE_SUFFIXES, images_in
from sam2.io.video_file import VideoFile

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".wmv")
_MOST_OPEN = 2


class Frames(ABC):
    """Frames by their index. All methods raise ``ValueError`` or ``OSError`` that name the file."""

    __slots__ = ()

    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @abstractmethod
    def image(self, index: int, scale: Scale = "full") -> NDArray[np.uint8]:
        """Frame ``index`` as [h, w, 3] RGB; ``scale`` as :func:`sam2.io.images.read_image` takes it."""

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of frame ``index``, without decoding it."""

    @abstractmethod
    def where(self, index: int) -> str:
        """What to call frame ``index`` in messages."""


class StillFrames(Frames):
    """One picture."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def count(self) -> int:
        """1."""
        return 1

    def image(self, index: int, scale: Scale = "full") -> NDArray[np.uint8]:
        """The picture, whatever ``index``."""
        del index
        return read_image(self.path, scale=scale)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width)."""
        del index
        return picture_size(Path(self.path))

    def where(self, index: int) -> str:
        """The file."""
        del index
        return self.path


class FolderFrames(Frames):
    """The pictures of a folder in natural order; the folder is listed when something is first asked."""

    __slots__ = ("_files", "folder")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._files: tuple[str, ...] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files."""
        if self._files is None:
            folder = Path(self.folder)
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder of frames")
            self._files = tuple(path.name for path in images_in(folder))
            if not self._files:
                raise ValueError(f"{folder} holds no picture ({', '.join(IMAGE_SUFFIXES)})")
        return self._files

    def count(self) -> int:
        """How many pictures there are."""
        return len(self.files)

    def image(self, index: int, scale: Scale = "full") -> NDArray[np.uint8]:
        """Picture ``index``, [h, w, 3] RGB."""
        return read_image(self.where(index), scale=scale)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of picture ``index``."""
        return picture_size(Path(self.where(index)))

    def where(self, index: int) -> str:
        """The file of picture ``index``."""
        return os.path.join(self.folder, self.files[index])


class VideoFrames(Frames):
    """The frames of a video file. Few files are open at a time; nothing open is pickled, or shared between processes.

    Where a file is cut short, or the data of a frame are damaged, reading that frame raises.

    Args:
        path: of the file.
        declared: how many frames the annotations say it has; None: as many as it has.
    """

    __slots__ = ("declared", "path")

    def __init__(self, path: str, declared: int | None = None) -> None:
        self.path, self.declared = path, declared

    def count(self) -> int:
        """How many frames there are, or ought to be."""
        return _videos.get(self.path).num_frames if self.declared is None else self.declared

    def image(self, index: int, scale: Scale = "full") -> NDArray[np.uint8]:
        """Frame ``index``, [h, w, 3] RGB."""
        del scale
        video = self._holding(index)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                return video[index]
            except UserWarning as error:
                _videos.forget(self.path)  # it was stopped half way
                raise ValueError(f"{self.path} cannot be decoded at frame {index}: {error}") from None

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of all frames."""
        video = self._holding(index)
        return video.height, video.width

    def where(self, index: int) -> str:
        """The file and the frame."""
        return f"{self.path} frame {index}"

    def _holding(self, index: int) -> VideoFile:
        video = _videos.get(self.path)
        if index >= video.num_frames:
            said = f", its annotations speak of {self.declared}" if self.declared is not None else ""
            raise ValueError(f"{self.path} has no frame {index}: it holds {video.num_frames} frames{said}; cut short?")
        return video


Key = tuple[str, int, int]


class _OpenVideos:
    """The videos that were read last. A process that is forked begins with none of its own.

    What its parent has open is never touched there, not even closed: file positions are shared, and the decoder's
    threads, which closing waits for, do not exist in the child.
    """

    def __init__(self) -> None:
        self._videos: OrderedDict[Key, VideoFile] = OrderedDict()
        self._inherited: list[OrderedDict[Key, VideoFile]] = []
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def get(self, path: str) -> VideoFile:
        """An open video; a file that was written anew is another."""
        key = self._key(path)
        with self._lock:
            video = self._videos.pop(key, None)
            if video is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # asking for a frame that is not there says it
                    video = VideoFile(path)
            self._videos[key] = video
            while len(self._videos) > _MOST_OPEN:
                self._videos.popitem(last=False)
            return video

    def forget(self, path: str) -> None:
        """Open it anew the next time."""
        with self._lock:
            self._videos.pop(self._key(path), None)

    def _key(self, path: str) -> Key:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such video")
        state = os.stat(path)
        return path, state.st_mtime_ns, state.st_size

    def _begin_anew(self) -> None:
        self._inherited.append(self._videos)
        self._videos, self._lock = OrderedDict(), threading.Lock()


_videos = _OpenVideos()
