"""Simulated users: a first prompt for each object, then clicks where the prediction is wrong.

Follows the recipe of SAM 2: half of the objects start from a noisy box, most others from a click, a few from a mask;
corrections fall into the error region and come with the previous logits. All objects of a decoder call share the kind
of prompt, so that their number of points is the same (padding is not neutral).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam2.modeling.types import LOW_RES_LIMIT, PromptBatch

PromptKind = Literal["box", "click", "mask"]
POSITIVE, NEGATIVE = 1, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """Shares of first prompts; how noisy they are; how many corrections follow.

    Attributes:
        kinds: probability of each kind of first prompt.
        box_noise: standard deviation of a box corner, as a share of the box's side.
        max_box_noise: its limit in pixels of a 1024-pixel image.
        loose_share: boxes that are drawn carelessly instead, with much that is not the object on one side or several.
        centre_share: clicks in the middle of a region rather than anywhere in it.
        corrections: probability of 0, 1, 2 ... correction rounds.
        again_share: corrections without a click: the same prompt, with the prediction that it gave.
    """

    kinds: dict[PromptKind, float] = field(default_factory=lambda: {"box": 0.5, "click": 0.4, "mask": 0.1})
    box_noise: float = 0.1
    max_box_noise: float = 20.0
    loose_share: float = 0.0
    centre_share: float = 0.5
    corrections: tuple[float, ...] = (0.25, 0.25, 0.2, 0.15, 0.15)
    again_share: float = 0.0


def choose_kind(rng: np.random.Generator, shares: Mapping[PromptKind, float]) -> PromptKind:
    """The kind of first prompt of a step."""
    kinds = list(shares)
    weights = np.array([shares[kind] for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]


def furthest_from_border(region: NDArray[np.bool_]) -> tuple[int, int, float]:
    """The pixel (x, y) of ``region`` furthest from its border, which the image's border belongs to, and how far."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    place = int(distance.argmax())
    y, x = divmod(place, region.shape[1])
    return x, y, float(distance[y, x])


def first_prompts(
    rng: np.random.Generator, truth: NDArray[np.bool_], kind: PromptKind, *, image_size: int, config: SimulationConfig
) -> PromptBatch:
    """First prompts of n objects, from their true masks ``truth`` [n, h, w].

    Points are in pixels of the square input of side ``image_size``. An empty mask is prompted anywhere.
    """
    if kind == "mask":
        logits = np.stack([_poor_mask(rng, mask, image_size // 4) for mask in truth])
        return PromptBatch(masks=torch.from_numpy(logits)[:, None])
    scale = image_size / truth.shape[-1]
    if kind == "box":
        boxes = np.stack([_noisy_box(rng, mask, scale, image_size, config) for mask in truth])
        labels = torch.tensor([[2, 3]], dtype=torch.int32).expand(len(truth), 2)
        return PromptBatch(torch.from_numpy(boxes.reshape(-1, 2, 2)), labels)
    clicks = [_click(rng, mask, scale, config.centre_share) for mask in truth]
    labels = torch.ones(len(truth), 1, dtype=torch.int32)
    return PromptBatch(torch.tensor(clicks, dtype=torch.float32)[:, None], labels)


def corrected(
    rng: np.random.Generator,
    prompts: PromptBatch,
    truth: NDArray[np.bool_],
    logits: Tensor,
    *,
    image_size: int,
    config: SimulationConfig,
) -> PromptBatch:
    """``prompts`` with one click more per object, where the prediction is wrong, and the prediction itself.

    Now and then (``config.again_share``) without the click: a mask is found better with its first sketch in hand.

    Args:
        truth: [n, h, w].
        logits: [n, 1, 4h', 4w'], the prediction, which becomes the mask prompt.
    """
    side = truth.shape[-1]
    logits = logits.detach().float()
    if prompts.points is not None and rng.random() < config.again_share:
        return replace(prompts, masks=logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT))
    predicted = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)[:, 0] > 0
    shown = predicted.cpu().numpy()
    clicks, labels = [], []
    for mask, guess in zip(truth, shown, strict=True):
        x, y, label = _correction(rng, mask, guess, config.centre_share)
        clicks.append(_to_pixels(x, y, image_size / side))
        labels.append(label)
    device = logits.device
    points = torch.tensor(clicks, dtype=torch.float32, device=device)[:, None]
    kinds = torch.tensor(labels, dtype=torch.int32, device=device)[:, None]
    if prompts.points is not None and prompts.labels is not None:
        points = torch.cat([prompts.points.to(device), points], dim=1)
        kinds = torch.cat([prompts.labels.to(device), kinds], dim=1)
    return PromptBatch(points, kinds, logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT))


def to_device(prompts: PromptBatch, device: torch.device) -> PromptBatch:
    """``prompts`` on ``device``."""
    moved = {name: getattr(prompts, name) for name in ("points", "labels", "masks")}
    return replace(prompts, **{name: None if value is None else value.to(device) for name, value in moved.items()})


def _to_pixels(x: float, y: float, scale: float) -> tuple[float, float]:
    """The centre of cell (x, y), in pixels of the input whose first pixel has its centre at 0."""
    return (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5


def _uniform(rng: np.random.Generator, region: NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(region)
    y, x = divmod(int(places[rng.integers(len(places))]), region.shape[1])
    return x, y


def _click(rng: np.random.Generator, mask: NDArray[np.bool_], scale: float, centre_share: float) -> tuple[float, float]:
    if not mask.any():
        x, y = (int(i) for i in rng.integers(0, mask.shape[0], 2))
    elif rng.random() < centre_share:
        x, y, _ = furthest_from_border(mask)
    else:
        x, y = _uniform(rng, mask)
    return _to_pixels(x, y, scale)


def _correction(
    rng: np.random.Generator, truth: NDArray[np.bool_], guess: NDArray[np.bool_], centre_share: float
) -> tuple[int, int, int]:
    missed, extra = truth & ~guess, guess & ~truth
    if not missed.any() and not extra.any():
        # Nothing is wrong: one more click on the object (or off it, when there is none) must do no harm.
        region = truth if truth.any() else ~truth
        return *_uniform(rng, region), POSITIVE if truth.any() else NEGATIVE
    if rng.random() < centre_share:
        x_missed, y_missed, depth_missed = furthest_from_border(missed)
        x_extra, y_extra, depth_extra = furthest_from_border(extra)
        if depth_missed >= depth_extra:
            return x_missed, y_missed, POSITIVE
        return x_extra, y_extra, NEGATIVE
    x, y = _uniform(rng, missed | extra)
    return x, y, POSITIVE if missed[y, x] else NEGATIVE


def _noisy_box(
    rng: np.random.Generator, mask: NDArray[np.bool_], scale: float, image_size: int, config: SimulationConfig
) -> NDArray[np.float32]:
    """The tight box of ``mask`` in pixels (x0, y0, x1, y1), each side moved a little."""
    if not mask.any():
        x, y = np.sort(rng.uniform(0, image_size, (2, 2)), axis=1)
        return np.array([x[0], y[0], x[1], y[1]], np.float32)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * scale - np.array([0, 0, 1, 1])
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    if rng.random() < config.loose_share:
        out = np.array([-1, -1, 1, 1]) * rng.exponential(0.6, 4) * (rng.random(4) < 0.5)
        return np.clip(box + out * np.maximum(sides, 0.1 * image_size), 0, image_size - 1).astype(np.float32)
    limit = config.max_box_noise * image_size / 1024
    # Some users draw tightly: the noise of a box is itself drawn.
    noise = np.clip(rng.normal(0, config.box_noise * rng.random(), 4) * sides, -limit, limit)
    return np.clip(box + noise, 0, image_size - 1).astype(np.float32)


def _poor_mask(rng: np.random.Generator, mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """Logits [side, side] of a mask like ``mask`` that was grown, shrunk, moved or coarsened."""
    shown = cv2.resize(mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        reach = int(rng.integers(1, max(2, side // 16)))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        shown = cv2.dilate(shown, kernel) if rng.random() < 0.5 else cv2.erode(shown, kernel)
    if rng.random() < 0.5:
        few = int(rng.integers(8, 25))
        coarse = cv2.resize(shown, (few, few), interpolation=cv2.INTER_AREA)
        shown = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        shift = np.array([[1, 0, rng.normal(0, side / 40)], [0, 1, rng.normal(0, side / 40)]], np.float32)
        shown = cv2.warpAffine(shown, shift, (side, side))
    sharpness = rng.uniform(4, 20)
    return ((shown.astype(np.float32) / 255 - 0.5) * sharpness).astype(np.float32)
