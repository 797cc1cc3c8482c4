"""What a training is measured on while it runs: the held-out tenth of the photos, and clips made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.train.data.sources import ClipRecord
from sam2.train.nano.data.clips import Clip, ClipConfig, ClipSampler
from sam2.train.nano.data.pack import PackedData, open_packed
from sam2.train.nano.data.records import KINDS

CLICKED_KINDS = ("thing", "whole", "group")
"""What people would click on."""

MIN_SHARE = 0.02
MAX_CROWDING = 0.25
"""With more of others in its box, what an annotator took for the object is a matter of taste."""

MAX_PER_IMAGE = 2
CLIP_FRAMES = 10


def held_out_objects(data: PackedData, limit: int) -> list[tuple[int, int]]:
    """Up to ``limit`` held-out objects that people would click on, as (photo, mask) rows; the same ones every time."""
    wanted = [KINDS.index(kind) for kind in CLICKED_KINDS]
    chosen: list[tuple[int, int]] = []
    for image in np.flatnonzero(data.images["held_out"]):
        height, width = int(data.images[image]["height"]), int(data.images[image]["width"])
        rows = [i for i in data.masks_of(int(image)) if data.masks[i]["kind"] in wanted]
        rows = [i for i in rows if data.masks[i]["area"] >= MIN_SHARE * height * width]
        rows = [i for i in rows if data.masks[i]["crowding"] <= MAX_CROWDING]
        rows.sort(key=lambda i: -int(data.masks[i]["area"]))
        chosen += [(int(image), row) for row in rows[:MAX_PER_IMAGE]]
    order = np.random.default_rng(0).permutation(len(chosen))[:limit]
    return [chosen[i] for i in sorted(order)]


@dataclass(frozen=True, slots=True)
class HeldOutObject:
    """One object of a held-out photo: a still with a single mask.

    Attributes:
        cache: folder of the packed photos.
        photo, row: of the photo and its mask in there.
    """

    cache: Path
    photo: int
    row: int

    @property
    def name(self) -> str:
        """Photo and row."""
        return f"{_opened(self.cache).images[self.photo]['name']}#{self.row}"

    @property
    def num_frames(self) -> int:
        """One."""
        return 1

    @property
    def labelled(self) -> tuple[int, ...]:
        """The only frame."""
        return (0,)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The photo, [h, w, 3] RGB."""
        return _opened(self.cache).image(self.photo)

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """The object's mask [h, w], as object 1."""
        data = _opened(self.cache)
        mask = np.zeros((int(data.images[self.photo]["height"]), int(data.images[self.photo]["width"])), bool)
        x, y = int(data.masks[self.row]["x"]), int(data.masks[self.row]["y"])
        crop = data.mask(self.row) > 0
        mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return {1: mask}


@dataclass(frozen=True, slots=True)
class HeldOutClip:
    """A clip made of held-out photos, with two objects.

    Attributes:
        cache: folder of the packed photos.
        number: decides what is drawn.
        size: side of the frames.
    """

    cache: Path
    number: int
    size: int

    @property
    def name(self) -> str:
        """Its number."""
        return f"clip {self.number}"

    @property
    def num_frames(self) -> int:
        """Ten."""
        return CLIP_FRAMES

    @property
    def labelled(self) -> tuple[int, ...]:
        """All frames."""
        return tuple(range(CLIP_FRAMES))

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, [S, S, 3] RGB."""
        return _drawn(self).images[index]

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """Masks [S, S] of the objects that are to be seen in frame ``index``."""
        masks = _drawn(self).masks[index].repeat(2, axis=1).repeat(2, axis=2)
        return {number: mask for number, mask in enumerate(masks, 1) if mask.any()}


def held_out_records(cache: Path, *, objects: int, clips: int, size: int) -> list[ClipRecord]:
    """Up to ``objects`` stills and ``clips`` clips of side ``size``, the same ones every time."""
    stills = [HeldOutObject(cache, *rows) for rows in held_out_objects(_opened(cache), objects)]
    return [*stills, *(HeldOutClip(cache, number, size) for number in range(clips))]


@lru_cache(maxsize=2)
def _opened(cache: Path) -> PackedData:
    return open_packed(cache)


@lru_cache(maxsize=2)
def _drawn(clip: HeldOutClip) -> Clip:
    """A clip is asked for frame by frame."""
    config = ClipConfig(image_size=clip.size, frames=CLIP_FRAMES, masks=2)
    sampler = ClipSampler(_opened(clip.cache), config, held_out=True)
    return sampler.draw(np.random.default_rng([2, clip.number]))
