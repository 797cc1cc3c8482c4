"""Small pictures of a video's frames, so that scrubbing shows something at once: decoding a frame somewhere takes long.

They are made behind people's backs when a project is opened, and kept in one file that only grows. A picture in it is
its frame and its length, then a JPEG; what a crash cut off does not count.
"""

import struct
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sam2.io.source import FrameSource
from sam2.io.video_file import VideoFile
from sam2.web.media.pictures import STRIP, jpeg

MOST = 3000
"""Pictures of a video; of longer ones some key frames stand for those around them."""
_HEAD = b"sam2 strip 1\n"
_PICTURE = struct.Struct("<II")
_LONGEST = 1 << 20
"""Bytes that no picture of this size takes."""
WAIT = 0.2
"""Seconds between looks whether others are done."""


class Strip:
    """The small pictures of a video.

    Args:
        path: the file.
        frames: the video.
        tag: tells this state of the video from another; what was made of another one is thrown away.
        busy: whether someone needs the processor more.
    """

    def __init__(self, path: Path, frames: FrameSource, *, tag: str, busy: Callable[[], bool]) -> None:
        self.path, self.frames, self._busy = path, frames, busy
        self._head = _HEAD + tag.encode() + b"\n"
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._places: dict[int, tuple[int, int]] = {}
        self._order: list[int] = []
        self._stop = threading.Event()
        self.wanted = wanted_frames(frames)
        self._thread = threading.Thread(target=self._make, name="sam2-strip", daemon=True)

    def start(self) -> None:
        """Begin to make what is missing; a disk that cannot be written to is nobody's trouble."""
        with suppress(OSError), self._lock:
            self._open()
        if self._file is not None:
            self._thread.start()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_complete(self) -> bool:
        """Whether all pictures are there."""
        return len(self._places) == len(self.wanted)

    def picture(self, frame: int) -> tuple[int, bytes] | None:
        """The frame that is shown for ``frame``, and its JPEG; None if none is near.

        It is another frame only in videos that are so long that not all frames have a picture.
        """
        with self._lock:
            shown = frame if frame in self._places else self._nearest(frame)
            if shown is None or self._file is None:
                return None
            offset, length = self._places[shown]
            try:
                self._file.seek(offset)
                return shown, self._file.read(length)
            except OSError:
                return None

    def close(self) -> None:
        """Stop making pictures; those that are there stay for the next time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    # ------------------------------------------------------------------ making them

    def _make(self) -> None:
        missing = [frame for frame in self.wanted if frame not in self._places]
        with suppress(OSError, ValueError):  # the disk is full, or the video ends early: there are fewer pictures
            for frame, image in self._read(missing):
                started = time.monotonic()
                self._add(frame, jpeg(image, STRIP))
                # Half of the time is others'.
                if self._stop.wait(min(WAIT, time.monotonic() - started)):
                    return
                while self._busy():
                    if self._stop.wait(WAIT):
                        return

    def _read(self, missing: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Frames that have no picture: in a row as far as all are wanted."""
        if not missing:
            return
        if len(self.wanted) < self.frames.num_frames:
            for frame in missing:
                yield frame, self.frames[frame]
            return
        there = self._places
        reader = self.frames.read(missing[0], missing[-1] + 1)
        try:
            yield from ((frame, image) for frame, image in reader if frame not in there)
        finally:
            reader.close()

    def _add(self, frame: int, picture: bytes) -> None:
        with self._lock:
            if self._file is None:
                return
            start = self._file.seek(0, 2)
            try:
                self._file.write(_PICTURE.pack(frame, len(picture)) + picture)
                self._file.flush()
            except OSError:
                with suppress(OSError):
                    self._file.truncate(start)
                raise
            self._note(frame, start + _PICTURE.size, len(picture))

    # ------------------------------------------------------------------ the file

    def _open(self) -> None:
        try:
            self._file = self.path.open("r+b")
        except FileNotFoundError:
            self._file = self.path.open("w+b")
        if self._file.read(len(self._head)) != self._head:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._head)
            self._file.flush()
            return
        end, size = len(self._head), self.path.stat().st_size
        while len(head := self._file.read(_PICTURE.size)) == _PICTURE.size:
            frame, length = _PICTURE.unpack(head)
            start = end + _PICTURE.size
            if frame >= self.frames.num_frames or not 0 < length <= min(_LONGEST, size - start):
                break
            self._note(frame, start, length)
            end = self._file.seek(start + length)
        self._file.truncate(end)

    def _note(self, frame: int, offset: int, length: int) -> None:
        if frame not in self._places:
            self._order.insert(bisect_left(self._order, frame), frame)
        self._places[frame] = (offset, length)

    def _nearest(self, frame: int) -> int | None:
        if len(self.wanted) == self.frames.num_frames or not self._order:
            return None
        place = bisect_left(self._order, frame)
        near = self._order[max(0, place - 1) : place + 1]
        shown = min(near, key=lambda other: abs(other - frame))
        reach = 2 * self.frames.num_frames // len(self.wanted) + 1
        return shown if abs(shown - frame) <= reach else None


def wanted_frames(frames: FrameSource) -> list[int]:
    """The frames of a video that get a picture: all, or of a long one some that are spread evenly."""
    count = frames.num_frames
    if count <= MOST:
        return list(range(count))
    spread = [place * count // MOST for place in range(MOST)]
    if not isinstance(frames, VideoFile) or not frames.index.keys:
        return spread
    keys = frames.index.keys  # these are decoded without the frames before them
    return sorted({keys[max(0, frames.index.key_before(frame))] for frame in spread})
