"""One training sample: a square image and K masks of what one might click on in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.augment import (
    Window,
    degrade,
    jitter_colours,
    object_window,
    random_window,
    smear,
    whole_window,
)
from sam2.train.nano.data.pack import PackedData
from sam2.train.nano.data.records import KINDS

KIND_WEIGHTS = {"thing": 1.0, "whole": 1.5, "group": 1.0, "part": 0.25, "stuff": 0.25, "salient": 1.2}
TURN_SHARE = 0.35
"""Cut-outs that are turned when pasted; a turned one fills less of its box."""
MOVING_SHARE = 0.2
"""Cut-outs that move while the shutter is open: their outlines are smeared."""
MAX_SMEAR = 0.12
"""Of their longer side: how far they move."""
MAX_HUNG = 0.12
"""Share of the picture that an object on ropes covers at most."""
SOURCE_WEIGHTS = {"coco128_pan": 1.6, "coco128_instances": 1.6, "ccp": 0.4, "photos": 0.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """How samples are drawn. Shares are probabilities.

    Attributes:
        image_size: S, the side of the square in pixels.
        masks: K, objects a sample.
        composite_share: samples with cut-outs pasted on a photo.
        tether_share: of those, the ones with an object of several parts that thin lines hold together: a rider and
            a kite, a dog and its leash. They fill little of their box.
        rope_share: photos on which an object that is there gets thin ropes, which belong to it: a box around it is then
            mostly background, in surroundings that are real.
        absent_share: masks that are empty, for prompts on nothing.
        min_area: least share of the square that an object must cover.
        crowding: of an object that is drawn half as often for what else there is in its box (see
            :func:`sam2.train.nano.data.pack.crowding_of`): there, truth is a matter of taste.
    """

    image_size: int = 256
    masks: int = 6
    composite_share: float = 0.25
    tether_share: float = 0.2
    rope_share: float = 0.05
    absent_share: float = 0.03
    min_area: float = 0.004
    crowding: float = 0.35
    whole_share: float = 0.35
    object_share: float = 0.45
    kind_weights: dict[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))
    source_weights: dict[str, float] = field(default_factory=lambda: dict(SOURCE_WEIGHTS))


@dataclass(frozen=True, slots=True)
class Sample:
    """A training sample.

    Attributes:
        image: [S, S, 3] uint8 RGB.
        masks: [K, S/2, S/2] bool; at half the side, which is twice that of the network's logits.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]


class Sampler:
    """Draws augmented samples of the training nine tenths of ``data`` (or of the held-out tenth)."""

    def __init__(self, data: PackedData, config: SampleConfig, *, held_out: bool = False) -> None:
        self.data, self.config = data, config
        chosen = data.images["held_out"] == held_out
        with_masks = np.flatnonzero(chosen & (data.images["masks"] > 0))
        weights = np.array([config.source_weights.get(str(s), 1.0) for s in data.images["source"][with_masks]])
        if not len(with_masks) or not weights.sum() > 0:
            raise ValueError("no photo with masks in this split of the packed data has a positive source weight")
        self._images, self._image_weights = with_masks, np.cumsum(weights / weights.sum())
        self._backgrounds = np.flatnonzero(chosen)
        self._cutouts = np.flatnonzero(data.masks["cutout"] & chosen[data.masks["image"]])
        kinds = np.array([config.kind_weights[kind] for kind in KINDS])
        self._wanted = kinds[data.masks["kind"]] / (1 + (data.masks["crowding"] / config.crowding) ** 2)
        # Half of the cut-outs are persons of one data set: level what is drawn.
        levels = np.where(data.masks["kind"][self._cutouts] == KINDS.index("whole"), 0.4, 1.0)
        self._cutout_weights = np.cumsum(levels / max(levels.sum(), 1e-9))

    def draw(self, rng: np.random.Generator) -> Sample:
        """One sample. The same state of ``rng`` gives the same sample."""
        if len(self._cutouts) and rng.random() < self.config.composite_share:
            image, masks, weights = self._draw_composite(rng)
        else:
            image, masks, weights = self.draw_photo(rng, self.pick_image(rng))
            if masks and rng.random() < self.config.rope_share:
                image, masks, weights = hang_on_ropes(rng, image, masks, weights)
        for _ in range(8):
            if masks:
                break
            image, masks, weights = self.draw_photo(rng, self.pick_image(rng))
        image = degrade(rng, jitter_colours(rng, image))
        return Sample(image, self._choose(rng, masks, np.array(weights)))

    @property
    def has_cutouts(self) -> bool:
        """Whether there is anything to paste."""
        return len(self._cutouts) > 0

    def pick_image(self, rng: np.random.Generator) -> int:
        """A photo with masks, by the weight of its source."""
        index = int(np.searchsorted(self._image_weights, rng.random(), side="right"))
        return int(self._images[min(index, len(self._images) - 1)])

    def pick_background(self, rng: np.random.Generator) -> int:
        """Any photo of the split."""
        return int(rng.choice(self._backgrounds))

    def pick_cutout(self, rng: np.random.Generator, *, like: int | None = None) -> int:
        """An object (a row of the masks) to paste; with ``like``, one of that object's kind."""
        for _ in range(20):
            place = int(np.searchsorted(self._cutout_weights, rng.random(), side="right"))
            index = int(self._cutouts[min(place, len(self._cutouts) - 1)])
            if like is None or (index != like and self.data.masks[index]["kind"] == self.data.masks[like]["kind"]):
                return index
        return index

    def draw_photo(
        self, rng: np.random.Generator, index: int
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]], list[float]]:
        """A crop of photo ``index`` and the objects in it, with how much each is wanted."""
        image = self.data.image(index)
        mine = slice(self.data.masks_of(index).start, self.data.masks_of(index).stop)
        rows, liked = self.data.masks[mine], self._wanted[mine]
        window = self._pick_window(rng, image.shape[:2], rows, liked)
        crop = window.crop(image, self.config.image_size)
        if not len(rows):
            return crop, [], []
        inside = _share_inside(rows, window)
        share = rows["area"] * inside / (window.width * window.height)
        wanted = liked * np.sqrt(np.minimum(share, 0.5)) * inside**2
        wanted[(share < self.config.min_area) | (inside < 0.3)] = 0
        masks, weights = [], []
        for row in _draw_without_return(rng, wanted, 2 * self.config.masks):
            x, y = int(rows["x"][row]), int(rows["y"][row])
            mask = window.crop_mask(self.data.mask(mine.start + row), x, y, self.config.image_size // 2)
            if mask is not None and mask.mean() >= self.config.min_area:
                masks.append(mask)
                weights.append(float(wanted[row]))
        return crop, masks, weights

    def _pick_window(
        self, rng: np.random.Generator, shape: tuple[int, int], rows: NDArray[np.void], liked: NDArray[np.float64]
    ) -> Window:
        choice, (height, width) = rng.random(), shape
        if choice < self.config.whole_share or not len(rows):
            return whole_window(rng, height, width)
        if choice < self.config.whole_share + self.config.object_share:
            wanted = liked * np.sqrt(rows["area"])
            row = rows[int(rng.choice(len(rows), p=wanted / wanted.sum()))]
            box = (int(row["x"]), int(row["y"]), int(row["width"]), int(row["height"]))
            return object_window(rng, height, width, box=box)
        return random_window(rng, height, width)

    def _draw_composite(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]], list[float]]:
        """Cut-outs pasted on a photo: masks known to the pixel, and no hint from what usually surrounds them."""
        image, masks, weights = self.draw_photo(rng, self.pick_background(rng))
        weights = [0.5 * weight for weight in weights]
        if rng.random() < self.config.tether_share:
            parts = [self.cutout(self.pick_cutout(rng)) for _ in range(int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15])))]
            image, tied = paste_tied(rng, image, parts)
            masks, weights = [mask & ~tied for mask in masks], [weight / 3 for weight in weights]
            return image, [*masks, tied], [*weights, max(weights, default=1.0)]
        for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))):
            image, pasted = paste(rng, image, *self.cutout(self.pick_cutout(rng)))
            covered = [mask & ~pasted for mask in masks]
            kept = [i for i, mask in enumerate(covered) if mask.sum() > 0.5 * masks[i].sum()]
            masks, weights = [covered[i] for i in kept], [weights[i] for i in kept]
            if pasted.mean() >= self.config.min_area:
                masks.append(pasted)
                weights.append(float(np.sqrt(pasted.mean())))
        return image, masks, weights

    def cutout(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The pixels [h, w, 3] and the mask [h, w], 0 or 1, of the object in row ``index`` of the masks."""
        row = self.data.masks[index]
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        return self.data.image(int(row["image"]))[y : y + height, x : x + width], self.data.mask(index)

    def _choose(
        self, rng: np.random.Generator, masks: list[NDArray[np.bool_]], weights: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """K of ``masks`` by weight, with repetition (their prompts will differ); some are emptied."""
        side, count = self.config.image_size // 2, self.config.masks
        if not masks:
            return np.zeros((count, side, side), bool)
        stack = np.stack([masks[i] for i in rng.choice(len(masks), count, p=weights / weights.sum())])
        stack[rng.random(count) < self.config.absent_share] = False
        return stack


def paste(
    rng: np.random.Generator, image: NDArray[np.uint8], patch: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """``patch`` ([h, w, 3], of which ``mask`` [h, w] 0 or 1) at a random place and size on ``image`` [S, S, 3].

    Returns the image and what of it is now the object, [S/2, S/2].
    """
    size = image.shape[0]
    patch, alpha = _fitted(rng, patch, mask, longest=size * rng.uniform(0.25, 1.05))
    rows, columns = alpha.shape
    slack_x, slack_y = columns // 5, rows // 5
    left = int(rng.integers(-slack_x, max(size - columns + slack_x, -slack_x) + 1))
    top = int(rng.integers(-slack_y, max(size - rows + slack_y, -slack_y) + 1))
    return _blend(rng, image, patch, alpha, left, top)


def paste_tied(
    rng: np.random.Generator, image: NDArray[np.uint8], parts: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Cut-outs (pixels and mask each) here and there on ``image`` [S, S, 3], tied together to one object.

    A single one hangs on ropes that leave the picture. Returns the image and what of it is now the object, [S/2, S/2].
    """
    size = image.shape[0]
    whole = np.zeros((size // 2, size // 2), bool)
    places: list[tuple[int, int]] = []
    for pixels, mask in parts:
        patch, alpha = _fitted(rng, pixels, mask, longest=size * rng.uniform(0.12, 0.4))
        rows, columns = alpha.shape
        left, top = (int(rng.integers(0, max(size - side, 0) + 1)) for side in (columns, rows))
        places.append((left + columns // 2, top + rows // 2))
        image, pasted = _blend(rng, image, patch, alpha, left, top)
        whole |= pasted
    rope = np.zeros((size, size), np.uint8)
    thickness = int(rng.integers(1, max(2, size // 100) + 1))
    for end in places[1:] or _fan(rng, places[0], size):
        cv2.line(rope, places[0], end, 255, thickness, cv2.LINE_AA)
    rope[cv2.resize(whole.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0] = 0
    weight = (rope.astype(np.float32) / 255)[..., None]
    colour = rng.integers(0, 256, 3).astype(np.float32)
    image = (image * (1 - weight) + colour * weight).astype(np.uint8)
    # A line is half as wide as a cell of the mask: what it covers a third of is part of the object.
    return image, whole | (cv2.resize(rope, (size // 2, size // 2), interpolation=cv2.INTER_AREA) > 80)


def hang_on_ropes(
    rng: np.random.Generator, image: NDArray[np.uint8], masks: list[NDArray[np.bool_]], weights: list[float]
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]], list[float]]:
    """Thin ropes from one of the smaller ``masks`` ([S/2, S/2] each) across ``image`` [S, S, 3], as a part of it.

    What the ropes cover belongs to no other object any more. The object counts as much as all others together.
    Everything comes back as it was if no object is small enough for its box to stay mostly empty.
    """
    small = [index for index, mask in enumerate(masks) if 0 < mask.mean() < MAX_HUNG]
    if not small:
        return image, masks, weights
    chosen, size = small[int(rng.integers(len(small)))], image.shape[0]
    start = _middle(rng, masks[chosen])
    rope = np.zeros((size, size), np.uint8)
    thickness = int(rng.integers(1, max(2, size // 120) + 1))
    reach = rng.uniform(0.25, 1.5)
    for end in _fan(rng, start, size, reach=reach):
        cv2.line(rope, start, end, 255, thickness, cv2.LINE_AA)
    own = cv2.resize(masks[chosen].astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
    rope[own] = 0
    weight = (rope.astype(np.float32) / 255)[..., None] * rng.uniform(0.5, 1)
    image = (image * (1 - weight) + rng.integers(0, 256, 3) * weight).astype(np.uint8)
    covered = cv2.resize(rope, (size // 2, size // 2), interpolation=cv2.INTER_AREA) > 80
    masks = [mask | covered if index == chosen else mask & ~covered for index, mask in enumerate(masks)]
    others = sum(weights) - weights[chosen]
    weights = [*weights[:chosen], max(others, weights[chosen]), *weights[chosen + 1 :]]
    return image, masks, weights


def _middle(rng: np.random.Generator, mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Any pixel (x, y) of the picture that a cell of ``mask`` stands for."""
    y, x = divmod(int(rng.choice(np.flatnonzero(mask))), mask.shape[1])
    return 2 * x, 2 * y


def _fan(rng: np.random.Generator, start: tuple[int, int], size: int, *, reach: float = 1.5) -> list[tuple[int, int]]:
    """Ends of two to four lines from ``start`` in about the same direction, ``reach`` times ``size`` long."""
    angles = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.15, int(rng.integers(2, 5)))
    length = reach * size
    return [(round(start[0] + length * np.cos(angle)), round(start[1] + length * np.sin(angle))) for angle in angles]


def _fitted(
    rng: np.random.Generator, patch: NDArray[np.uint8], mask: NDArray[np.uint8], *, longest: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A cut-out, ``longest`` pixels long, stretched, turned, smeared, in other colours; and its opacity, 0..255."""
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    scale = longest / max(patch.shape[0] * stretch, patch.shape[1])
    rows = max(4, round(patch.shape[0] * scale * stretch))
    columns = max(4, round(patch.shape[1] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    patch = np.asarray(cv2.resize(patch, (columns, rows), interpolation=interpolation), np.uint8)
    alpha = np.asarray(cv2.resize(mask * 255, (columns, rows), interpolation=interpolation), np.uint8)
    if rng.random() < 0.5:
        patch, alpha = patch[:, ::-1], alpha[:, ::-1]
    if rng.random() < TURN_SHARE:
        patch, alpha = _turned(patch, alpha, float(rng.normal(0, 35)))
    if rng.random() < MOVING_SHARE:
        length, angle = float(rng.uniform(2, max(3.0, MAX_SMEAR * longest))), float(rng.uniform(0, np.pi))
        edges = 4 * (int(np.ceil(length / 2)),)
        patch = np.asarray(cv2.copyMakeBorder(patch, *edges, borderType=cv2.BORDER_REPLICATE), np.uint8)
        alpha = np.asarray(cv2.copyMakeBorder(alpha, *edges, borderType=cv2.BORDER_CONSTANT, value=0), np.uint8)
        patch, alpha = smear(patch, length=length, angle=angle), smear(alpha, length=length, angle=angle)
    return jitter_colours(rng, np.ascontiguousarray(patch), strength=0.7), np.ascontiguousarray(alpha)


def _turned(
    patch: NDArray[np.uint8], alpha: NDArray[np.uint8], degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A cut-out turned about its middle, in a canvas that holds all of it."""
    rows, columns = alpha.shape
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    width, height = round(rows * sine + columns * cosine), round(rows * cosine + columns * sine)
    matrix[:, 2] += (width - columns) / 2, (height - rows) / 2
    turned = cv2.warpAffine(patch, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    opacity = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.uint8), np.asarray(opacity, np.uint8)


def _blend(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    patch: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    left: int,
    top: int,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """``patch`` with opacity ``alpha`` on a copy of ``image``, from (left, top); and what it covers, [S/2, S/2]."""
    size, (rows, columns) = image.shape[0], alpha.shape
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + rows, size), min(left + columns, size)
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]

    canvas = np.zeros((size, size), np.uint8)
    canvas[y0:y1, x0:x1] = alpha[inside]
    pasted = cv2.resize(canvas, (size // 2, size // 2), interpolation=cv2.INTER_AREA) > 127
    feathered = cv2.GaussianBlur(canvas[y0:y1, x0:x1], (0, 0), float(rng.uniform(0.4, 1.2)))
    weight = (feathered.astype(np.float32) / 255)[..., None]
    image = image.copy()
    blended = image[y0:y1, x0:x1] * (1 - weight) + patch[inside] * weight
    image[y0:y1, x0:x1] = blended.astype(np.uint8)
    return image, pasted


def _share_inside(rows: NDArray[np.void], window: Window) -> NDArray[np.float64]:
    """How much of each object's box lies in ``window``."""
    columns = np.minimum(rows["x"] + rows["width"], window.x + window.width) - np.maximum(rows["x"], window.x)
    lines = np.minimum(rows["y"] + rows["height"], window.y + window.height) - np.maximum(rows["y"], window.y)
    return np.maximum(columns, 0) * np.maximum(lines, 0) / (rows["width"] * rows["height"])


def _draw_without_return(rng: np.random.Generator, weights: NDArray[np.float64], count: int) -> list[int]:
    """Up to ``count`` indices with positive weight, heavier ones earlier on average (exponential races)."""
    times = rng.exponential(size=len(weights)) / np.maximum(weights, 1e-12)
    order = np.argsort(times)
    return [int(i) for i in order[:count] if weights[i] > 0]
