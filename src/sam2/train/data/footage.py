"""Square frames and masks of one record, frame by frame: recorded as they are, or filmed over a still."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam2.train.data.motion import Camera, warped
from sam2.train.data.sources import ClipRecord
from sam2.train.data.view import View

STILL_VIEW = 0.8
"""Share of a still that the camera shows at first: it has room to move."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture [h, w, 3] uint8 RGB and its objects' masks [h, w] bool by number; none of them is empty."""

    image: NDArray[np.uint8]
    masks: dict[int, NDArray[np.bool_]]


def read_frame(record: ClipRecord, index: int) -> Frame:
    """Frame ``index`` of ``record``; ``ValueError`` where its image and masks do not fit each other."""
    image = record.image(index)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"frame {index} must be [h, w, 3] uint8, got {image.shape} {image.dtype}")
    masks = {}
    for number, mask in record.masks(index).items():
        if mask.shape != image.shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], mask.shape
            raise ValueError(f"frame {index} is {width} x {height}, the mask of object {number} {columns} x {rows}")
        if mask.any():
            masks[number] = np.ascontiguousarray(mask, bool)
    return Frame(image, masks)


class Footage(Protocol):
    """T square frames of one record.

    Attributes:
        objects: those that the first frame of the record shows, before it was cropped.
    """

    objects: tuple[int, ...]

    def image(self, t: int) -> NDArray[np.uint8]:
        """Frame ``t``, [S, S, 3], to be painted on."""
        ...

    def mask(self, t: int, number: int) -> NDArray[np.bool_]:
        """Object ``number`` in frame ``t``, [S, S]; empty where it is absent."""
        ...


class RecordedFootage:
    """Frames ``indices`` of ``record`` seen through ``view``; the ``first`` is read already."""

    def __init__(self, record: ClipRecord, indices: tuple[int, ...], *, first: Frame, view: View, side: int) -> None:
        self.objects = tuple(sorted(first.masks))
        self._record, self._indices, self._view, self._side = record, indices, view, side
        self._held, self._held_index = first, indices[0]
        # A short clip comes by the same frame again.
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._masks: dict[tuple[int, int], NDArray[np.bool_]] = {}

    def image(self, t: int) -> NDArray[np.uint8]:
        """Frame ``t``, [S, S, 3]."""
        index = self._indices[t]
        if index not in self._images:
            self._images[index] = self._view.image(self._frame(index).image, self._side)
        return self._images[index].copy()

    def mask(self, t: int, number: int) -> NDArray[np.bool_]:
        """Object ``number`` in frame ``t``, [S, S]."""
        index = self._indices[t]
        if (index, number) not in self._masks:
            mask = self._frame(index).masks.get(number)
            seen = np.zeros((self._side, self._side), bool) if mask is None else self._view.mask(mask, self._side)
            self._masks[index, number] = seen
        return self._masks[index, number]

    def _frame(self, index: int) -> Frame:
        if index != self._held_index:
            self._held, self._held_index = read_frame(self._record, index), index
        return self._held


class FilmedStill:
    """A still under a camera that pans, turns, zooms and sways: ``camera`` over ``still`` seen through ``view``."""

    def __init__(self, still: Frame, *, camera: Camera, view: View, side: int) -> None:
        self.objects = tuple(sorted(still.masks))
        self._camera, self._view, self._side = camera, view, side
        self._still, self._scene_side = still, 2 * round(side / STILL_VIEW / 2)
        self._scene = view.image(still.image, self._scene_side)
        self._masks: dict[int, NDArray[np.uint8]] = {}
        self._place, self._place_time = camera.map_at(0, side, self._scene_side), 0

    def image(self, t: int) -> NDArray[np.uint8]:
        """Frame ``t``, [S, S, 3]."""
        return warped(self._scene, self._where(t), mirrored=True)

    def mask(self, t: int, number: int) -> NDArray[np.bool_]:
        """Object ``number`` in frame ``t``, [S, S]."""
        if number not in self._masks:
            seen = self._view.mask(self._still.masks[number], self._scene_side)
            self._masks[number] = seen.view(np.uint8) * np.uint8(255)
        return warped(self._masks[number], self._where(t), mirrored=True) > 127

    def _where(self, t: int) -> NDArray[np.float32]:
        if t != self._place_time:
            self._place, self._place_time = self._camera.map_at(t, self._side, self._scene_side), t
        return self._place
