"""Validation during training: the measures of ``sam2 eval``, on some records of any data set.

Of stills: mean IoU with the tight box as prompt and after one, three and five clicks (:mod:`sam2.eval.clicks`). Of
clips: J&F when tracking every object from its first mask (:mod:`sam2.eval.vos_metrics`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.eval.clicks import evaluate_example
from sam2.eval.datasets import ClickExample
from sam2.eval.records import LabelledRecord
from sam2.eval.vos_metrics import mask_quality
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking import VideoSession

MAX_OBJECTS = 3
"""The largest ones of a record."""

MAX_FRAMES = 24
"""Of a clip, counted from its first frame that shows an object."""

CLICKS = (1, 3, 5)

Masks = dict[int, NDArray[np.bool_]]


class _Stopped(Exception):
    """Nobody waits for the scores any more."""


@dataclass(slots=True)
class _Found:
    """IoUs of each object of a still, and J&F of each object of a clip."""

    stills: list[tuple[float, ...]] = field(default_factory=list)
    clips: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        scores: dict[str, float] = {}
        if self.stills:
            names = ("box_iou", *(f"click_iou_{count}" for count in CLICKS))
            scores.update(zip(names, np.mean(self.stills, axis=0).tolist(), strict=True))
        if self.clips:
            scores["j_and_f"] = float(np.mean(self.clips))
        return scores

    def score(self) -> float:
        parts = [float(np.mean(values)) for values in (self.stills, self.clips) if values]
        return float(np.mean(parts))


def validate_records(
    model: SAM2Base, records: Sequence[LabelledRecord], *, limit: int, go_on: Callable[[], bool] = lambda: True
) -> dict[str, float]:
    """Measure a model on up to ``limit`` records, the same ones every time, taken evenly from all.

    A record that cannot be read, or that shows nothing, is left out.

    Args:
        model: put in evaluation mode and back; its present image size counts.
        records: stills (one frame) and clips, mixed as they like.
        limit: how many are measured at most.
        go_on: asked before every picture; false ends it.

    Returns:
        Values in 0..1: "box_iou", "click_iou_1", "click_iou_3", "click_iou_5" where there are stills, "j_and_f" where
        there are clips, and "score", the mean of "j_and_f" and of the mean of the others. Where ``go_on`` said no,
        what there is so far, without "score"; nothing where there are no records.

    Raises:
        ValueError: ``limit`` is less than 1.
        RuntimeError: none of the records could be measured; the message says what was wrong with the last one.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    training = model.training
    model.eval()
    found = _Found()
    try:
        with torch.inference_mode():
            _validate(model, records, found, limit=limit, go_on=go_on)
    except _Stopped:
        return found.means()
    finally:
        model.train(training)
    return {**found.means(), "score": found.score()} if len(records) else {}


def _validate(
    model: SAM2Base, records: Sequence[LabelledRecord], found: _Found, *, limit: int, go_on: Callable[[], bool]
) -> None:
    problem = "they show nothing"
    for index in np.unique(np.linspace(0, len(records) - 1, min(limit, len(records))).round().astype(int)):
        if not go_on():
            raise _Stopped
        try:
            images, masks = _read(records[int(index)])
        except (OSError, ValueError, RuntimeError) as error:  # whatever a reader says of a file
            problem = str(error)
            continue
        if not masks:
            continue
        if len(images) > 1:
            found.clips += _track(model, images, masks, go_on)
        else:
            found.stills += [_click(model, images[0], mask) for mask in masks[0].values()]
    if len(records) and not found.stills and not found.clips:
        raise RuntimeError(f"none of {len(records)} records can be validated on: {problem}")


def _read(record: LabelledRecord) -> tuple[list[NDArray[np.uint8]], dict[int, Masks]]:
    """Images from the first labelled frame that shows an object on, and masks by place: of stills, one of each."""
    areas = _appearances(record)
    if not areas:
        return [], {}
    chosen = sorted(areas, key=lambda obj_id: -areas[obj_id][1])[:MAX_OBJECTS]
    first = min(areas[obj_id][0] for obj_id in chosen)
    masks: dict[int, Masks] = {}
    for frame in record.labelled:
        if first <= frame < first + MAX_FRAMES:
            there = record.masks(frame)
            masks[frame - first] = {o: np.asarray(there[o], bool) for o in chosen if o in there}
    return [record.image(first + place) for place in range(max(masks) + 1)], masks


def _appearances(record: LabelledRecord) -> dict[int, tuple[int, int]]:
    """Frame and area of every object where it is first seen, within ``MAX_FRAMES``."""
    found: dict[int, tuple[int, int]] = {}
    for frame in record.labelled:
        if found and frame >= min(first for first, _ in found.values()) + MAX_FRAMES:
            break
        masks = record.masks(frame)
        for obj_id in masks:
            if obj_id not in found and (area := int(np.count_nonzero(masks[obj_id]))):
                found[obj_id] = frame, area
    return found


def _click(model: SAM2Base, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, ...]:
    score = evaluate_example(model, ClickExample("", image, mask), clicks=max(CLICKS))
    return (score.box, *(score.clicks[count - 1] for count in CLICKS))


def _track(
    model: SAM2Base, images: list[NDArray[np.uint8]], masks: dict[int, Masks], go_on: Callable[[], bool]
) -> list[float]:
    """J&F of every object, prompted where it is first seen, over the labelled frames behind that."""
    first: dict[int, int] = {}
    with VideoSession(model, images) as session:
        for place in sorted(masks):
            for obj_id, mask in masks[place].items():
                if obj_id not in first and mask.any():
                    first[obj_id] = place
                    session.add_mask(place, obj_id, mask)
        found: dict[int, list[float]] = {obj_id: [] for obj_id in first}
        for result in session.propagate():
            if not go_on():
                raise _Stopped
            truths = masks.get(result.frame_idx)
            for obj_id in [] if truths is None else [o for o in first if first[o] < result.frame_idx]:
                shown = result.mask(obj_id).cpu().numpy()
                truth = (truths or {}).get(obj_id, np.zeros_like(shown))
                found[obj_id].append(mask_quality(shown, truth).j_and_f)
    return [float(np.mean(values)) for values in found.values() if values]
