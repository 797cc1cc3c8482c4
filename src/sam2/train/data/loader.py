"""Endless batches of samples, drawn in worker processes."""

from collections.abc import Iterator
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
    def __init__(self, folder: Path, config: SampleConfig, batch_size: int, seed: int) -> None:
        self.folder, self.config, self.batch_size, self.seed = folder, config, batch_size, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0, self.config.image_size])
        sampler = Sampler(open_packed(self.folder), self.config)
        while True:
            samples = [sampler.draw(rng) for _ in range(self.batch_size)]
            images = torch.from_numpy(np.stack([sample.image for sample in samples]))
            yield images, torch.from_numpy(np.stack([sample.masks for sample in samples]))


def batches(
    folder: str | Path, config: SampleConfig, *, batch_size: int, seed: int, workers: int = 1, pin: bool = False
) -> Iterator[Batch]:
    """Batches of the packed training data in ``folder``, for ever. ``workers=0`` draws them in this process."""
    source = _Batches(Path(folder), config, batch_size, seed)
    loader = DataLoader(
        source, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, pin_memory=pin
    )
    for images, masks in loader:
        yield Batch(images, masks)
