"""What all formats speak of: pictures, or frames of videos, with labelled objects, each with a mask or just a box.

A reader makes these records, a writer takes them, one picture after the other, so that a data set of any size is
written in constant memory. Masks are held as compressed run-length encodings: a few hundred bytes each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2.interop.rle import Mask, Rle, check_rle, decode_mask, encode_mask, mask_area, mask_edges

DEFAULT_LABEL = "object"
"""The class of what nobody has named."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class ObjectAnnotation:
    """One object in one picture.

    Attributes:
        box: (x0, y0, x1, y1) in pixels, the edges of the box: a single pixel at (3, 5) has (3, 5, 4, 6).
        rle: the mask, compressed COCO run-length encoding of the picture's size; None where only a box is known.
        label: name of its class.
        track_id: number of the object, the same in all frames of a video and unique in each; None on still pictures.
        score: 0..1, how sure a model is of it; None for what a person drew.
        attributes: what else is known, JSON values by name, such as ``predicted_iou``.
    """

    box: Box
    rle: Rle | None = None
    label: str = DEFAULT_LABEL
    track_id: int | None = None
    score: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        box = tuple(float(edge) for edge in self.box)
        if len(box) != 4 or not np.isfinite(box).all() or box[2] < box[0] or box[3] < box[1]:
            raise ValueError(f"box must be finite (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1, got {tuple(self.box)}")
        object.__setattr__(self, "box", box)
        if not self.label:
            raise ValueError("label must not be empty")
        if self.rle is not None:
            check_rle(self.rle)

    @classmethod
    def from_mask(cls, mask: npt.NDArray[Any], **fields: Any) -> "ObjectAnnotation":
        """An object with the mask [h, w] (true where not zero) and the box around it; (0, 0, 0, 0) if it is empty."""
        return cls.from_rle(encode_mask(mask), **fields)

    @classmethod
    def from_rle(cls, rle: Rle, **fields: Any) -> "ObjectAnnotation":
        """An object with the mask that ``rle`` encodes and the box around it; (0, 0, 0, 0) if it is empty."""
        return cls(mask_edges(rle), rle, **fields)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    @property
    def xywh(self) -> Box:
        """The box as left, top, width and height in pixels, as COCO writes it."""
        return (self.box[0], self.box[1], *self.size)

    @cached_property
    def area(self) -> float:
        """Pixels of the mask, or of the box where there is no mask."""
        width, height = self.size
        return width * height if self.rle is None else float(mask_area(self.rle))

    def mask(self) -> Mask:
        """The mask [h, w] bool, decoded anew at each call.

        Raises:
            ValueError: only a box is known.
        """
        if self.rle is None:
            raise ValueError(f"object {self.label!r} has a box only, no mask")
        return decode_mask(self.rle)


@dataclass(frozen=True, slots=True, eq=False)
class VideoInfo:
    """A video whose frames are annotated.

    Attributes:
        name: of its file or folder, without a path.
        width, height: of its frames in pixels.
        num_frames: how many there are, annotated or not; None where it is not known.
        fps: frames per second; None where it is not known.
    """

    name: str
    width: int
    height: int
    num_frames: int | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """A picture, or a frame of a video, and the objects in it.

    Attributes:
        name: of its file, with forward slashes if it is in a folder.
        width, height: in pixels.
        objects: in no particular order; masks have the size of the picture.
        video: the video that it is a frame of, or None.
        frame: its index in the video, from 0; given exactly where ``video`` is.
    """

    name: str
    width: int
    height: int
    objects: tuple[ObjectAnnotation, ...] = ()
    video: VideoInfo | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.name}: width and height must be at least 1, got {self.width} x {self.height}")
        if (self.video is None) != (self.frame is None) or (self.frame is not None and self.frame < 0):
            raise ValueError(f"{self.name}: a frame of a video needs both video and frame >= 0, got {self.frame}")
        for item in self.objects:
            if item.rle is not None and tuple(item.rle["size"]) != (self.height, self.width):
                height, width = item.rle["size"]
                raise ValueError(f"{self.name} is {self.width} x {self.height}, one of its masks {width} x {height}")
        seen = [item.track_id for item in self.objects if item.track_id is not None]
        if len(set(seen)) != len(seen):
            raise ValueError(f"{self.name}: track_id must be unique in a picture, got {sorted(seen)}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def with_objects(self, objects: Sequence[ObjectAnnotation]) -> "AnnotatedImage":
        """The same picture with other objects."""
        return replace(self, objects=tuple(objects))


@dataclass(slots=True, eq=False)
class Annotations:
    """What a reader returns: pictures in order, and all names of classes.

    Attributes:
        images: frames of a video stand together, in ascending order.
        labels: names of classes, in the order of their numbers.
    """

    images: list[AnnotatedImage] = field(default_factory=list[AnnotatedImage])
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        found = (item.label for image in self.images for item in image.objects)
        self.labels = tuple(dict.fromkeys((*self.labels, *found)))

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return iter(self.images)

    @property
    def videos(self) -> list[VideoInfo]:
        """The videos that the frames are of, each once, in order."""
        return list({image.video.name: image.video for image in self.images if image.video is not None}.values())
