"""What an editor needs of the past: every frame's masks and scores, in a budget of memory, the rest on disk."""

import tempfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from sam2.tracking.records import FrameOutput

DEFAULT_BUDGET = 32 * 2**20
_LEVEL = 1

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an output lies in the file, and how to read it."""

    offset: int
    length: int
    side: int
    channels: int
    filled: bool


class History:
    """Outputs by (object, frame). The youngest are in memory as they are; older ones go to a temporary file.

    On disk logits are half-precision and compressed, and an output is without its memory, which can be made again
    from ``raw`` logits and the frame. The file is anonymous and gone with the history.

    Args:
        budget: bytes of memory for outputs; 0 sends everything to disk.
        folder: where the temporary file is made; the system's choice by default.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, *, folder: str | None = None) -> None:
        if budget < 0:
            raise ValueError(f"budget must be at least 0 bytes, got {budget}")
        self.budget = budget
        self._folder = folder
        self._in_memory: OrderedDict[Key, FrameOutput] = OrderedDict()
        self._bytes = 0
        self._on_disk: dict[Key, _Place] = {}
        self._file: IO[bytes] | None = None
        self._end = 0

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._on_disk)

    def __contains__(self, key: object) -> bool:
        return key in self._in_memory or key in self._on_disk

    @property
    def bytes_in_memory(self) -> int:
        """Bytes that outputs take in memory now."""
        return self._bytes

    def put(self, obj_id: int, frame: int, output: FrameOutput) -> None:
        """Keep an output with masks, in the place of an earlier one.

        Raises:
            OSError: the disk is full; nothing is lost, but memory is over its budget.
        """
        key = (obj_id, frame)
        self.delete(obj_id, frame)
        kept = output.to("cpu")
        self._in_memory[key] = kept
        self._bytes += kept.num_bytes
        while self._bytes > self.budget and self._in_memory:
            oldest, spilled = next(iter(self._in_memory.items()))
            self._spill(oldest, spilled)
            del self._in_memory[oldest]
            self._bytes -= spilled.num_bytes

    def get(self, obj_id: int, frame: int) -> FrameOutput | None:
        """The output, on the CPU; its memory is None if it was on disk."""
        key = (obj_id, frame)
        if key in self._in_memory:
            return self._in_memory[key]
        place = self._on_disk.get(key)
        return None if place is None else self._read(place)

    def frames(self, obj_id: int) -> list[int]:
        """Frames that are known of an object, in ascending order."""
        return sorted({frame for of, frame in (*self._in_memory, *self._on_disk) if of == obj_id})

    def delete(self, obj_id: int, frame: int | None = None) -> None:
        """Forget one frame of an object, or all of them. Space in the file is not given back."""
        keys = (
            [(obj_id, frame)]
            if frame is not None
            else [k for k in (*self._in_memory, *self._on_disk) if k[0] == obj_id]
        )
        for key in keys:
            gone = self._in_memory.pop(key, None)
            self._bytes -= 0 if gone is None else gone.num_bytes
            self._on_disk.pop(key, None)

    def clear(self) -> None:
        """Forget everything and give the file back."""
        self._in_memory.clear()
        self._on_disk.clear()
        self._bytes = self._end = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self, key: Key, output: FrameOutput) -> None:
        if output.logits is None or output.raw is None:
            raise ValueError("a history keeps outputs with masks")
        filled = output.raw is not output.logits
        arrays = [output.logits.half(), *([output.raw.half()] if filled else [])]
        masks = zlib.compress(b"".join(_bytes_of(x) for x in arrays), _LEVEL)
        exact = b"".join(_bytes_of(x.float()) for x in (output.iou, output.object_score, output.pointer))
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="sam2-history-", dir=self._folder)  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(exact + masks)
        self._file.flush()
        length = len(exact) + len(masks)
        side, channels = output.logits.shape[-1], output.pointer.shape[-1]
        self._on_disk[key] = _Place(self._end, length, side, channels, filled)
        self._end += length

    def _read(self, place: _Place) -> FrameOutput:
        assert self._file is not None
        self._file.seek(place.offset)
        content = self._file.read(place.length)
        count = 2 + place.channels
        exact = torch.from_numpy(np.array(np.frombuffer(content, np.float32, count), np.float32))
        shape = (-1, 1, 1, place.side, place.side)
        halves = np.frombuffer(zlib.decompress(content[4 * count :]), np.float16)
        masks = np.array(halves, np.float32).reshape(shape)
        logits = torch.from_numpy(masks[0])
        raw = torch.from_numpy(masks[1]) if place.filled else logits
        return FrameOutput(logits, raw, exact[None, :1], exact[None, 1:2], exact[None, 2:])


def _bytes_of(x: Tensor) -> bytes:
    return x.contiguous().numpy().tobytes()
