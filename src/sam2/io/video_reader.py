"""A position in a video file, from which frames in a row come without seeking."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from av.error import InvalidDataError
from numpy.typing import NDArray

from sam2.io.video_index import FrameIndex, decoded

WORTH_SEEKING = 8
"""A jump forward seeks if that saves decoding more frames than this."""

_BT709 = 1
"""FFmpeg's number of the matrix of HD video."""


class Opener(Protocol):
    """What a reader needs of its video."""

    @property
    def index(self) -> FrameIndex:
        """Which frames there are."""
        ...

    def open(self) -> tuple[Any, Any]:
        """A container of one's own and its video stream."""
        ...

    def tell_damaged(self, index: int) -> None:
        """Frame ``index`` is not there though its packet is; another one stands in for it."""
        ...


class VideoReader:
    """Decodes frames by their index.

    Args:
        video: is asked for a container, and once more where one cannot be rewound.
    """

    def __init__(self, video: Opener) -> None:
        self._video, self._index = video, video.index
        self._shown: tuple[int, Any] | None = None
        self._next: tuple[int, Any] | None = None
        self._open()

    def frame(self, index: int) -> Any:
        """Frame ``index`` as PyAV has it; where its data are damaged, the one before it.

        Raises:
            EOFError: neither it nor one before it can be decoded.
        """
        key = self._key_to_seek(index)
        if key is not None:
            self._seek(key)
        while True:
            self._run_to(index)
            if self._shown is not None or self._origin < 0:
                break
            # Decoding began behind the frame: seeking is inexact in some containers.
            self._seek(self._origin - 1)
        nearest = self._shown or self._next
        if nearest is None:
            raise EOFError("no frame could be decoded")
        if nearest[0] != index:
            self._video.tell_damaged(index)
        return nearest[1]

    def close(self) -> None:
        """Close the file."""
        self._shown = self._next = None
        self._container.close()

    def _key_to_seek(self, index: int) -> int | None:
        """The key frame to seek before reading ``index``, -1 for the start, None to read on."""
        key = self._index.key_before(index)
        if self._shown is None:
            position = 0 if self._origin < 0 and self._next is None else index + 1
        else:
            position = self._shown[0]
        if index < position:
            return key
        return key if key >= 0 and self._index.keys[key] - position > WORTH_SEEKING else None

    def _open(self) -> None:
        self._container, self._stream = self._video.open()
        self._stream.thread_type = "AUTO"
        self._begin(-1)

    def _seek(self, key: int) -> None:
        """Go to a key frame; to the start below 0."""
        if key < 0:
            self._container.close()
            self._open()
            return
        self._container.seek(self._index.key_times[key], stream=self._stream, backward=True)
        self._begin(key)

    def _begin(self, origin: int) -> None:
        self._origin = origin
        self._shown = self._next = None
        self._frames = self._by_time() if self._index.times else self._by_count(origin)

    def _run_to(self, index: int) -> None:
        """Decode until ``_shown`` is frame ``index``, or the last one before it."""
        while self._shown is None or self._shown[0] < index:
            found = self._next or next(self._frames, None)
            self._next = None
            if found is None:
                return
            if found[0] > index:
                self._next = found
                return
            self._shown = found

    def _by_time(self) -> Iterator[tuple[int, Any]]:
        for frame in self._decode():
            place = self._index.place_of(frame.pts)
            if place is not None:
                yield place, frame

    def _by_count(self, origin: int) -> Iterator[tuple[int, Any]]:
        place = 0 if origin < 0 else None
        for frame in self._decode():
            if place is None:
                if not frame.key_frame:
                    continue  # what is left of the group before
                place = self._index.keys[origin]
            yield place, frame
            place += 1

    def _decode(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                yield from decoded(packet)
        except (InvalidDataError, EOFError):
            return  # cut off here; the index ends here too


def to_rgb(frame: Any) -> NDArray[np.uint8]:
    """[H, W, 3] uint8, upright."""
    matrix = {"src_colorspace": "ITU709"} if int(frame.colorspace) == _BT709 else {}  # older PyAV takes 601 for all
    image = frame.to_ndarray(format="rgb24", **matrix)
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
