"""Square frames and masks of one record, frame by frame: recorded as they are, or filmed over a still."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam2.train.data.motion import Camera, warped
from sam2.train.data.sources import ClipRecord
from sam2.train.data.view import View

STILL_VIEW = 0.8
"""Share of a still that the camera shows at first: it has room to move."""


class Frame:
    """A picture and the masks of its objects, each decoded when it is first asked for.

    Args:
        image: [h, w, 3] uint8 RGB.
        masks: by the number of the object; [h, w] bool, none of them empty.
        index: of the frame, for messages.

    Attributes:
        image: as given.
        objects: their numbers, ascending.

    Raises:
        ValueError: the image is not one.
    """

    def __init__(self, image: NDArray[np.uint8], masks: Mapping[int, NDArray[np.bool_]], *, index: int) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"frame {index} must be [h, w, 3] uint8, got {image.shape} {image.dtype}")
        self.image, self.objects = image, tuple(sorted(masks))
        self._masks, self._index = masks, index
        self._decoded: dict[int, NDArray[np.bool_]] = {}

    def mask(self, number: int) -> NDArray[np.bool_] | None:
        """The mask [h, w] of object ``number``, or None where it is not there.

        Raises:
            ValueError: it does not have the size of the image.
        """
        if number not in self.objects:
            return None
        if number not in self._decoded:
            mask, (height, width) = self._masks[number], self.image.shape[:2]
            if mask.shape != (height, width):
                rows, columns = mask.shape
                size = f"{width} x {height}, the mask of object {number} {columns} x {rows}"
                raise ValueError(f"frame {self._index} is {size}")
            self._decoded[number] = np.ascontiguousarray(mask, bool)
        return self._decoded[number]

    def seen_mask(self, number: int, view: View, side: int) -> NDArray[np.bool_]:
        """The mask of object ``number`` through ``view``, [side, side]; empty where it is not there."""
        mask = self.mask(number)
        return np.zeros((side, side), bool) if mask is None else view.mask(mask, side)


def read_frame(record: ClipRecord, index: int) -> Frame:
    """Frame ``index`` of ``record``."""
    return Frame(record.image(index), record.masks(index), index=index)


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
        self.objects = first.objects
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
            self._masks[index, number] = self._frame(index).seen_mask(number, self._view, self._side)
        return self._masks[index, number]

    def _frame(self, index: int) -> Frame:
        if index != self._held_index:
            self._held, self._held_index = read_frame(self._record, index), index
        return self._held


class FilmedStill:
    """A still under a camera that pans, turns, zooms and sways: ``camera`` over ``still`` seen through ``view``."""

    def __init__(self, still: Frame, *, camera: Camera, view: View, side: int) -> None:
        self.objects = still.objects
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
            seen = self._still.seen_mask(number, self._view, self._scene_side)
            self._masks[number] = seen.view(np.uint8) * np.uint8(255)
        return warped(self._masks[number], self._where(t), mirrored=True) > 127

    def _where(self, t: int) -> NDArray[np.float32]:
        if t != self._place_time:
            self._place, self._place_time = self._camera.map_at(t, self._side, self._scene_side), t
        return self._place
