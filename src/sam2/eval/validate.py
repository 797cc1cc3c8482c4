"""Validation during training: the measures of ``sam2 eval``, on some records of any data set.

Of stills: mean IoU with the tight box as prompt and after one, three and five clicks (:mod:`sam2.eval.clicks`). Of
clips: J&F when tracking from the masks of the first labelled frame (:mod:`sam2.eval.vos_metrics`).
"""

from collections.abc import Callable, Sequence

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
        there are clips, and "score", the mean of "j_and_f" and of the mean of the others. Nothing at all where
        ``go_on`` said no.

    Raises:
        ValueError: ``limit`` is less than 1, or there are no records.
        RuntimeError: none of the records could be measured; the message says what was wrong with the last one.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    if not len(records):
        raise ValueError("there are no records to validate on")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _validate(model, records, limit=limit, go_on=go_on)
    except _Stopped:
        return {}
    finally:
        model.train(training)


def _validate(
    model: SAM2Base, records: Sequence[LabelledRecord], *, limit: int, go_on: Callable[[], bool]
) -> dict[str, float]:
    stills: list[tuple[float, ...]] = []
    clips: list[float] = []
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
            clips += _track(model, images, masks, go_on)
        else:
            stills += [_click(model, images[0], mask) for mask in masks[0].values()]
    if not stills and not clips:
        raise RuntimeError(f"none of {len(records)} records can be validated on: {problem}")
    return _means(stills, clips)


def _read(record: LabelledRecord) -> tuple[list[NDArray[np.uint8]], dict[int, Masks]]:
    """Images from the first labelled frame that shows an object on, and masks by place: of stills, one of each."""
    for number, first in enumerate(record.labelled):
        shown = {obj_id: np.asarray(mask, bool) for obj_id, mask in record.masks(first).items()}
        shown = {obj_id: mask for obj_id, mask in shown.items() if mask.any()}
        if not shown:
            continue
        chosen = sorted(shown, key=lambda obj_id: -int(shown[obj_id].sum()))[:MAX_OBJECTS]
        places = [frame for frame in record.labelled[number + 1 :] if frame < first + MAX_FRAMES]
        masks: dict[int, Masks] = {0: {obj_id: shown[obj_id] for obj_id in chosen}}
        for frame in places:
            later = record.masks(frame)
            empty = np.zeros_like(shown[chosen[0]])
            masks[frame - first] = {o: np.asarray(later[o], bool) if o in later else empty for o in chosen}
        last = places[-1] if places else first
        return [record.image(frame) for frame in range(first, last + 1)], masks
    return [], {}


def _click(model: SAM2Base, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, ...]:
    score = evaluate_example(model, ClickExample("", image, mask), clicks=max(CLICKS))
    return (score.box, *(score.clicks[count - 1] for count in CLICKS))


def _track(
    model: SAM2Base, images: list[NDArray[np.uint8]], masks: dict[int, Masks], go_on: Callable[[], bool]
) -> list[float]:
    """J&F of every object, over the labelled frames but the first."""
    session = VideoSession(model, images)
    for obj_id, mask in masks[0].items():
        session.add_mask(0, obj_id, mask)
    found: dict[int, list[float]] = {obj_id: [] for obj_id in masks[0]}
    for result in session.propagate():
        if not go_on():
            raise _Stopped
        if result.frame_idx == 0:
            continue
        for obj_id, truth in masks.get(result.frame_idx, {}).items():
            found[obj_id].append(mask_quality(result.mask(obj_id).cpu().numpy(), truth).j_and_f)
    return [float(np.mean(values)) for values in found.values()]


def _means(stills: list[tuple[float, ...]], clips: list[float]) -> dict[str, float]:
    scores: dict[str, float] = {}
    parts: list[float] = []
    if stills:
        names = ("box_iou", *(f"click_iou_{count}" for count in CLICKS))
        scores.update(zip(names, np.mean(stills, axis=0).tolist(), strict=True))
        parts.append(float(np.mean(list(scores.values()))))
    if clips:
        scores["j_and_f"] = float(np.mean(clips))
        parts.append(scores["j_and_f"])
    return {**scores, "score": float(np.mean(parts))}
