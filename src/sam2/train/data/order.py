"""Which records a micro-step draws, and with which seeds: arithmetic on numbers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sam2.train.data.clip import mixed_seed

_SAMPLE, _STEP, _RECORDS, _POOL, _KINDS = range(1, 6)
"""What a seed is for."""


@dataclass(frozen=True, slots=True)
class SourceSize:
    """What the order needs to know of a source.

    Attributes:
        records: how many it has.
        weight: how often an epoch draws each of them; of 0.5, every other one.
        lengths: T of the samples drawn from it, and the share of the draws with that T; shares add up to 1.
    """

    records: int
    weight: float
    lengths: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to be drawn: record ``record`` of source ``source``, with ``seed``."""

    source: int
    record: int
    seed: int


@dataclass(frozen=True, slots=True)
class MicroStep:
    """What all processes together draw in a micro-step: samples of ``frames`` frames, in the order of the processes."""

    frames: int
    draws: tuple[Draw, ...]
    step_seed: int


@dataclass(frozen=True, slots=True)
class _Epoch:
    """``pools``: T to [n, 2] (source, record). ``kinds``: [steps] T of each step; ``places``: [steps], its number among
    those of that T."""

    pools: dict[int, NDArray[np.int64]]
    kinds: NDArray[np.int64]
    places: NDArray[np.int64]


class SampleOrder:
    """The order of samples, epoch by epoch.

    An epoch draws each record of a source ``weight`` times, in an order of its own (a permutation of the seed, the
    epoch and the source), and mixes what is drawn from all sources. All samples of a micro-step have the same number of
    frames; micro-steps of different T are mixed too. The last one of a kind is filled up from the first.

    Args:
        sources: not empty, with draws to make.
        batch: samples of T frames that a micro-step takes, over all processes, for every T of ``sources``.
        seed: not negative.
    """

    def __init__(self, sources: Sequence[SourceSize], batch: Mapping[int, int], *, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self._sources, self._batch, self._seed = tuple(sources), dict(batch), seed
        self._counts = [_split(source) for source in sources]
        totals: dict[int, int] = {}
        for counts in self._counts:
            for frames, count in counts.items():
                totals[frames] = totals.get(frames, 0) + count
        self._steps = {t: -(-totals[t] // self._batch[t]) for t in sorted(totals) if totals[t]}
        if not self._steps:
            raise ValueError("the sources have no record to draw: all weights are 0")
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_epoch"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._epoch = lru_cache(maxsize=2)(self._plan)

    @property
    def steps_per_epoch(self) -> int:
        """Micro-steps of an epoch."""
        return sum(self._steps.values())

    def step(self, number: int) -> MicroStep:
        """Micro-step ``number``, counted from 0 over all epochs."""
        if number < 0:
            raise ValueError(f"number of a micro-step must not be negative, got {number}")
        epoch, place = divmod(number, self.steps_per_epoch)
        plan = self._epoch(epoch)
        frames, first = int(plan.kinds[place]), int(plan.places[place]) * self._batch[int(plan.kinds[place])]
        pool = plan.pools[frames]
        draws = []
        for index in range(first, first + self._batch[frames]):
            source, record = pool[index % len(pool)]
            draws.append(Draw(int(source), int(record), mixed_seed(self._seed, _SAMPLE, epoch, frames, index)))
        return MicroStep(frames, tuple(draws), mixed_seed(self._seed, _STEP, number))

    def _plan(self, epoch: int) -> _Epoch:
        parts: dict[int, list[NDArray[np.int64]]] = {frames: [] for frames in self._steps}
        for number, (source, counts) in enumerate(zip(self._sources, self._counts, strict=True)):
            rng = self._rng(_RECORDS, epoch, number)
            total = sum(counts.values())
            passes = [rng.permutation(source.records) for _ in range(-(-total // source.records))]
            order = np.concatenate([*passes, np.empty(0, np.int64)])[:total]
            for frames, count in counts.items():
                taken, order = order[:count], order[count:]
                parts[frames].append(np.column_stack([np.full(count, number), taken]))
        pools = {t: self._rng(_POOL, epoch, t).permutation(np.concatenate(parts[t])) for t in self._steps}
        kinds = np.repeat(list(self._steps), list(self._steps.values()))
        kinds = self._rng(_KINDS, epoch).permutation(kinds)
        places = np.zeros(len(kinds), np.int64)
        for frames in self._steps:
            places[kinds == frames] = np.arange(self._steps[frames])
        return _Epoch(pools, kinds, places)

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng(mixed_seed(self._seed, *purpose))


def _split(source: SourceSize) -> dict[int, int]:
    """Draws of an epoch by T; a source with any weight has at least one."""
    total = max(1, round(source.weight * source.records)) if source.weight > 0 and source.records else 0
    counts, left, share_left = {}, total, 1.0
    for frames, share in source.lengths.items():
        count = left if share >= share_left else round(left * share / share_left)
        counts[frames] = count
        left, share_left = left - count, share_left - share
    return {frames: count for frames, count in counts.items() if count}
