"""What the model makes of some validation data, to look at: the picture, the truth and the prediction in a row."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam2.eval.clicks import iou, next_click, tight_box
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor
from sam2.tracking.session import VideoSession
from sam2.train.data.sources import BadSampleError, ClipRecord
from sam2.viz import DrawnPrompts, contact_sheet, draw_overlay

MAX_OBJECTS = 3
MAX_FRAMES = 16
"""Frames that are tracked for a picture of a clip, at most."""

_SIDE = 640
"""Longer side of what is drawn: a sheet needs no more."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Three pictures in a row, and what is written below them."""

    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
    captions: tuple[str, str, str]


def draw_predictions(model: SAM2Base, records: Sequence[ClipRecord], *, count: int) -> NDArray[np.uint8] | None:
    """A sheet of ``count`` records, the same ones every time, a row each; None where there is nothing to draw.

    Of a still: its largest object, prompted by a box or, in every other row, by a click in its middle. Of a clip: its
    last labelled frame (of the first few), tracked from the masks of its first.

    Args:
        model: in evaluation mode.
        records: to choose from, evenly; those that cannot be read are left out.

    Returns:
        [h, w, 3] uint8 RGB.
    """
    chosen = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    rows: list[_Row] = []
    for index in chosen:
        try:
            row = _draw(model, records[int(index)], by_click=len(rows) % 2 == 1)
        except BadSampleError:
            continue
        if row is not None:
            rows.append(row)
    if not rows:
        return None
    pictures = [picture for row in rows for picture in row.pictures]
    captions = [caption for row in rows for caption in row.captions]
    return contact_sheet(pictures, captions=captions, columns=3, cell=360)


@torch.inference_mode()
def _draw(model: SAM2Base, record: ClipRecord, *, by_click: bool) -> _Row | None:
    labelled = record.labelled
    for place, frame in enumerate(labelled):
        masks = _largest(record, frame)
        if masks:
            later = [other for other in labelled[place + 1 :] if other - frame < MAX_FRAMES]
            return (
                _draw_clip(model, record, masks, (frame, later[-1]))
                if later
                else _draw_still(model, record, masks, frame, by_click=by_click)
            )
    return None


def _draw_still(
    model: SAM2Base, record: ClipRecord, masks: dict[int, NDArray[np.bool_]], frame: int, *, by_click: bool
) -> _Row:
    image = record.image(frame)
    obj_id, truth = next(iter(masks.items()))
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image)
    if by_click:
        x, y, _ = next_click(truth, np.zeros_like(truth))
        drawn = DrawnPrompts(points=((x, y),), labels=(1,))
        found, scores, _ = predictor.predict(np.array([[x, y]]), np.array([1]), multimask_output=True)
    else:
        box = tight_box(truth)
        drawn = DrawnPrompts(box=box)
        found, scores, _ = predictor.predict(box=np.array(box), multimask_output=False)
    predicted = found[int(np.argmax(scores))] > 0
    how = "click" if by_click else "box"
    return _compare(image, {obj_id: truth}, {obj_id: predicted}, title=record.name, how=how, prompt=drawn)


def _draw_clip(
    model: SAM2Base, record: ClipRecord, masks: dict[int, NDArray[np.bool_]], frames: tuple[int, int]
) -> _Row:
    first, last = frames
    session = VideoSession(model, [record.image(index) for index in range(first, last + 1)])
    for obj_id, mask in masks.items():
        session.add_mask(0, obj_id, mask)
    predicted: dict[int, NDArray[np.bool_]] = {}
    for result in session.propagate():
        if result.frame_idx == last - first:
            predicted = {obj_id: result.mask(obj_id).cpu().numpy() for obj_id in masks}
    known = record.masks(last)
    image = record.image(last)
    truth = {obj_id: known[obj_id] if obj_id in known else np.zeros(image.shape[:2], bool) for obj_id in masks}
    return _compare(image, truth, predicted, title=f"{record.name} {last}", how=f"mask on {first}")


def _compare(
    image: NDArray[np.uint8],
    truth: dict[int, NDArray[np.bool_]],
    predicted: dict[int, NDArray[np.bool_]],
    *,
    title: str,
    how: str,
    prompt: DrawnPrompts | None = None,
) -> _Row:
    score = float(np.mean([iou(predicted[obj_id], truth[obj_id]) for obj_id in truth]))
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    drawn = [
        draw_overlay(
            small,
            [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in masks.values()],
            prompts=prompts,
        )
        for masks, prompts in ((truth, None), (predicted, None if prompt is None else [_scaled(prompt, scale)]))
    ]
    return _Row((small, drawn[0], drawn[1]), (title, "truth", f"by {how}: IoU {score:.2f}"))


def _scaled(prompt: DrawnPrompts, scale: float) -> DrawnPrompts:
    points = [(x * scale, y * scale) for x, y in prompt.points]
    if prompt.box is None:
        return DrawnPrompts(points, prompt.labels)
    x0, y0, x1, y1 = (value * scale for value in prompt.box)
    return DrawnPrompts(points, prompt.labels, (x0, y0, x1, y1))


def _largest(record: ClipRecord, frame: int) -> dict[int, NDArray[np.bool_]]:
    """The largest objects of a frame, largest first. Masks are decoded one at a time, and a few of them kept."""
    masks = record.masks(frame)
    kept: list[tuple[int, int, NDArray[np.bool_]]] = []
    for obj_id in masks:
        mask = np.asarray(masks[obj_id], bool)
        kept.append((-int(mask.sum()), obj_id, mask))
        kept = sorted(kept, key=lambda entry: entry[:2])[:MAX_OBJECTS]
    return {obj_id: mask for area, obj_id, mask in kept if area}
