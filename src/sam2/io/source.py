"""What every source of frames offers."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sam2.io.readahead import ahead


class FrameSource(ABC):
    """Frames of one size that can be read in any order. None is kept.

    Attributes:
        num_frames: how many there are.
        height, width: of every frame, in pixels.
        fps: frames a second, None where there is no such thing.
    """

    num_frames: int
    height: int
    width: int
    fps: float | None = None

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as RGB [H, W, 3] uint8.

        Raises:
            IndexError: there is no such frame; indices below 0 are not taken.
            ValueError: the frame cannot be decoded or has another size than the first.
        """
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} is not in 0..{self.num_frames - 1}")
        return self._checked(index, self._decode(index))

    def read(self, start: int, stop: int, step: int = 1) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
        """(index, frame) in the order of ``range(start, stop, step)``, decoded ahead by a thread.

        Raises:
            ValueError: ``step`` is not 1 or -1.
            IndexError: an index is out of range.
        """
        if step not in (1, -1):
            raise ValueError(f"step must be 1 or -1, got {step}")
        indices = range(start, stop, step)
        for index in indices[:1], indices[-1:]:
            if len(index) and not 0 <= index[0] < self.num_frames:
                raise IndexError(f"frame {index[0]} is not in 0..{self.num_frames - 1}")
        return ahead((i, self._checked(i, frame)) for i, frame in self._decode_run(indices))

    def close(self) -> None:
        """Let go of what is open."""
        return

    def __enter__(self) -> "FrameSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _decode(self, index: int) -> NDArray[np.uint8]:
        """A frame that exists."""

    def _decode_run(self, indices: range) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Frames that exist, in a row; runs in a thread of its own."""
        for index in indices:
            yield index, self._decode(index)

    def _name(self, index: int) -> str:
        return f"frame {index}"

    def _checked(self, index: int, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if frame.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"{self._name(index)} has {frame.shape[1]} x {frame.shape[0]} pixels, the first frame "
                f"{self.width} x {self.height}: all frames must have one size"
            )
        return frame
