"""Short clips made of stills: a photo under a moving camera, cut-outs that fly over it, and exact masks."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.augment import degrade, jitter_colours
from sam2.train.data.motion import Camera, Flight, wander, warped
from sam2.train.nano.data.pack import PackedData
from sam2.train.nano.data.samples import SampleConfig, Sampler

PHOTO_VIEW = 0.8
"""Share of a photo's crop that the camera shows at first: it has room to move."""
PATCH_MARGIN = 0.15
"""Empty room around a cut-out, into which it may wobble, as a share of its longest side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """How clips are drawn. Shares are probabilities.

    Attributes:
        image_size: S, the side of the frames in pixels.
        frames: T, their number.
        lengths: (number of frames, probability) to be drawn from instead, batch by batch.
        masks: K, objects that are followed.
        pasted: probability of 0, 1, 2 ... cut-outs.
        twin_share, kin_share: cut-outs after the first that show the same object again in other colours, or one
            of the same photo or kind.
        crossing_share: cut-outs after the first that pass over it.
        min_area: least share of the first frame that a followed object must cover.
    """

    image_size: int = 256
    frames: int = 6
    lengths: tuple[tuple[int, float], ...] = ()
    masks: int = 3
    pasted: tuple[float, ...] = (0.1, 0.3, 0.35, 0.25)
    twin_share: float = 0.2
    kin_share: float = 0.4
    crossing_share: float = 0.4
    min_area: float = 0.006
    stills: SampleConfig = field(default_factory=SampleConfig)

    def length_of(self, number: int, seed: int) -> int:
        """The frames of the clips in batch ``number``."""
        if not self.lengths:
            return self.frames
        shares = np.array([share for _, share in self.lengths])
        choice = np.random.default_rng([seed, number]).choice(len(shares), p=shares / shares.sum())
        return self.lengths[int(choice)][0]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip.

    Attributes:
        images: [T, S, S, 3] uint8 RGB.
        masks: [T, K, S/2, S/2] bool, empty where an object is hidden or out of the frame.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Sprite:
    """A cut-out: [h, w, 4] RGB and opacity, with a margin of no opacity, and its path."""

    patch: NDArray[np.uint8]
    flight: Flight

    def draw_on(self, frame: NDArray[np.uint8], t: int) -> NDArray[np.bool_]:
        """Paint it on ``frame`` [S, S, 3] in place; what it covers, [S/2, S/2]."""
        side = frame.shape[0]
        flight, (rows, columns) = self.flight, self.patch.shape[:2]
        if flight.hidden[t]:
            return np.zeros((side // 2, side // 2), bool)
        longest = max(rows, columns)
        bent = flight.wobble.at(t, columns, rows) * np.float32(longest)
        bent[..., 0] += np.arange(columns, dtype=np.float32)[None]
        bent[..., 1] += np.arange(rows, dtype=np.float32)[:, None]
        patch = warped(self.patch, bent)
        scale = side * flight.size[t] / (longest / (1 + 2 * PATCH_MARGIN))
        turn = np.array(
            [[np.cos(flight.angle[t]), -np.sin(flight.angle[t])], [np.sin(flight.angle[t]), np.cos(flight.angle[t])]]
        )
        matrix = scale * turn * np.exp(flight.squeeze[t] * np.array([0.5, -0.5]))
        shift = side * flight.centre[t] - 0.5 - matrix @ ((np.array([columns, rows]) - 1) / 2)
        affine = np.column_stack([matrix, shift])
        layer = np.asarray(cv2.warpAffine(patch, affine, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
        opacity = np.ascontiguousarray(layer[..., 3])
        x, y, width, height = cv2.boundingRect(opacity)
        inside = np.s_[y : y + height, x : x + width]
        weight = opacity[inside].astype(np.float32)[..., None] / 255
        blended = frame[inside] * (1 - weight) + layer[inside][..., :3] * weight
        frame[inside] = blended.astype(np.uint8)
        return cv2.resize(opacity, (side // 2, side // 2), interpolation=cv2.INTER_AREA) > 127


class ClipSampler:
    """Draws clips of the training nine tenths of ``data`` (or of the held-out tenth)."""

    def __init__(self, data: PackedData, config: ClipConfig, *, held_out: bool = False) -> None:
        self.data, self.config = data, config
        still = 2 * round(config.image_size / PHOTO_VIEW / 2)
        stills = SampleConfig(
            image_size=still,
            masks=config.masks,
            min_area=config.min_area,
            kind_weights=config.stills.kind_weights,
            source_weights=config.stills.source_weights,
        )
        self._sampler = Sampler(data, stills, held_out=held_out)

    def draw(self, rng: np.random.Generator) -> Clip:
        """One clip. The same state of ``rng`` gives the same clip."""
        for _ in range(8):
            clip = self._draw(rng)
            if clip is not None:
                return clip
        side, config = self.config.image_size, self.config
        images = np.zeros((config.frames, side, side, 3), np.uint8)
        return Clip(images, np.zeros((config.frames, config.masks, side // 2, side // 2), bool))

    def _draw(self, rng: np.random.Generator) -> Clip | None:
        """A clip, or None where nothing that could be followed is in its first frame."""
        config = self.config
        sprites = self._sprites(rng)
        if sprites and rng.random() < 0.5:
            photo, masks, weights = self._sampler.draw_photo(rng, self._sampler.pick_background(rng))
        else:
            photo, masks, weights = self._sampler.draw_photo(rng, self._sampler.pick_image(rng))
        masks, weights = masks[: 2 * config.masks], weights[: 2 * config.masks]
        camera = Camera.draw(rng, config.frames, PHOTO_VIEW * float(rng.uniform(0.8, 1.1)))
        images, areas = [], []
        for t in range(config.frames):
            frame = warped(photo, camera.map_at(t, config.image_size, photo.shape[0]), mirrored=True)
            shown = self._moved(masks, camera, t)
            for sprite in sprites:
                covered = sprite.draw_on(frame, t)
                shown = [mask & ~covered for mask in shown] + [covered]
            images.append(frame)
            areas.append(shown)
        wanted = np.array([*(0.7 * weight for weight in weights), *([1.0] * len(sprites))])
        chosen = self._choose(rng, np.array([mask.mean() for mask in areas[0]]), wanted)
        if chosen is None:
            return None
        followed = np.stack([np.stack([shown[i] for i in chosen]) for shown in areas])
        return Clip(_filmed(rng, images), followed)

    def _moved(self, masks: list[NDArray[np.bool_]], camera: Camera, t: int) -> list[NDArray[np.bool_]]:
        if not masks:
            return []
        where = camera.map_at(t, self.config.image_size // 2, masks[0].shape[0])
        return [warped(mask.astype(np.uint8) * 255, where, mirrored=True) > 127 for mask in masks]

    def _choose(
        self, rng: np.random.Generator, areas: NDArray[np.float64], wanted: NDArray[np.float64]
    ) -> list[int] | None:
        """K objects by weight among those that the first frame shows; repeated where there are fewer."""
        wanted = np.where(areas >= self.config.min_area, wanted * np.sqrt(np.minimum(areas, 0.3)), 0)
        visible = int((wanted > 0).sum())
        if not visible:
            return None
        count = self.config.masks
        shares = wanted / wanted.sum()
        first = [int(i) for i in rng.choice(len(wanted), min(count, visible), replace=False, p=shares)]
        return first + [int(i) for i in rng.choice(len(wanted), count - len(first), p=shares)]

    def _sprites(self, rng: np.random.Generator) -> list[_Sprite]:
        """Cut-outs, the last one nearest to the viewer."""
        config, sampler = self.config, self._sampler
        if not sampler.has_cutouts:
            return []
        sprites: list[_Sprite] = []
        first = sampler.pick_cutout(rng)
        for number in range(int(rng.choice(len(config.pasted), p=config.pasted))):
            index, choice = first, rng.random()
            if number and choice >= config.twin_share:
                index = sampler.pick_cutout(rng, like=first if choice < config.twin_share + config.kin_share else None)
            flight = Flight.draw(rng, config.frames)
            if number and rng.random() < config.crossing_share:
                flight = flight.meeting(rng, sprites[0].flight)
            sprites.append(_Sprite(self._patch(rng, index, float(flight.size.mean())), flight))
        if rng.random() < 0.5:
            sprites.reverse()
        return sprites

    def _patch(self, rng: np.random.Generator, index: int, size: float) -> NDArray[np.uint8]:
        """A cut-out at about the size that it will have, with feathered opacity and a margin."""
        colours, mask = self._sampler.cutout(index)
        longest = int(np.clip(size * self.config.image_size, 16, 1.5 * max(mask.shape)))
        scale = longest / max(mask.shape)
        target = (max(4, round(mask.shape[1] * scale)), max(4, round(mask.shape[0] * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        colours = np.asarray(cv2.resize(colours, target, interpolation=interpolation), np.uint8)
        opacity = np.asarray(cv2.resize(mask * 255, target, interpolation=interpolation), np.uint8)
        colours = jitter_colours(rng, colours, strength=0.7)
        margin = max(2, round(PATCH_MARGIN * longest))
        edges = (margin, margin, margin, margin)
        colours = cv2.copyMakeBorder(colours, *edges, borderType=cv2.BORDER_REPLICATE)
        opacity = cv2.copyMakeBorder(opacity, *edges, borderType=cv2.BORDER_CONSTANT, value=0)
        opacity = cv2.GaussianBlur(opacity, (0, 0), float(rng.uniform(0.4, 1.0)))
        patch = np.asarray(np.dstack([colours, opacity]), np.uint8)
        return np.ascontiguousarray(patch[:, ::-1]) if rng.random() < 0.5 else patch


def _filmed(rng: np.random.Generator, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One camera's colours for all frames, with light that drifts, and now and then blur, noise or JPEG blocks."""
    seed = int(rng.integers(2**31))
    gain = np.exp(wander(rng, len(images), 1, 0.02)[:, 0])
    filmed = []
    for t, image in enumerate(images):
        image = jitter_colours(np.random.default_rng(seed), image, strength=0.7)
        filmed.append(degrade(rng, np.asarray(cv2.convertScaleAbs(image, alpha=float(gain[t])), np.uint8)))
    return np.stack(filmed)
