"""Endless batches of samples, drawn in worker processes."""

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sam2.train.nano.data.clips import Clip, ClipConfig, ClipSampler
from sam2.train.nano.data.pack import PackedData, open_packed
from sam2.train.nano.data.samples import SampleConfig, Sampler

Sizes = tuple[tuple[int, float], ...]
"""(image side, share of the steps), in order."""

T = TypeVar("T")


def size_at(sizes: Sizes, progress: float) -> int:
    """Image side at ``progress`` (0..1) of the steps."""
    for size, share in sizes:
        progress -= share
        if progress < 0:
            return size
    return sizes[-1][0]


@dataclass(frozen=True, slots=True)
class Batch:
    """b samples of k objects.

    Attributes:
        images: [b, S, S, 3] uint8 RGB.
        masks: [b, k, S/2, S/2] bool.
    """

    images: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """b clips of T frames and k objects.

    Attributes:
        images: [b, T, S, S, 3] uint8 RGB.
        masks: [b, T, k, S/2, S/2] bool.
    """

    images: Tensor
    masks: Tensor


class _Batches(IterableDataset):
    """Batches of stills, or of clips where ``config`` is that of clips."""

    def __init__(
        self,
        folder: Path,
        config: SampleConfig | ClipConfig,
        batch_size: int,
        *,
        seed: Sequence[int],
        first: int,
    ) -> None:
        self.folder, self.config, self.batch_size = folder, config, batch_size
        self.seed, self.first = seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = get_worker_info()
        if info is not None:
            cv2.setNumThreads(0)
            _leave_signals_to_the_run()
        data = open_packed(self.folder)
        samplers: dict[int, Sampler | ClipSampler] = {}
        # The loader takes one batch of each worker in turn.
        for number in itertools.count(self.first + (info.id if info else 0), info.num_workers if info else 1):
            rng = np.random.default_rng([*self.seed, number])
            frames = self.config.length_of(number, self.seed[0]) if isinstance(self.config, ClipConfig) else 1
            if frames not in samplers:
                samplers[frames] = self._sampler(data, frames)
            samples = [samplers[frames].draw(rng) for _ in range(self.batch_size)]
            images = torch.from_numpy(np.stack([s.images if isinstance(s, Clip) else s.image for s in samples]))
            yield images, torch.from_numpy(np.stack([sample.masks for sample in samples]))

    def _sampler(self, data: PackedData, frames: int) -> Sampler | ClipSampler:
        if isinstance(self.config, SampleConfig):
            return Sampler(data, self.config)
        return ClipSampler(data, replace(self.config, frames=frames))


def _leave_signals_to_the_run() -> None:
    """Ctrl-C reaches every process of a terminal; the run needs its workers until it has stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def batches(
    folder: str | Path,
    config: SampleConfig,
    *,
    batch_size: int,
    seed: Sequence[int],
    first: int = 0,
    workers: int = 1,
    pin: bool = False,
) -> Iterator[Batch]:
    """Batches number ``first``, ``first`` + 1, ... of the packed training data in ``folder``, for ever.

    What a batch holds follows from ``config``, ``batch_size``, ``seed`` and its number, not from ``workers`` (0 draws
    in this process): a stream can be taken up anywhere.
    """
    source = _Batches(Path(folder), config, batch_size, seed=seed, first=first)
    for images, masks in _loader(source, workers=workers, pin=pin):
        yield Batch(images, masks)


def clip_batches(
    folder: str | Path,
    config: ClipConfig,
    *,
    batch_size: int,
    seed: Sequence[int],
    first: int = 0,
    workers: int = 1,
    pin: bool = False,
) -> Iterator[ClipBatch]:
    """The same of clips. Their length follows from a batch's number and ``seed[0]`` alone."""
    source = _Batches(Path(folder), config, batch_size, seed=seed, first=first)
    for images, masks in _loader(source, workers=workers, pin=pin):
        yield ClipBatch(images, masks)


def _loader(source: _Batches, *, workers: int, pin: bool) -> DataLoader:
    prefetch = 4 if workers else None
    return DataLoader(source, batch_size=None, num_workers=workers, prefetch_factor=prefetch, pin_memory=pin)


class Rescaled(Generic[T]):
    """A stream that is opened anew whenever the schedule asks for another image size.

    Args:
        sizes: (image side, share of the steps), in order.
        start: opens the stream of a size from a batch number on.
    """

    def __init__(self, sizes: Sizes, start: Callable[[int, int], Iterator[T]]) -> None:
        self.sizes, self._start = sizes, start
        self._size = 0
        self._source: Iterator[T] = iter(())

    def take(self, progress: float, number: int) -> T:
        """The next batch at ``progress`` (0..1), which has this number where the image size is a new one."""
        size = size_at(self.sizes, progress)
        if size != self._size:
            self._size, self._source = size, self._start(size, number)
        return next(self._source)
