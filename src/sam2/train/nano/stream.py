"""What each step of a training is given: stills or clips, at the size that the schedule asks for."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import torch
from torch import Tensor

from sam2.train.data.clip import BadSample
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.clips import ClipConfig
from sam2.train.nano.data.loader import Batch, ClipBatch, Rescaled, batches, clip_batches
from sam2.train.nano.data.pack import open_packed
from sam2.train.nano.data.samples import SampleConfig


class Chance(IntEnum):
    """What chance is drawn for: each has a stream of its own."""

    SAMPLES = 0
    PROMPTS = 1
    ROUNDS = 2
    CLIPS = 3


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The stills or clips of a step, and its number, from which all that is drawn for it follows."""

    step: int
    batch: Batch | ClipBatch

    @property
    def is_clip(self) -> bool:
        """Whether it holds clips."""
        return isinstance(self.batch, ClipBatch)

    @property
    def images(self) -> Tensor:
        """[b, S, S, 3] uint8, of clips [b, T, S, S, 3]."""
        return self.batch.images

    @property
    def frames(self) -> int:
        """T; 1 of stills."""
        return self.images.shape[1] if self.is_clip else 1

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "StepBatch":
        """Itself: users are simulated on the CPU from the same masks, and the step moves what the model needs."""
        return self


class NanoStream:
    """Batches by the number of their step: a function of configuration, seed, number and rank alone.

    Args:
        cache: folder of the packed photos.
        config: what to draw.
        rank, world_size: of this process, and how many there are, which share a batch.
        pin: keep batches in page-locked memory, for CUDA.
    """

    bad_samples: tuple[BadSample, ...] = ()
    """None: what is packed can be read."""

    def __init__(
        self, cache: Path, config: NanoConfig, *, rank: int = 0, world_size: int = 1, pin: bool = False
    ) -> None:
        self.cache, self.config = cache, config
        self.rank, self.world_size, self.pin = rank, world_size, pin
        photos = int((~open_packed(cache).images["held_out"]).sum())
        self.steps_per_epoch = max(1, round(photos / config.batch_at(config.final_size)))
        """Steps at the last size in which as many photos are drawn as there are."""

    def batches(self, first_step: int = 0) -> Iterator[StepBatch]:
        """Those of steps ``first_step``, ``first_step`` + 1, ... for ever."""
        images = Rescaled(self.config.sizes, self._images)
        clips = Rescaled(self.config.clip_sizes, self._clips)
        for step in itertools.count(first_step):
            progress, clips_before = step / self.config.steps, self.config.clips_before(step)
            if self.config.is_clip(step):
                yield StepBatch(step, clips.take(progress, clips_before))
            else:
                yield StepBatch(step, images.take(progress, step - clips_before))

    def _images(self, size: int, first: int) -> Iterator[Batch]:
        config = self.config
        return batches(
            self.cache,
            SampleConfig(image_size=size, masks=config.masks),
            batch_size=max(1, round(config.batch_at(size) / self.world_size)),
            seed=(config.seed, self.rank, Chance.SAMPLES),
            first=first,
            workers=config.workers,
            pin=self.pin,
        )

    def _clips(self, size: int, first: int) -> Iterator[ClipBatch]:
        config = self.config
        return clip_batches(
            self.cache,
            ClipConfig(image_size=size, masks=config.clip_masks, lengths=config.lengths),
            batch_size=max(1, round(config.clips_at(size) / self.world_size)),
            seed=(config.seed, self.rank, Chance.CLIPS),
            first=first,
            workers=config.workers,
            pin=self.pin,
        )
