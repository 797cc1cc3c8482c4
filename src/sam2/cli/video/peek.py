"""A frame source that remembers the last picture it gave: what tracking has read is not decoded again to be drawn."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sam2.io.frames import FrameSource


class PeekedFrames(FrameSource):
    """The frames of ``source``.

    Args:
        source: is closed with this one.
    """

    def __init__(self, source: FrameSource) -> None:
        self.source = source
        self.num_frames, self.height, self.width = source.num_frames, source.height, source.width
        self.fps = source.fps
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def _decode(self, index: int) -> NDArray[np.uint8]:
        return self._last[1] if self._last is not None and self._last[0] == index else self.source[index]

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """As in the source; each frame can be had by its index at no cost until the next one is read."""
        reader = self.source.read(start, stop, step)
        try:
            for index, image in reader:
                self._last = index, image
                yield index, image
        finally:
            reader.close()  # type: ignore[attr-defined]  # a generator

    def close(self) -> None:
        """Close the source."""
        self._last = None
        self.source.close()
