"""What an editor needs of the past: every frame's masks and scores, in a budget of memory, the rest on disk."""

import zlib
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from sam2.tracking.records import FrameOutput
from sam2.tracking.scratch import ScratchFile

DEFAULT_BUDGET = 32 * 2**20
_LEVEL = 1

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DiskForm:
    """How to read an output from the file.

    Attributes:
        side: of the masks.
        channels: of the pointer.
        filled: masks are there twice, shown and raw.
    """

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
        self._in_memory: OrderedDict[Key, FrameOutput] = OrderedDict()
        self._bytes = 0
        self._on_disk: dict[Key, DiskForm] = {}
        self._file: ScratchFile[Key] = ScratchFile(folder)
        self._claimed = False

    def claim(self) -> "History":
        """This history, for one session alone: objects of two would be taken for each other.

        Raises:
            ValueError: it has a session already.
        """
        if self._claimed:
            raise ValueError("history already belongs to a session: give each session its own History")
        self._claimed = True
        return self

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._on_disk)

    def __contains__(self, key: object) -> bool:
        return key in self._in_memory or key in self._on_disk

    @property
    def bytes_in_memory(self) -> int:
        """Bytes that outputs take in memory now."""
        return self._bytes

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of the temporary file."""
        return self._file.size

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
        form = self._on_disk.get(key)
        return None if form is None else self._read(key, form)

    def frames(self, obj_id: int) -> list[int]:
        """Frames that are known of an object, in ascending order."""
        return sorted({frame for of, frame in (*self._in_memory, *self._on_disk) if of == obj_id})

    def delete(self, obj_id: int, frame: int | None = None) -> None:
        """Forget one frame of an object, or all of them."""
        keys = (
            [(obj_id, frame)]
            if frame is not None
            else [k for k in (*self._in_memory, *self._on_disk) if k[0] == obj_id]
        )
        for key in keys:
            gone = self._in_memory.pop(key, None)
            self._bytes -= 0 if gone is None else gone.num_bytes
            self._on_disk.pop(key, None)
            self._file.delete(key)

    def kept(self) -> list[tuple[Key, FrameOutput]]:
        """What is in memory, the oldest first."""
        return list(self._in_memory.items())

    def spilled(self) -> dict[Key, DiskForm]:
        """What is on disk."""
        return dict(self._on_disk)

    def read_spilled(self, key: Key) -> bytes:
        """The bytes that are on disk of an output; for :meth:`put_spilled`."""
        return self._file.read(key)

    def put_spilled(self, key: Key, form: DiskForm, content: bytes) -> None:
        """Put the bytes of an output on disk, in the place of an earlier one."""
        self.delete(*key)
        self._file.write(key, content)
        self._on_disk[key] = form

    def clear(self) -> None:
        """Forget everything and give the file back."""
        self._in_memory.clear()
        self._on_disk.clear()
        self._bytes = 0
        self._file.clear()

    def _spill(self, key: Key, output: FrameOutput) -> None:
        if output.logits is None or output.raw is None:
            raise ValueError("a history keeps outputs with masks")
        filled = output.raw is not output.logits
        arrays = [output.logits.half(), *([output.raw.half()] if filled else [])]
        masks = zlib.compress(b"".join(_bytes_of(x) for x in arrays), _LEVEL)
        exact = b"".join(_bytes_of(x.float()) for x in (output.iou, output.object_score, output.pointer))
        self._file.write(key, exact + masks)
        self._on_disk[key] = DiskForm(output.logits.shape[-1], output.pointer.shape[-1], filled)

    def _read(self, key: Key, form: DiskForm) -> FrameOutput:
        content = self._file.read(key)
        count = 2 + form.channels
        exact = torch.frombuffer(bytearray(content[: 4 * count]), dtype=torch.float32)
        halves = torch.frombuffer(bytearray(zlib.decompress(content[4 * count :])), dtype=torch.float16)
        masks = halves.float().reshape(-1, 1, 1, form.side, form.side)
        logits = masks[0]
        raw = masks[1] if form.filled else logits
        return FrameOutput(logits, raw, exact[None, :1], exact[None, 1:2], exact[None, 2:])


def _bytes_of(x: Tensor) -> bytes:
    return x.contiguous().numpy().tobytes()
