"""What a caller may ask of :class:`sam2.automatic.video.VideoMaskGenerator`."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMaskSettings:
    """When new objects are looked for, what counts as new, and when objects are given up.

    Attributes:
        keyframe_every: new objects are looked for on every so many frames, the first one included.
        max_objects: at most so many objects are followed at a time; of more, the surest and largest are taken. Time and
            memory of a frame grow with it.
        new_object_coverage: a mask is no new object if objects that are followed cover this share of it.
        new_object_iou: nor if it has at least this IoU with one of them.
        min_area: smaller masks, in pixels of the frame, are no objects, and smaller islands and holes of masks are
            removed; a thousandth of the frame by default.
        max_share: nor are masks that fill more than this share of the frame.
        drop_after: an object that has not been seen for so many frames is forgotten; what comes back later has a new
            number. Until then it is found again under its own.
        seen_iou: a mask with a lower predicted IoU does not count as seen: the tracker has lost its object.
        same_iou: two objects with at least this IoU are the same one ...
        same_after: ... once they have been on so many key frames in a row; the one that was found later is forgotten.
        non_overlap: give each pixel to one object at most.
        points_per_side: clicks along a side of a key frame; not used with a ``mask_generator``.
    """

    keyframe_every: int = 10
    max_objects: int = 50
    new_object_coverage: float = 0.5
    new_object_iou: float = 0.4
    min_area: int | None = None
    max_share: float = 0.9
    drop_after: int = 60
    seen_iou: float = 0.25
    same_iou: float = 0.9
    same_after: int = 3
    non_overlap: bool = False
    points_per_side: int = 16

    def __post_init__(self) -> None:
        for name in ("keyframe_every", "max_objects", "drop_after", "same_after", "points_per_side"):
            _check_whole(name, getattr(self, name), least=1)
        if self.min_area is not None:
            _check_whole("min_area", self.min_area, least=0)
        for name in ("new_object_coverage", "new_object_iou", "max_share", "same_iou", "seen_iou"):
            _check_share(name, getattr(self, name), may_be_zero=name == "seen_iou")

    def smallest(self, size: tuple[int, int]) -> float:
        """``min_area`` in a frame of ``size`` = (height, width)."""
        return size[0] * size[1] / 1000 if self.min_area is None else self.min_area

    def largest(self, size: tuple[int, int]) -> float:
        """Pixels above which a mask of a frame of ``size`` = (height, width) is no object."""
        return self.max_share * size[0] * size[1]


def _check_whole(name: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_share(name: str, value: Any, *, may_be_zero: bool) -> None:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1 or (value == 0 and not may_be_zero):
        low = "at least 0" if may_be_zero else "above 0"
        raise ValueError(f"{name} must be a number {low} and at most 1, got {value!r}")
