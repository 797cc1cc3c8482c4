"""Frames of a video file through PyAV, each by its index, exactly.

The file is demuxed once on opening, without decoding: times of its packets say how many frames there are, in which
order they are shown (B-frames are stored out of it, and their distances may vary), and where decoding can start.
"""

import io
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from numpy.typing import NDArray

from sam2.io.source import FrameSource

CHUNK = 32
"""Frames held at once when reading backwards."""

NEAR = 16
"""Frames to decode and drop rather than seek."""


class VideoFile(FrameSource):
    """A video file, or the bytes of one. What the container says of rotation is applied.

    Frames that a truncated file does not hold any more are not counted.

    Args:
        source: path or content.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video that can be decoded, or one without frames; says why in a sentence.
    """

    def __init__(self, source: str | Path | bytes) -> None:
        self._source = source
        self.name = "the video in memory" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).exists():
            raise FileNotFoundError(f"no such video: {self.name}")
        if (not isinstance(source, bytes) and Path(source).stat().st_size == 0) or source == b"":
            raise ValueError(f"{self.name} is empty")
        with self._errors("cannot be opened"):
            self._index()
        self._lock = threading.Lock()
        self._reader = _Reader(self)
        with self._errors("cannot be decoded"):
            first = self._reader.frame(0)
        self.height, self.width = first.shape[:2]

    @property
    def times(self) -> list[float]:
        """When each frame is shown, in seconds from the start of the stream."""
        return [float(pts * self._time_base) for pts in self.pts]

    def close(self) -> None:
        """Close the file; frames cannot be read any more."""
        self._reader.close()

    def open(self) -> Any:
        """A container of one's own."""
        file: str | IO[bytes] = io.BytesIO(self._source) if isinstance(self._source, bytes) else str(self._source)
        return av.open(file, metadata_errors="ignore")

    def _index(self) -> None:
        with self.open() as container:
            stream = _video_stream(container, self.name)
            self._time_base = stream.time_base or Fraction(1, 1)
            self.fps = float(stream.average_rate) if stream.average_rate else None
            self.pts, self.key_pts = _packet_times(container, stream)
            if not self.pts:
                # Some containers have no times: count by decoding, and always decode from the start.
                container.seek(0)
                self.pts = list(range(sum(1 for _ in container.decode(stream))))
                self.key_pts, self.has_times = self.pts[:1], False
            else:
                self.has_times = True
        self.num_frames = len(self.pts)
        if not self.num_frames:
            raise ValueError(f"{self.name} holds no frame")

    def _decode(self, index: int) -> NDArray[np.uint8]:
        with self._lock, self._errors(f"cannot be decoded at frame {index}"):
            return self._reader.frame(index)

    def _decode_run(self, indices: range) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        reader = _Reader(self)  # of its own: it runs in another thread
        try:
            for part in _forward_parts(indices):
                frames: list[tuple[int, NDArray[np.uint8]]] = []
                for index in part:
                    with self._errors(f"cannot be decoded at frame {index}"):
                        frame = reader.frame(index)
                    if indices.step == 1:
                        yield index, frame
                    else:
                        frames.append((index, frame))
                yield from reversed(frames)
        finally:
            reader.close()

    def _name(self, index: int) -> str:
        return f"frame {index} of {self.name}"

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Errors of FFmpeg as one sentence."""
        try:
            yield
        except (FFmpegError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            cut = "; it may be cut off" if isinstance(error, InvalidDataError) else ""
            raise ValueError(f"{self.name} {what}: {reason}{cut}") from error


class _Reader:
    """A position in the file: frames in a row come without seeking."""

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._container = video.open()
        self._stream = _video_stream(self._container, video.name)
        self._stream.thread_type = "AUTO"
        self._place = {pts: index for index, pts in enumerate(video.pts)}
        self._key_places = [self._place[pts] for pts in video.key_pts]
        self._frames: Iterator[Any] = self._container.decode(self._stream)
        self._next = 0
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``; ``EOFError`` where the file ends before it."""
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        key = bisect_right(self._key_places, index) - 1
        ahead = index - self._next
        starts_later = key >= 0 and self._key_places[key] > self._next
        if ahead < 0 or (ahead > NEAR and starts_later):
            self._seek(key)
        while (image := self._advance_to(index)) is None:
            # The place that was sought lies behind the frame: some containers are inexact.
            key -= 1
            if key < -1:
                raise EOFError("the file ends before this frame")
            self._seek(key)
        self._last = (index, image)
        return image

    def close(self) -> None:
        self._container.close()

    def _seek(self, key: int) -> None:
        """Go to a key frame; below 0, to the start."""
        if key < 0 or not self._video.has_times:
            self._container.close()
            self._container = self._video.open()
            self._stream = _video_stream(self._container, self._video.name)
            self._stream.thread_type = "AUTO"
            self._next = 0
        else:
            self._container.seek(self._video.key_pts[key], stream=self._stream, backward=True)
            self._next = self._key_places[key]
        self._frames = self._container.decode(self._stream)

    def _advance_to(self, index: int) -> NDArray[np.uint8] | None:
        """Decode on until ``index`` comes; None where it was passed or does not come."""
        while True:
            frame = next(self._frames, None)
            if frame is None:
                return None
            place = self._place.get(frame.pts) if self._video.has_times else self._next
            if place is None:
                continue
            self._next = place + 1
            if place == index:
                return _upright(frame)
            if place > index:
                return None


def _video_stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise ValueError(f"{name} holds no video, only {', '.join(kinds)}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError(f"{name} is encoded in a way that the installed PyAV cannot decode")
    return stream


def _packet_times(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Times of all frames, and of those that decoding can start at; both in order. Empty where packets have none."""
    times: list[int] = []
    keys: list[int] = []
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            return [], []
        times.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    times.sort()
    if any(a == b for a, b in pairwise(times)):
        return [], []
    return times, sorted(keys)


def _upright(frame: Any) -> NDArray[np.uint8]:
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _forward_parts(indices: range) -> Iterator[range]:
    """``indices`` as pieces that run forward: one, or the pieces of a backward run from its end."""
    if indices.step == 1:
        yield indices
        return
    for start in range(0, len(indices), CHUNK):
        part = indices[start : start + CHUNK]
        yield range(part[-1], part[0] + 1)
