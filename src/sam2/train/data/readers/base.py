"""What all readers share: records, their objects, which of these are used, and names that take little memory."""

import gc
import os
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sam2.interop.rle import Mask, decode_mask, mask_area
from sam2.io.images import Scale
from sam2.train.data.readers.frames import Frames
from sam2.train.data.sources import BadSampleError, SourceConfig

_PACKED_FROM = 1 << 20
"""Pixels from which a mask waits as bits: a large picture has hundreds of them."""


class Blobs:
    """Pieces of bytes in one: a hundred thousand are one object, quick to pickle and shared between processes."""

    __slots__ = ("_content", "_ends")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        content, ends = bytearray(), array("q", [0])
        for piece in pieces:
            content += piece
            ends.append(len(content))
        self._content, self._ends = bytes(content), np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"piece {index} is not in 0..{len(self) - 1}")
        return self._content[self._ends[place] : self._ends[place + 1]]


class Names(Sequence[str]):
    """Texts as :class:`Blobs`."""

    __slots__ = ("_blobs",)

    def __init__(self, names: Iterable[str]) -> None:
        self._blobs = Blobs(name.encode("utf-8", "surrogateescape") for name in names)

    def __len__(self) -> int:
        return len(self._blobs)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._blobs[index].decode("utf-8", "surrogateescape")


class Files:
    """Paths of files, and what records are called by: the path from the folder that all of them are in."""

    __slots__ = ("_names", "_root")

    def __init__(self, paths: Sequence[str]) -> None:
        self._root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
        start = len(os.path.join(self._root, ""))
        self._names = Names(path[start:] for path in paths)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[str, str]:
        """Path and name of a file."""
        name = self._names[index]
        return os.path.join(self._root, name), name.replace(os.sep, "/")


class Groups:
    """Where each of many runs of entries begins and ends in one long list."""

    __slots__ = ("_ends",)

    def __init__(self, lengths: Iterable[int]) -> None:
        self._ends = np.concatenate(([0], np.cumsum(np.fromiter(lengths, np.int64)))).astype(np.int64)

    def __getitem__(self, index: int) -> slice:
        return slice(int(self._ends[index]), int(self._ends[index + 1]))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which objects of a source are used, and how pictures are read; see :class:`SourceConfig` for the fields."""

    classes: frozenset[str]
    exclude: frozenset[str]
    min_area: int
    scale: Scale = "full"

    @classmethod
    def of(cls, config: SourceConfig) -> "Choice":
        """What ``config`` says."""
        return cls(frozenset(config.classes), frozenset(config.exclude), config.min_area, config.scale)

    def takes(self, label: str | None) -> bool:
        """Whether objects of this class are used; without a class, they are unless classes are asked for."""
        return label not in self.exclude and (not self.classes or label in self.classes)

    def check(self, known: Collection[str], where: str) -> None:
        """``ValueError`` where a class is named that is not among ``known``."""
        for name, wanted in (("classes", self.classes), ("exclude", self.exclude)):
            if missing := sorted(wanted - set(known)):
                there = ", ".join(sorted(known)[:40]) or "none"
                raise ValueError(f"{name}: {where} has no class {missing[0]!r}; there are {there}")


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object in a frame.

    Attributes:
        number: the same in all frames of its record.
        label: name of its class, None where it has none.
        area: pixels.
        decode: its mask [h, w] bool.
    """

    number: int
    label: str | None
    area: int
    decode: Callable[[], Mask]

    @classmethod
    def of_rle(cls, number: int, label: str | None, rle: Mapping[str, object]) -> "FoundObject":
        """An object with a run-length encoding, which is decoded when it is asked for."""
        return cls(number, label, mask_area(rle), partial(decode_mask, rle))

    @classmethod
    def of_mask(cls, number: int, label: str | None, mask: Mask) -> "FoundObject":
        """An object with the mask [h, w] bool, kept as bits if it is large."""
        area = int(np.count_nonzero(mask))
        if mask.size < _PACKED_FROM:
            return cls(number, label, area, lambda: mask)
        bits, shape = np.packbits(mask), mask.shape
        return cls(number, label, area, lambda: np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape) > 0)


class Objects(Mapping[int, Mask]):
    """Masks by number, decoded when they are asked for."""

    def __init__(self, found: Iterable[FoundObject]) -> None:
        self._found = {item.number: item for item in found}

    def __getitem__(self, number: int) -> Mask:
        return self._found[number].decode()

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Counts:
    """What was left out, or is odd, and how often."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, what: str, name: str | None = None) -> None:
        """Count one more of ``what`` (in the plural); the first few are named."""
        self._counts[what] += 1
        names = self._names.setdefault(what, [])
        if name is not None and len(names) < 3 and name not in names:
            names.append(name)

    def sentences(self) -> tuple[str, ...]:
        """One for each kind: what, how often, and where first."""
        found: list[str] = []
        for what, count in self._counts.items():
            names = self._names[what]
            more = ", ..." if names and count > len(names) else ""
            found.append(f"{what}: {count:,}" + (f" ({', '.join(names)}{more})" if names else ""))
        return tuple(found)

    def text(self) -> str:
        """All of them in one line."""
        return "; ".join(self.sentences())


class Record(ABC):
    """A :class:`sam2.train.data.sources.ClipRecord` over frames.

    Args:
        name: unique in its source.
        frames: where its pictures are.
        choice: which objects are used.
    """

    def __init__(self, name: str, frames: Frames, choice: Choice) -> None:
        self.name, self.frames, self.choice = name, frames, choice

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def num_frames(self) -> int:
        """1 for stills."""
        with self.reading():
            return self.frames.count()

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the frames that have masks, ascending; at least one."""
        with self.reading():
            found = self._labelled()
            if not found:
                raise ValueError("0 annotated frames")
            return found

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as [h, w, 3] RGB."""
        self._check(index)
        with self.reading():
            return self.frames.image(index, self.choice.scale)

    def masks(self, index: int) -> Mapping[int, Mask]:
        """Masks [h, w] of frame ``index`` by object; see :class:`ClipRecord`."""
        least = 1 if self.num_frames > 1 else max(1, self.choice.min_area)
        return Objects(item for item in self.found(index) if item.area >= least)

    def found(self, index: int) -> list[FoundObject]:
        """The objects of frame ``index`` that are of the chosen classes, empty and small ones too.

        Raises:
            IndexError: there is no such frame, or it has no masks.
            BadSampleError: its masks or its picture's size cannot be read, or do not fit each other.
        """
        if index not in self.labelled:
            raise IndexError(f"{self.name}: frame {index} has no masks")
        with self.reading():
            return [item for item in self._found(index) if self.choice.takes(item.label)]

    def ignored(self, index: int) -> Mask | None:
        """Pixels [h, w] of a labelled frame that are neither object nor background; None where all are known."""
        del index
        return None

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """Turn what goes wrong with a file into ``BadSampleError``."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise BadSampleError(f"{self.name}: {error}") from error

    def _check(self, index: int) -> None:
        if not 0 <= index < self.num_frames:
            raise IndexError(f"{self.name}: frame {index} is not in 0..{self.num_frames - 1}")

    def _labelled(self) -> tuple[int, ...]:
        return (0,)

    @abstractmethod
    def _found(self, index: int) -> list[FoundObject]:
        """All objects of a frame that has masks."""


@contextmanager
def without_collecting() -> Generator[None, None, None]:
    """No search for cycles of garbage meanwhile: there are none among the millions of objects of a large JSON file."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_size(where: str, shape: tuple[int, ...], frames: Frames, index: int) -> None:
    """``ValueError`` unless ``shape`` = (height, width) of the mask ``where`` is that of its picture."""
    height, width = frames.size(index)
    if shape != (height, width):
        turned = " (turned on its side, as by its EXIF data?)" if shape == (width, height) else ""
        raise ValueError(
            f"{where} is {shape[1]} x {shape[0]}, its picture {frames.where(index)} {width} x {height}{turned}"
        )


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
