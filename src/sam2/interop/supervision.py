"""``supervision.Detections``: what its annotators draw, its trackers follow and its data sets hold."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.rle import Rle, encode_mask, mask_area

_UNTRACKED = -1
_CLASS_NAME = "class_name"


def to_detections(image: AnnotatedImage, *, labels: Sequence[str] = ()) -> Any:
    """The objects of a picture as ``supervision.Detections``, in their order.

    ======================  ==============================================================================
    ``xyxy``                [n, 4] float32, the edges of the boxes in pixels
    ``mask``                [n, height, width] bool; None if no object has a mask; all false for one without
    ``confidence``          [n] float32; None if no object has a score; NaN for one without
    ``class_id``            [n] int, numbers of ``labels``, then of what else appears, in order
    ``tracker_id``          [n] int; None if no object has a ``track_id``; -1 for one without
    ``data["class_name"]``  [n] str
    ======================  ==============================================================================

    Args:
        image: a picture or a frame.
        labels: names of classes in the order of their numbers; give all of them where several pictures go together.

    Raises:
        ImportError: ``supervision`` is not installed.
    """
    supervision = _import_supervision()
    objects = image.objects
    classes = {label: number for number, label in enumerate(dict.fromkeys((*labels, *(o.label for o in objects))))}
    masks = None
    if any(item.rle is not None for item in objects):
        masks = np.zeros((len(objects), *image.size), bool)
        for row, item in enumerate(objects):
            if item.rle is not None:
                masks[row] = item.mask()
    return supervision.Detections(
        xyxy=np.array([item.box for item in objects] or np.zeros((0, 4)), np.float32),
        mask=masks,
        confidence=_column((item.score for item in objects), np.float32, math.nan),
        class_id=np.array([classes[item.label] for item in objects], int),
        tracker_id=_column((item.track_id for item in objects), int, _UNTRACKED),
        data={_CLASS_NAME: np.array([item.label for item in objects], dtype=str)},
    )


def from_detections(
    detections: Any,
    *,
    name: str,
    size: tuple[int, int] | None = None,
    labels: Sequence[str] | Mapping[int, str] = (),
    video: VideoInfo | None = None,
    frame: int | None = None,
) -> AnnotatedImage:
    """The picture that ``supervision.Detections`` were made of, the other way round.

    A class is called by ``data["class_name"]``, else by ``labels``, else by its number, else ``"object"``. Masks
    without a pixel count as no mask where the box has an area.

    Args:
        detections: of supervision, or anything with its fields; masks may be compact.
        name: of the picture.
        size: (height, width); needed where there are no masks.
        labels: names of classes by number.
        video, frame: where the picture is a frame of a video.

    Raises:
        TypeError: ``detections`` are something else.
        ValueError: no size, masks of another size, or boxes that are NaN or reversed.
    """
    fields = ("xyxy", "mask", "confidence", "class_id", "tracker_id", "data")
    missing = [field for field in fields if not hasattr(detections, field)]
    if missing:
        raise TypeError(
            f"detections must be supervision.Detections, got {type(detections).__name__} without {', '.join(missing)}"
        )
    boxes = np.asarray(detections.xyxy, np.float64)
    masks = detections.mask
    if masks is not None and len(boxes):
        found = tuple(int(side) for side in masks.shape[1:])
        if size is not None and tuple(size) != found:
            raise ValueError(f"{name}: size must be that of the masks, {found}, got {tuple(size)}")
        size = (found[0], found[1])
    if size is None:
        raise ValueError(f"{name}: size must be given as (height, width) where detections have no masks")
    names = _class_names(detections, labels)
    objects = tuple(
        ObjectAnnotation(
            (box[0], box[1], box[2], box[3]),
            _rle(masks, row, box),
            label=names[row],
            track_id=_at(detections.tracker_id, row, int, _UNTRACKED),
            score=_at(detections.confidence, row, float, math.nan),
        )
        for row, box in enumerate(boxes.tolist())
    )
    return AnnotatedImage(name, size[1], size[0], objects, video, frame)


def _import_supervision() -> Any:
    try:
        import supervision
    except ImportError as error:
        raise ImportError("to_detections needs supervision: pip install 'sam2[supervision]'") from error
    return supervision


def _column(values: Iterable[float | None], kind: Any, missing: float) -> Any:
    listed = list(values)
    if all(value is None for value in listed):
        return None
    return np.array([missing if value is None else value for value in listed], kind)


def _at(column: Any, row: int, kind: Any, missing: float) -> Any:
    """An entry of a column; None where there is no column, or the entry stands for none."""
    if column is None:
        return None
    value = kind(column[row])
    return None if value == missing or value != value else value


def _class_names(detections: Any, labels: Sequence[str] | Mapping[int, str]) -> list[str]:
    count = len(detections.xyxy)
    given = detections.data.get(_CLASS_NAME)
    if given is not None:
        return [str(value) or DEFAULT_LABEL for value in given]
    if detections.class_id is None:
        return [DEFAULT_LABEL] * count
    names = labels if isinstance(labels, Mapping) else dict(enumerate(labels))
    return [names.get(int(number), str(int(number))) for number in detections.class_id]


def _rle(masks: Any, row: int, box: Sequence[float]) -> Rle | None:
    if masks is None:
        return None
    rle = encode_mask(np.asarray(masks[row]))
    has_area = box[2] > box[0] and box[3] > box[1]
    return None if has_area and not mask_area(rle) else rle
