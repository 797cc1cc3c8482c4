"""Frames of a video file through PyAV, each by its index, exactly.

The file is demuxed once on opening, without decoding: times of its packets say how many frames there are, in which
order they are shown (B-frames are stored out of it, and their distances may vary), and where decoding can start.
"""

import gc
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from numpy.typing import NDArray

from sam2.io.source import FrameSource
from sam2.io.video_index import FrameIndex, index_frames, index_packets
from sam2.io.video_reader import VideoReader, to_rgb

REVERSE_BYTES = 96 * 2**20
"""Memory for the frames that reading backwards decodes at a time."""

if hasattr(os, "register_at_fork"):
    # Videos that this process is done with but has not collected yet must not be collected in a forked one, as the
    # workers of a DataLoader are: closing them waits for threads of their decoders, which exist here alone.
    os.register_at_fork(after_in_child=gc.freeze)


class VideoFile(FrameSource):
    """A video file, or the bytes of one. What the container says of rotation is applied.

    A file that is cut short has the frames that it still holds, and a warning says so. Where the data of a frame are
    damaged, the frame before stands in for it, so that indices stay true; a warning names the first one.

    Args:
        source: path or content.

    Attributes:
        index: which frames there are and when they are shown.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video that can be decoded, or one without frames; says why in a sentence.
        OSError: the file may not be read.
    """

    def __init__(self, source: str | Path | bytes) -> None:
        self._source = source
        self.name = "the video in memory" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes):
            if not Path(source).exists():
                raise FileNotFoundError(f"no such video: {self.name}")
            if not Path(source).stat().st_size:
                raise ValueError(f"{self.name} is empty")
        self._lock = threading.Lock()
        self._told = False
        self._last: tuple[int, NDArray[np.uint8]] | None = None
        with self._errors("cannot be opened"):
            self.index = self._make_index()
        self.num_frames = self.index.num_frames
        if not self.num_frames:
            raise ValueError(f"{self.name} holds no frame")
        self.fps = _mean_rate(self.fps, self.times)
        with self._errors("cannot be decoded"):
            self._reader: VideoReader | None = VideoReader(self)
            first = to_rgb(self._reader.frame(0))
        self._last = 0, first
        self.height, self.width = first.shape[:2]
        if self.index.missing:
            warnings.warn(f"{self.name} is cut short: {self.index.missing}", stacklevel=2)

    @property
    def times(self) -> list[float]:
        """When each frame is shown, in seconds, by the file's clock; empty where the file does not say."""
        return [float(time * self.index.time_base) for time in self.index.times]

    def close(self) -> None:
        """Close the file; frames cannot be read any more."""
        with self._lock:
            reader, self._reader, self._last = self._reader, None, None
        if reader is not None:
            reader.close()

    def open(self) -> tuple[Any, Any]:
        """A container of one's own and its video stream."""
        # "file:" keeps names with a colon from being taken for addresses
        file: str | IO[bytes] = io.BytesIO(self._source) if isinstance(self._source, bytes) else f"file:{self._source}"
        container = av.open(file, metadata_errors="ignore")
        try:
            return container, _video_stream(container, self.name)
        except BaseException:
            container.close()
            raise

    def tell_damaged(self, index: int) -> None:
        """Warn, once a file, that another frame stands in for frame ``index``."""
        if not self._told:
            self._told = True
            warnings.warn(f"{self.name} is damaged at frame {index}: the frame before it is shown again", stacklevel=2)

    def _make_index(self) -> FrameIndex:
        container, stream = self.open()
        with container:
            self.fps = float(stream.average_rate) if stream.average_rate else None
            index = index_packets(container, stream)
        if index is not None:
            return index
        container, stream = self.open()
        with container:
            stream.thread_type = "AUTO"
            return index_frames(container, stream)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        with self._lock, self._errors(f"cannot be decoded at frame {index}"):
            if self._reader is None:
                raise ValueError(f"{self.name} is closed")
            if self._last is None or self._last[0] != index:
                self._last = index, to_rgb(self._reader.frame(index))
            return self._last[1].copy()  # the caller may draw on it

    def _decode_run(self, indices: range) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        if not indices:
            return
        with self._errors("cannot be opened"):
            reader = VideoReader(self)  # of its own: it runs in another thread
        try:
            for part in self._forward_parts(indices):
                frames: list[tuple[int, Any]] = []
                for index in part:
                    with self._errors(f"cannot be decoded at frame {index}"):
                        frame = reader.frame(index)
                    if indices.step == 1:
                        yield index, to_rgb(frame)
                    else:
                        frames.append((index, frame))  # as decoded: half the memory of RGB
                while frames:
                    index, frame = frames.pop()
                    yield index, to_rgb(frame)
        finally:
            reader.close()

    def _forward_parts(self, indices: range) -> Iterator[range]:
        """``indices`` as pieces that run forward: one, or those of a backward run, from key frames where these fit."""
        if indices.step == 1:
            yield indices
            return
        most = max(4, REVERSE_BYTES // (self.height * self.width * 3 // 2))
        stop, first = indices[0] + 1, indices[-1]
        while stop > first:
            start = max(first, stop - most)
            later = self.index.key_before(start - 1) + 1  # the first key frame at or behind the start
            if start > first and later < len(self.index.keys) and self.index.keys[later] < stop:
                start = self.index.keys[later]
            yield range(start, stop)
            stop = start

    def _name(self, index: int) -> str:
        return f"frame {index} of {self.name}"

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Errors of FFmpeg as one sentence."""
        try:
            yield
        except (FFmpegError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            cut = "; it may be cut short or no video" if isinstance(error, InvalidDataError) else ""
            kind = OSError if isinstance(error, OSError) and not isinstance(error, EOFError) else ValueError
            raise kind(f"{self.name} {what}: {reason}{cut}") from error

    def __del__(self) -> None:
        with suppress(Exception):  # half built, or the interpreter is going
            self.close()


def _video_stream(container: Any, name: str) -> Any:
    # a cover picture of a sound file is a video stream too
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise ValueError(f"{name} holds no video, only {', '.join(kinds)}")
    if streams[0].codec_context is None:
        raise ValueError(f"{name} is encoded in a way that the installed PyAV cannot decode")
    return streams[0]


def _mean_rate(said: float | None, times: list[float]) -> float | None:
    """Frames a second over the whole file: what containers say is a guess where frames are not equally long."""
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    mean = (len(times) - 1) / span if span > 0 else said
    return mean if said is None or mean is None or abs(mean / said - 1) > 0.02 else said


def _is_cover(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)
    return "attached_pic" in (getattr(disposition, "name", None) or "")
