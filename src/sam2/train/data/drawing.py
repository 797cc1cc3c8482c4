"""From a record to a sample: which frames, seen how, which of their objects, what is pasted onto them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2.train.data.clip import ClipSample
from sam2.train.data.colours import change_clip
from sam2.train.data.config import DataConfig
from sam2.train.data.cutouts import Cutout, Sprite, cut_out, make_sprite
from sam2.train.data.footage import STILL_VIEW, FilmedStill, Footage, Frame, RecordedFootage, read_frame
from sam2.train.data.motion import Camera, Flight, Wobble
from sam2.train.data.sources import BadSampleError, ClipRecord
from sam2.train.data.view import Box, View, draw_view, whole_view

TRIES = 4
"""Starts, views and donors that are tried for one that shows an object."""
TWIN_SHARE, KIN_SHARE, CROSSING_SHARE = 0.2, 0.3, 0.4
"""Cut-outs of the same object as the one before, of the picture that they move over, on a way that crosses another."""
STILL_WOBBLE = 0.01
"""Of cut-outs that do not move: they keep their shape."""

READ_ERRORS = (BadSampleError, OSError, ValueError, EOFError, SyntaxError, cv2.error, Image.DecompressionBombError)
"""What a damaged or ill-labelled file raises; Pillow has a SyntaxError for PNGs."""


class UnreadableRecordError(RuntimeError):
    """A record that could not be read.

    Attributes:
        name: of the record.
        cause: what its reader said; names the file.
    """

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(name, cause)
        self.name, self.cause = name, cause


@contextmanager
def _reading(record: ClipRecord) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise UnreadableRecordError(record.name, str(error) or type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class _Shot:
    """Frames [T, S, S, 3], masks [T, K, S, S], the numbers of the objects, the frames' own numbers."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    numbers: tuple[int, ...]
    indices: tuple[int, ...]


class ClipDrawer:
    """Draws samples.

    Args:
        config: how.
        donors: records that cut-outs, and the other quarters of mixed mosaics, are taken from.
    """

    def __init__(self, config: DataConfig, donors: Sequence[ClipRecord]) -> None:
        self.config, self._donors = config, donors

    def draw(self, record: ClipRecord, *, frames: int, seed: int) -> ClipSample:
        """A sample of ``frames`` frames. Equal arguments give equal samples.

        Raises:
            UnreadableRecordError: ``record``, or one that something was to be pasted from, cannot be read.
        """
        rng = np.random.default_rng(seed)
        augment = self.config.augment
        if rng.random() >= augment.mosaic:
            shot = self._shoot(rng, record, frames, side=self.config.image_size)
        elif augment.mosaic_kind == "copies":
            shot = _copied(rng, self._shoot(rng, record, frames, side=self.config.image_size // 2))
        else:
            records = [record, *(self._donor(rng) for _ in range(3))]
            shots = [self._shoot(rng, one, frames, side=self.config.image_size // 2) for one in records]
            shot = _joined(rng, shots, self.config.max_objects)
        images = change_clip(rng, shot.images, augment)
        name = f"{record.name} {list(shot.indices)}" if any(shot.indices) else record.name
        return ClipSample(images, shot.masks, shot.numbers, name, seed)

    def _shoot(self, rng: np.random.Generator, record: ClipRecord, frames: int, *, side: int) -> _Shot:
        config = self.config
        with _reading(record):
            indices, first = self._take_frames(rng, record, frames)
            view = self._take_view(rng, first, side)
            if len(record.labelled) == 1 and frames > 1:
                camera = Camera.draw(rng, frames, STILL_VIEW * float(rng.uniform(0.8, 1.1)))
                footage = FilmedStill(first, camera=camera, view=view, side=side)
                pasted = int(rng.choice(len(config.cutouts), p=np.array(config.cutouts) / sum(config.cutouts)))
            else:
                footage = RecordedFootage(record, indices, first=first, view=view, side=side)
                pasted = int(rng.integers(1, 3)) if rng.random() < config.augment.copy_paste else 0
            sprites = self._sprites(rng, pasted, first, frames=frames, side=side)
            return self._expose(rng, footage, sprites, indices)

    def _take_frames(self, rng: np.random.Generator, record: ClipRecord, frames: int) -> tuple[tuple[int, ...], Frame]:
        """Numbers of the frames, and the first of them; one with an object in it, if there is one in a few tries."""
        for _ in range(TRIES):
            indices = pick_frames(rng, record.labelled, frames, config=self.config)
            first = read_frame(record, indices[0])
            if first.objects or len(record.labelled) == 1:
                break
        return indices, first

    def _take_view(self, rng: np.random.Generator, frame: Frame, side: int) -> View:
        """A view that shows an object, if there is one in a few tries."""
        for _ in range(TRIES):
            order = [int(number) for number in rng.permutation(frame.objects)]
            around = _box_of(frame.mask(order[0])) if order and self.config.augment.crop else None
            view = draw_view(rng, self.config.augment, frame.image.shape, around=around)
            if not order or any(self._is_seen(frame.seen_mask(number, view, side)) for number in order):
                return view
        return whole_view(frame.image.shape)

    def _is_seen(self, mask: NDArray[np.bool_]) -> bool:
        return int(np.count_nonzero(mask)) >= max(1, self.config.min_area * mask.size)

    def _expose(
        self, rng: np.random.Generator, footage: Footage, sprites: list[Sprite], indices: tuple[int, ...]
    ) -> _Shot:
        """Paint all frames and follow what the first one shows of objects and ``sprites`` (numbers -1, -2 ...)."""
        frames = len(indices)
        image = footage.image(0)
        covers = [sprite.paint(image, 0) for sprite in sprites]
        chosen = self._choose(rng, footage, covers)
        images = np.empty((frames, *image.shape), np.uint8)
        masks = np.empty((frames, len(chosen), *image.shape[:2]), bool)
        for t in range(frames):
            if t:
                image = footage.image(t)
                covers = [sprite.paint(image, t) for sprite in sprites]
            images[t] = image
            for place, number in enumerate(chosen):
                masks[t, place] = _shown(footage, covers, t, number)
        return _Shot(images, masks, chosen, indices)

    def _choose(self, rng: np.random.Generator, footage: Footage, covers: list[NDArray[np.bool_]]) -> tuple[int, ...]:
        """Up to ``max_objects`` that the first frame shows. However many others there are, a cut-out is likely."""
        limit = self.config.max_objects
        numbers = [*footage.objects, *(-1 - place for place in range(len(covers)))]
        weight = min(1.0, limit / max(1, len(footage.objects)))
        times = rng.exponential(size=len(numbers))
        times[: len(footage.objects)] /= weight
        chosen: list[int] = []
        for place in np.argsort(times):
            if len(chosen) == limit:
                break
            if self._is_seen(_shown(footage, covers, 0, numbers[place])):
                chosen.append(numbers[place])
        return tuple(chosen)

    def _sprites(self, rng: np.random.Generator, count: int, own: Frame, *, frames: int, side: int) -> list[Sprite]:
        """Up to ``count`` cut-outs, the last one nearest to the viewer."""
        sprites: list[Sprite] = []
        cutout: Cutout | None = None
        for _ in range(count):
            if cutout is None or rng.random() >= TWIN_SHARE:
                cutout = self._cutout(rng, own)
            if cutout is None:
                continue
            flight = Flight.draw(rng, frames)
            if frames == 1:
                flight = replace(flight, wobble=Wobble.draw(rng, STILL_WOBBLE))
            if sprites and frames > 1 and rng.random() < CROSSING_SHARE:
                flight = flight.meeting(rng, sprites[0].flight)
            sprites.append(make_sprite(rng, cutout, flight, side=side))
        if rng.random() < 0.5:
            sprites.reverse()
        return sprites

    def _cutout(self, rng: np.random.Generator, own: Frame) -> Cutout | None:
        """A whole object of the picture itself or of a donor; None where a few tries find none."""
        for _ in range(TRIES):
            frame = own
            if rng.random() >= KIN_SHARE:
                donor = self._donor(rng)
                with _reading(donor):
                    frame = read_frame(donor, int(rng.choice(donor.labelled)))
            for number in rng.permutation(frame.objects)[:TRIES]:
                cutout = cut_out(frame.image, frame.mask(int(number)))
                if cutout is not None:
                    return cutout
        return None

    def _donor(self, rng: np.random.Generator) -> ClipRecord:
        return self._donors[int(rng.integers(len(self._donors)))]


def pick_frames(
    rng: np.random.Generator, labelled: Sequence[int], frames: int, *, config: DataConfig
) -> tuple[int, ...]:
    """``frames`` of the ``labelled`` ones, at equal steps, forwards or backwards.

    Where there are too few, they go back and forth: 0 1 2 1 0 1 ...

    Raises:
        ValueError: there is none.
    """
    count = len(labelled)
    if not count:
        raise ValueError("no frame has masks")
    backwards = rng.random() < config.reverse
    stride = int(rng.integers(1, config.max_stride + 1))
    if frames > 1:
        stride = max(1, min(stride, (count - 1) // (frames - 1)))
    span = (frames - 1) * stride
    if span < count:
        start = int(rng.integers(0, count - span))
        places = start + stride * np.arange(frames)
    else:
        # A walk of 2 (count - 1) steps there and back; it begins anywhere.
        period = max(1, 2 * (count - 1))
        walk = (int(rng.integers(period)) + np.arange(frames)) % period
        places = np.minimum(walk, period - walk)
    if backwards:
        places = places[::-1]
    return tuple(labelled[int(place)] for place in places)


def _box_of(mask: NDArray[np.bool_] | None) -> Box | None:
    if mask is None:
        return None
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height


def _shown(footage: Footage, covers: list[NDArray[np.bool_]], t: int, number: int) -> NDArray[np.bool_]:
    """What is to be seen in frame ``t`` of object ``number``, or of cut-out -1 - ``number``, under ``covers``."""
    if number >= 0:
        mask, above = footage.mask(t, number), covers
    else:
        mask, above = covers[-1 - number], covers[-number:]
    for cover in above:
        mask = mask & ~cover
    return mask


def _tiled(quarters: list[NDArray[np.uint8]] | list[NDArray[np.bool_]]) -> NDArray:
    """Four times [T, h, w, ...] as [T, 2h, 2w, ...]."""
    upper, lower = (np.concatenate(quarters[row : row + 2], axis=2) for row in (0, 2))
    return np.concatenate([upper, lower], axis=1)


def _copied(rng: np.random.Generator, shot: _Shot) -> _Shot:
    """Four times the same clip, each mirrored or not, one of which is followed (the official random mosaic)."""
    frames, count, side = shot.masks.shape[:3]
    target = int(rng.integers(4))
    quarters, masks = [], np.zeros((frames, count, 2 * side, 2 * side), bool)
    for place in range(4):
        flip = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        quarters.append(shot.images[:, :, flip])
        if place == target:
            top, left = place // 2 * side, place % 2 * side
            masks[:, :, top : top + side, left : left + side] = shot.masks[..., flip]
    return _Shot(_tiled(quarters), masks, shot.numbers, shot.indices)


def _joined(rng: np.random.Generator, shots: list[_Shot], limit: int) -> _Shot:
    """Four clips in a square, and up to ``limit`` of their objects; those of the last three get negative numbers."""
    everything = [(place, row) for place, shot in enumerate(shots) for row in range(len(shot.numbers))]
    chosen = [everything[i] for i in rng.permutation(len(everything))[:limit]]
    frames, side = shots[0].images.shape[:2]
    order = rng.permutation(4)
    masks = np.zeros((frames, len(chosen), 2 * side, 2 * side), bool)
    for number, (place, row) in enumerate(chosen):
        cell = int(np.flatnonzero(order == place)[0])
        top, left = cell // 2 * side, cell % 2 * side
        masks[:, number, top : top + side, left : left + side] = shots[place].masks[:, row]
    numbers = tuple(
        shots[place].numbers[row] if place == 0 and shots[place].numbers[row] >= 0 else -1 - number
        for number, (place, row) in enumerate(chosen)
    )
    return _Shot(_tiled([shots[place].images for place in order]), masks, numbers, shots[0].indices)
