"""Scores on the held-out tenth of the training photos, by the same code as the benchmarks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2.eval.clicks import ClickScores, evaluate_clicks
from sam2.eval.datasets import ClickExample
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.losses import iou_per_mask
from sam2.train.nano.clip_step import as_mask_prompt, copied_overlap, encode_clips, track
from sam2.train.nano.config import TrainConfig
from sam2.train.nano.data.clips import ClipConfig, ClipSampler
from sam2.train.nano.data.loader import ClipBatch
from sam2.train.nano.data.pack import PackedData
from sam2.train.nano.data.records import KINDS
from sam2.train.nano.past import Past

CLICKED_KINDS = ("thing", "whole", "group")
MIN_SHARE = 0.02
MAX_PER_IMAGE = 2


class _Stopped(Exception):
    """Nobody waits for the scores any more."""


def held_out_objects(data: PackedData, limit: int) -> list[tuple[int, int]]:
    """Up to ``limit`` held-out objects that people would click on, as (photo, mask) rows; the same ones every time."""
    wanted = [KINDS.index(kind) for kind in CLICKED_KINDS]
    chosen: list[tuple[int, int]] = []
    for image in np.flatnonzero(data.images["held_out"]):
        height, width = int(data.images[image]["height"]), int(data.images[image]["width"])
        rows = [i for i in data.masks_of(int(image)) if data.masks[i]["kind"] in wanted]
        rows = [i for i in rows if data.masks[i]["area"] >= MIN_SHARE * height * width]
        rows.sort(key=lambda i: -int(data.masks[i]["area"]))
        chosen += [(int(image), row) for row in rows[:MAX_PER_IMAGE]]
    order = np.random.default_rng(0).permutation(len(chosen))[:limit]
    return [chosen[i] for i in sorted(order)]


def held_out_example(data: PackedData, image: int, row: int) -> ClickExample:
    """The photo and the mask at these rows of ``data``."""
    photo = data.image(image)
    mask = np.zeros(photo.shape[:2], bool)
    x, y = int(data.masks[row]["x"]), int(data.masks[row]["y"])
    crop = data.mask(row) > 0
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return ClickExample(f"{data.images[image]['name']}#{row}", photo, mask)


def validate(
    model: SAM2Base, data: PackedData, *, objects: int, go_on: Callable[[], bool] = lambda: True
) -> ClickScores | None:
    """Box, one click, five clicks on the held-out objects, at the model's present image size.

    None where no object is held out, or where ``go_on``, asked before every object, said no.
    """
    chosen = held_out_objects(data, objects)

    def examples() -> Iterator[ClickExample]:
        for rows in chosen:
            if not go_on():
                raise _Stopped
            yield held_out_example(data, *rows)

    try:
        return evaluate_clicks(model, examples()) if chosen else None
    except _Stopped:
        return None


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Mean IoU of made clips of held-out photos.

    Attributes:
        tracked: all frames after the first, from the mask of the first.
        tracked_end: the last frame.
        copied: the first frame's mask, taken for all later ones: what a tracker must beat.
    """

    tracked: float
    tracked_end: float
    copied: float


@torch.no_grad()
def validate_tracking(model: SAM2Base, data: PackedData, *, clips: int, frames: int = 10) -> TrackingScores:
    """Track through ``clips`` made clips, the same ones every time, at the model's present image size."""
    training = model.training
    model.eval()
    config = TrainConfig(steps=1)
    sampler = ClipSampler(data, ClipConfig(image_size=model.image_size, frames=frames, masks=2), held_out=True)
    tracked, ends, copied = [], [], []
    for number in range(clips):
        clip = sampler.draw(np.random.default_rng([2, number]))
        images, masks = torch.from_numpy(clip.images)[None], torch.from_numpy(clip.masks)
        features = encode_clips(model, ClipBatch(images, masks[None]), config=config)
        first = as_mask_prompt(masks[0].to(model.device), model.image_size)
        found = track(model, features, first, past=Past())
        ious = torch.stack([_overlap(model, found[t].logits, masks[t]) for t in range(1, frames)])
        tracked.append(float(ious.nanmean()))
        ends.append(float(ious[-1].nanmean()))
        copied.append(copied_overlap(masks))
    model.train(training)
    return TrackingScores(*(float(np.nanmean(values)) for values in (tracked, ends, copied)))


def _overlap(model: SAM2Base, logits: Tensor, truth: Tensor) -> Tensor:
    """IoU [n] of ``logits`` [n, 1, h, w] with ``truth`` [n, h', w'], not a number where there is no truth."""
    resized = F.interpolate(logits.cpu(), size=truth.shape[-2:], mode="bilinear", align_corners=False)
    ious = iou_per_mask(resized, truth[:, None])[:, 0]
    return torch.where(truth.flatten(1).any(-1), ious, torch.nan)
