"""What the training data ends in: a drawn clip, and a batch of clips whose objects stand in one row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that could not be used: the record's name, and why (which names the file)."""

    name: str
    cause: str


@dataclass(frozen=True, slots=True)
class ClipSample:
    """One drawn training sample; a still has T = 1.

    Attributes:
        images: [T, S, S, 3] uint8 RGB.
        masks: [T, K, S, S] bool, K >= 0 objects; empty where an object is absent.
        object_ids: K, the numbers that the record gives them; -1, -2, ... for cut-outs of other records.
        name: where it comes from, for messages.
        seed: non-negative, of this sample in this epoch: everything random about its prompts follows from it.
        bad: what was skipped before this one took its place.
        maps: [T, c, h, w] float16 each: what the image encoder says of the frames, where that is kept; else none.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    object_ids: tuple[int, ...]
    name: str
    seed: int
    bad: tuple[BadSample, ...] = ()
    maps: tuple[NDArray[np.float16], ...] = ()

    def __post_init__(self) -> None:
        images, masks = self.images.shape, self.masks.shape
        if len(images) != 4 or images[3] != 3 or images[1] != images[2] or self.images.dtype != np.uint8:
            raise ValueError(f"images must be [T, S, S, 3] uint8, got {images} {self.images.dtype}")
        expected = (images[0], len(self.object_ids), *images[1:3])
        if masks != expected or self.masks.dtype != np.bool_:
            raise ValueError(f"masks must be {expected} bool, got {masks} {self.masks.dtype}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """b clips of T frames each, their n objects in one row.

    Attributes:
        images: [b, T, S, S, 3] uint8 RGB.
        masks: [T, n, S, S] bool; n is 0 where no clip has an object.
        clip_of: [n] int64, the clip that an object belongs to, ascending.
        seeds: [n] int64, one an object, of its sample's seed and its place in the sample.
        names: b, where the clips come from.
        step_seed: of the whole micro-step, equal on all processes: what is drawn for a batch together follows from it.
        bad: samples that were skipped while this batch was drawn.
        maps: [b * T, c, h, w] float16 each, the frames of a clip in a row: embedding and the two finer maps of the
            image encoder, where they are kept (:mod:`sam2.train.cached`); else none.
    """

    images: Tensor
    masks: Tensor
    clip_of: Tensor
    seeds: Tensor
    names: tuple[str, ...]
    step_seed: int
    bad: tuple[BadSample, ...] = ()
    maps: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 5 or self.images.shape[4] != 3 or self.images.shape[2] != self.images.shape[3]:
            raise ValueError(f"images must be [b, T, S, S, 3], got {tuple(self.images.shape)}")
        frames, objects, side = self.images.shape[1], len(self.clip_of), self.images.shape[2]
        if tuple(self.masks.shape) != (frames, objects, side, side):
            raise ValueError(f"masks must be {(frames, objects, side, side)}, got {tuple(self.masks.shape)}")
        if self.seeds.shape != self.clip_of.shape or self.clip_of.ndim != 1:
            raise ValueError(f"clip_of and seeds must be [n], got {self.clip_of.shape} and {self.seeds.shape}")
        if len(self.names) != len(self.images):
            raise ValueError(f"names must have one entry a clip ({len(self.images)}), got {len(self.names)}")

    @property
    def frames(self) -> int:
        """T."""
        return self.images.shape[1]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "ClipBatch":
        """The same batch on ``device``."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            masks=self.masks.to(device, non_blocking=non_blocking),
            clip_of=self.clip_of.to(device, non_blocking=non_blocking),
            seeds=self.seeds.to(device, non_blocking=non_blocking),
            maps=tuple(part.to(device, non_blocking=non_blocking) for part in self.maps),
        )

    def pin_memory(self) -> "ClipBatch":
        """The same batch in page-locked memory, from which it is copied to an accelerator beside computation."""
        return replace(
            self,
            images=self.images.pin_memory(),
            masks=self.masks.pin_memory(),
            clip_of=self.clip_of.pin_memory(),
            seeds=self.seeds.pin_memory(),
            maps=tuple(part.pin_memory() for part in self.maps),
        )


def collate(samples: Sequence[ClipSample], *, step_seed: int) -> ClipBatch:
    """Samples of equal T and S as one batch.

    Raises:
        ValueError: there is none, or they differ in the number or size of frames.
    """
    if not samples:
        raise ValueError("samples must not be empty")
    shapes = {sample.images.shape for sample in samples}
    if len(shapes) != 1:
        raise ValueError(f"samples must have equal numbers and sizes of frames, got {sorted(shapes)}")
    seeds = [object_seed(sample.seed, place) for sample in samples for place in range(len(sample.object_ids))]
    counts = [len(sample.object_ids) for sample in samples]
    return ClipBatch(
        images=torch.from_numpy(np.stack([sample.images for sample in samples])),
        masks=torch.from_numpy(np.concatenate([sample.masks for sample in samples], axis=1)),
        clip_of=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
        seeds=torch.tensor(seeds, dtype=torch.int64),
        names=tuple(sample.name for sample in samples),
        step_seed=step_seed,
        bad=tuple(bad for sample in samples for bad in sample.bad),
        maps=tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*(s.maps for s in samples), strict=True)),
    )


def object_seed(seed: int, place: int) -> int:
    """The seed of the object at ``place`` in the sample with ``seed``; 0 to 2**63 - 1."""
    return mixed_seed(seed, 1 + place)


def mixed_seed(*parts: int) -> int:
    """One number, 0 to 2**63 - 1, of several that are not negative; the same on every machine."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
