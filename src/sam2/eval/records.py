"""What evaluation asks of a data set's entries, whoever reads them: ``sam2.train.data.sources`` opens any layout so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam2.eval.datasets import ClickExample


class LabelledRecord(Protocol):
    """A still (one frame) or a video, with masks, read when asked."""

    @property
    def name(self) -> str:
        """Unique in its data set."""
        ...

    @property
    def num_frames(self) -> int:
        """1 for stills."""
        ...

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the frames that have masks, ascending."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as [h, w, 3] RGB."""
        ...

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """Masks [h, w] of frame ``index``, one of ``labelled``, by object."""
        ...


@dataclass(frozen=True, slots=True)
class RecordPicture:
    """One labelled frame of a record, whose objects are to be found."""

    record: LabelledRecord
    frame: int

    @property
    def name(self) -> str:
        """The record's; of videos with the number of the frame."""
        return self.record.name if self.record.num_frames == 1 else f"{self.record.name}#{self.frame}"

    def examples(self) -> Iterator[ClickExample]:
        """Its objects that are not empty."""
        masks = self.record.masks(self.frame)
        image = self.record.image(self.frame) if len(masks) else None
        for obj_id in masks:
            mask = np.asarray(masks[obj_id], bool)
            if image is not None and mask.any():
                yield ClickExample(f"{self.name}/{obj_id}", image, mask)


def record_pictures(
    records: Sequence[LabelledRecord], *, frame_step: int = 1, limit: int | None = None
) -> list[RecordPicture]:
    """The labelled frames of all records: of a video every ``frame_step``-th, ``limit`` of all at most, evenly taken.

    Raises:
        ValueError: ``frame_step`` or ``limit`` is less than 1, or there is no labelled frame.
    """
    if frame_step < 1 or (limit is not None and limit < 1):
        raise ValueError(f"frame_step and limit must be at least 1, got {frame_step} and {limit}")
    pictures = [RecordPicture(record, frame) for record in records for frame in record.labelled[::frame_step]]
    if not pictures:
        raise ValueError("no record has a labelled frame")
    if limit is None or limit >= len(pictures):
        return pictures
    chosen = np.linspace(0, len(pictures) - 1, limit).round().astype(int)
    return [pictures[int(place)] for place in chosen]
