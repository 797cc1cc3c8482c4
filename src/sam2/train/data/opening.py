"""Opening the sources of a configuration, and leaving a part of the training records out to validate on."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sam2.train.data.config import DataConfig
from sam2.train.data.sources import ClipRecord, SourceConfig, open_records


@dataclass(frozen=True, slots=True)
class TrainSource:
    """A source that is open: its configuration, the records to train on, and whether they are videos."""

    config: SourceConfig
    records: Sequence[ClipRecord]
    videos: bool


class ChosenRecords(Sequence[ClipRecord]):
    """Some of ``records``: those numbered ``indices``."""

    def __init__(self, records: Sequence[ClipRecord], indices: NDArray[np.integer]) -> None:
        self._records, self._indices = records, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...

    @overload
    def __getitem__(self, index: slice) -> "ChosenRecords": ...

    def __getitem__(self, index: int | slice) -> "ClipRecord | ChosenRecords":
        if isinstance(index, slice):
            return ChosenRecords(self._records, self._indices[index])
        return self._records[int(self._indices[index])]


class JoinedRecords(Sequence[ClipRecord]):
    """The records of all ``parts``, one part after the other."""

    def __init__(self, parts: Sequence[Sequence[ClipRecord]]) -> None:
        self._parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in self._parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClipRecord]: ...

    def __getitem__(self, index: int | slice) -> ClipRecord | list[ClipRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"record {index} is not in 0..{len(self) - 1}")
        part = bisect_right(self._ends, place)
        return self._parts[part][place - (self._ends[part] - len(self._parts[part]))]


def split_records(records: Sequence[ClipRecord], held_out: float) -> tuple[Sequence[ClipRecord], Sequence[ClipRecord]]:
    """Records to train on, and a share ``held_out`` of them to validate on.

    A hash of a record's name decides, so that it is on the same side on every machine and whatever else is added.
    Where the share comes to a whole record, at least one is held out; at least one is always left to train on.
    """
    shares = np.array([_place_of(record.name) for record in records])
    held = shares < held_out
    if len(shares) and not held.any() and held_out * len(shares) >= 1:
        held[np.argmin(shares)] = True
    if len(shares) and held.all():
        held[np.argmax(shares)] = False
    return ChosenRecords(records, np.flatnonzero(~held)), ChosenRecords(records, np.flatnonzero(held))


def _place_of(name: str) -> float:
    """Where within 0 to 1 a name is hashed to."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def open_training(config: DataConfig) -> tuple[tuple[TrainSource, ...], Sequence[ClipRecord]]:
    """The sources to train on and the records to validate on, which may be none.

    Raises:
        FileNotFoundError, ValueError: as :func:`sam2.train.data.sources.open_records` raises; no source is given.
    """
    used = [source for source in config.train if source.weight > 0]
    if not used:
        raise ValueError(f"train must name at least one source with a weight above 0, got {len(config.train)} sources")
    sources, held_out = [], []
    for source in used:
        records = open_records(source)
        videos, chosen = records.videos, records
        if not config.validation and config.held_out > 0:
            chosen, held = split_records(records, config.held_out)
            held_out.append(held)
        sources.append(TrainSource(source, chosen, videos))
    if config.validation:
        held_out = [open_records(source) for source in config.validation]
    return tuple(sources), JoinedRecords(held_out)
