"""Endless batches of samples, drawn in worker processes."""

import itertools
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sam2.train.data.pack import open_packed
from sam2.train.data.samples import SampleConfig, Sampler


@dataclass(frozen=True, slots=True)
class Batch:
    """b samples of k objects.

    Attributes:
        images: [b, S, S, 3] uint8 RGB.
        masks: [b, k, S/2, S/2] bool.
    """

    images: Tensor
    masks: Tensor


class _Batches(IterableDataset):
    def __init__(self, folder: Path, config: SampleConfig, batch_size: int, seed: Sequence[int], first: int) -> None:
        self.folder, self.config, self.batch_size = folder, config, batch_size
        self.seed, self.first = seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = get_worker_info()
        if info is not None:
            cv2.setNumThreads(0)
            _leave_signals_to_the_run()
        sampler = Sampler(open_packed(self.folder), self.config)
        # The loader takes one batch of each worker in turn.
        for number in itertools.count(self.first + (info.id if info else 0), info.num_workers if info else 1):
            rng = np.random.default_rng([*self.seed, number])
            samples = [sampler.draw(rng) for _ in range(self.batch_size)]
            images = torch.from_numpy(np.stack([sample.image for sample in samples]))
            yield images, torch.from_numpy(np.stack([sample.masks for sample in samples]))


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
    source = _Batches(Path(folder), config, batch_size, seed, first)
    loader = DataLoader(
        source, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, pin_memory=pin
    )
    for images, masks in loader:
        yield Batch(images, masks)
