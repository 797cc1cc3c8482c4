"""Where simulated prompts fall: clicks, boxes and sketches, from true masks, on the device that these are on.

Everything random comes from each object's own seed, by a hash in place of a generator: an object is prompted alike
whatever stands beside it in the batch, on every device. A click falls on the pixel of its region that the hash likes
best, so that a pixel which rounding puts in or out of the region moves it only if it is that one.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sam2.modeling.types import PromptBatch
from sam2.train.prompts import PromptConfig

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FACTORS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
_GOLDEN_32, _FACTORS_32 = 0x9E3779B1 - (1 << 32), (0x85EBCA6B - (1 << 32), 0xC2B2AE35 - (1 << 32))

SKETCH_CELLS = (8, 24)
SKETCH_LOGITS = (4.0, 20.0)
"""A sketch is drawn on a grid of so many cells, and its logits span so much."""


def keys_of(seeds: Int[Tensor, " n"], frame: int, number: int) -> Int[Tensor, " n"]:
    """What the ``number``-th prompt (0: the first one) of each object on ``frame`` is drawn from, [n] int64."""
    place = torch.tensor([frame + 1, number + 1], device=seeds.device) * _GOLDEN
    return _mix(_mix(seeds + place[0]) + place[1])


def uniform(keys: Int[Tensor, " n"], count: int) -> Float[Tensor, "n count"]:
    """``count`` numbers in 0..1 for each key, float32."""
    steps = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    return (_shifted(_mix(keys[:, None] + steps), 40)).float() / (1 << 24)


def first_box(keys: Int[Tensor, " n"], truth: Bool[Tensor, "n s s"], *, config: PromptConfig) -> PromptBatch:
    """The tight boxes of ``truth``, each side moved by as much as the noise allows; anywhere for an empty mask.

    Corners are the first and last pixels, (x, y), within the image. The official name is ``sample_box_points``.
    """
    side = truth.shape[-1]
    x0, x1 = _extent(truth.any(dim=1))
    y0, y1 = _extent(truth.any(dim=2))
    box = torch.stack((x0, y0, x1, y1), dim=1).float()
    random = uniform(keys, 4)
    limit = config.box_noise_limit * side / 1024
    reach = ((box[:, 2:] - box[:, :2]) * config.box_noise).clamp(max=limit).repeat(1, 2)
    box = (box + (2 * random - 1) * reach).clamp(0, side - 1)
    anywhere = (random.reshape(-1, 2, 2).sort(dim=1).values * (side - 1)).flatten(1)
    box = torch.where(truth.flatten(1).any(dim=1, keepdim=True), box, anywhere)
    labels = torch.tensor([[2, 3]], dtype=torch.int32, device=truth.device).expand(len(truth), 2)
    return PromptBatch(box.reshape(-1, 2, 2), labels)


def click(
    keys: Int[Tensor, " n"],
    truth: Bool[Tensor, "n s s"],
    shown: Bool[Tensor, "n s s"] | None,
    *,
    centre_share: float = 0.0,
) -> PromptBatch:
    """One click per object where ``shown`` is wrong (None: nothing is shown), positive on what it misses.

    Anywhere in the error, or in its middle with probability ``centre_share``. Where nothing is wrong, the click is
    negative and falls on the background, as officially (``get_next_point``); positive, if there is no background.
    """
    wrong = truth if shown is None else truth ^ shown
    right = ~wrong.flatten(1).any(dim=1)
    region = wrong | (right[:, None, None] & ~truth)
    place = torch.where(region, _noise(keys, truth.shape[-1]), -1).flatten(1).argmax(dim=1)
    if centre_share:
        place = _centred(keys, truth, shown, place, centre_share)
    labels = truth.flatten(1).gather(1, place[:, None]).to(torch.int32)
    side = truth.shape[-1]
    points = torch.stack((place % side, place.div(side, rounding_mode="floor")), dim=-1).float()
    return PromptBatch(points[:, None], labels)


def sketch(keys: Int[Tensor, " n"], truth: Bool[Tensor, "n s s"]) -> PromptBatch:
    """A poor mask per object as mask prompt: on a coarse grid, moved a little, [n, 1, s/4, s/4] logits."""
    random = uniform(keys, 4).tolist()
    side = truth.shape[-1]
    low, high = SKETCH_CELLS
    drawn: list[Tensor] = []
    for mask, (cells, dx, dy, span) in zip(truth, random, strict=True):
        shift = (round((dy - 0.5) * side / 16), round((dx - 0.5) * side / 16))
        moved = torch.roll(mask, shift, (0, 1)).float()[None, None]
        coarse = F.interpolate(moved, size=(int(low + cells * (high - low)),) * 2, mode="bilinear", antialias=True)
        fine = F.interpolate(coarse, size=(side // 4,) * 2, mode="bilinear")
        drawn.append((fine - 0.5) * (SKETCH_LOGITS[0] + span * (SKETCH_LOGITS[1] - SKETCH_LOGITS[0])))
    return PromptBatch(masks=torch.cat(drawn))


def joined(prompts: PromptBatch | None, more: PromptBatch, logits: Tensor) -> PromptBatch:
    """``prompts`` (their points, if any) and the points of ``more``, with ``logits`` [n, 1, *, *] as mask prompt."""
    assert more.points is not None
    assert more.labels is not None
    if prompts is None or prompts.points is None or prompts.labels is None:
        return PromptBatch(more.points, more.labels, logits)
    points = torch.cat((prompts.points, more.points), dim=1)
    return PromptBatch(points, torch.cat((prompts.labels, more.labels), dim=1), logits)


def _centred(keys: Tensor, truth: Tensor, shown: Tensor | None, place: Tensor, share: float) -> Int[Tensor, " n"]:
    """``place``, moved for some of the objects to the middle of what is wrong. Distances are measured on the CPU."""
    chosen = (uniform(keys, 1)[:, 0] < share).tolist()
    moved = place.clone()
    for row in (row for row, yes in enumerate(chosen) if yes):
        guess = torch.zeros_like(truth[row]) if shown is None else shown[row]
        depths = [_depth(truth[row] & ~guess), _depth(guess & ~truth[row])]  # missed, extra
        deepest = max(depths, key=np.max)  # the first, if both are as deep
        if deepest.any():
            moved[row] = int(deepest.argmax())
    return moved


def _depth(region: Bool[Tensor, "s s"]) -> NDArray[np.float32]:
    """How far each pixel is from the border of the region, which the image's border belongs to."""
    padded = np.pad(region.cpu().numpy().astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1], np.float32)


def _extent(line: Bool[Tensor, "n s"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """First and last place of each row that is true."""
    whole = line.to(torch.int32)
    return whole.argmax(dim=1), line.shape[1] - 1 - whole.flip(1).argmax(dim=1)


def _noise(keys: Int[Tensor, " n"], side: int) -> Int[Tensor, "n s s"]:
    """A number from 0 to 2**31 - 1 for each pixel and key. In 32 bits, which is half the work."""
    pixel = torch.arange(side * side, dtype=torch.int32, device=keys.device) * _GOLDEN_32
    x = pixel + _shifted(keys, 33).to(torch.int32)[:, None]
    x = (x ^ _shifted(x, 16, bits=32)) * _FACTORS_32[0]
    x = (x ^ _shifted(x, 13, bits=32)) * _FACTORS_32[1]
    return ((x ^ _shifted(x, 16, bits=32)) & 0x7FFFFFFF).reshape(-1, side, side)


def _mix(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): integers to integers that look drawn."""
    x = (x ^ _shifted(x, 30)) * _FACTORS[0]
    x = (x ^ _shifted(x, 27)) * _FACTORS[1]
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int, *, bits: int = 64) -> Tensor:
    """``x`` shifted right by ``by`` bits, as if it had no sign."""
    return (x >> by) & ((1 << (bits - by)) - 1)
