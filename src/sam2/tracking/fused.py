"""Frames as the memories of an object change them, kept while those stay what they are.

Reading memory is half of what a correction of a tracked frame costs, and the same for every click on that frame.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from sam2.modeling.memory_selection import MemorySelection

Key = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Fused:
    read: tuple[Tensor, ...]
    selection: MemorySelection
    embed: Tensor

    def holds(self, read: Sequence[Tensor], selection: MemorySelection) -> bool:
        """Whether the very same tensors would be read in the same way."""
        same = len(read) == len(self.read) and all(a is b for a, b in zip(read, self.read, strict=True))
        return same and selection == self.selection


class FusedFrames:
    """Embeddings [1, C, h, w] by object and frame, the last few asked for.

    Args:
        keep: how many are kept.
    """

    def __init__(self, keep: int = 8) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.keep = keep
        self._kept: OrderedDict[Key, _Fused] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, key: Key, make: Callable[[], Tensor], *, read: Sequence[Tensor], selection: MemorySelection
    ) -> Tensor:
        """The embedding of an object on a frame.

        Args:
            key: object and frame.
            make: computes it; called where there is none, or it came of something else.
            read: all tensors that it comes of.
            selection: how they are read.
        """
        found = self._kept.pop(key, None)
        if found is None or not found.holds(read, selection):
            found = _Fused(tuple(read), selection, make())
        self._kept[key] = found
        while len(self._kept) > self.keep:
            self._kept.popitem(last=False)
        return found.embed

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
