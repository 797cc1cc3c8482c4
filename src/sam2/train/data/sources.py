"""Where training and evaluation data come from: data sets of any layout as records that are read when they are used."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Instances = Literal["labels", "components"]
Values = Literal["auto", "binary", "numbers", "colours"]
Scale = Literal["full", "minmax"]
Masklets = Literal["manual", "auto", "both"]

READERS: Mapping[str, str] = {
    "sav": "VIDEO_manual.json, VIDEO_auto.json beside VIDEO.mp4, or beside folders of frames",
    "sa1b": "a JSON file ('image' and 'annotations') beside each picture",
    "davis": "JPEGImages/VIDEO/* and Annotations/VIDEO/*.png (DAVIS, MOSE, YouTube-VOS, LVOS, SA-V val and test)",
    "coco": "a JSON file with 'images' and 'annotations' of polygons or RLE",
    "coco-panoptic": "a JSON file whose annotations have 'segments_info', and PNGs",
    "yolo": "data.yaml, or images/ and labels/*.txt with polygons",
    "pairs": "images and masks or label maps of the same names, in two folders or in one (NAME_mask.png)",
    "cvat": "an XML file of CVAT",
    "labelme": "a JSON file with 'shapes' a picture",
    "label-studio": "a JSON export of Label Studio",
    "geojson": "a GeoJSON file a picture",
}
"""Formats by name, and what each is recognised by."""


class BadSampleError(RuntimeError):
    """A sample that cannot be used; the message names the file and the cause."""


@runtime_checkable
class ClipRecord(Protocol):
    """A still (one frame) or a video, with masks. It is read when asked, cheap to keep, and can be pickled.

    Attributes:
        name: unique in its source.
        num_frames: 1 for stills. Found out when it is first asked for where that means reading a file.
        labelled: indices of the frames that have masks, ascending; likewise.

    Raises:
        BadSampleError: from every attribute but ``name`` and from every method, where a file is missing or broken.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        ...

    @property
    def labelled(self) -> tuple[int, ...]:
        """Which of them have masks."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as [h, w, 3] RGB; of stills frame 0."""
        ...

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """Masks [h, w] of frame ``index``, which is one of ``labelled``, by object: the same number in all frames.

        No mask is empty: an object that is not to be seen is not in it. Where the data set holds encoded masks, the
        mapping decodes each when it is asked for it, and keeps none: pictures of SA-1B have hundreds of large ones.
        """
        ...


class Records(Sequence[ClipRecord]):
    """The records of a source: a sequence that makes each when it is asked for it.

    Attributes:
        format: one of ``READERS``.
        videos: whether its records are videos, not stills.
        classes: names of classes; empty where the data set has none.
        notes: what was left out on opening, in words: pictures without masks, masks without pictures.
    """

    format: str
    videos: bool
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @abstractmethod
    def record(self, index: int) -> ClipRecord:
        """Record ``index``, within 0 to the length less one."""

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClipRecord]: ...

    def __getitem__(self, index: int | slice) -> ClipRecord | list[ClipRecord]:
        if isinstance(index, slice):
            return [self.record(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"record {index} is not in 0..{len(self) - 1}")
        return self.record(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """A data set, and what of it is used.

    Attributes:
        path: its folder, or its file of annotations.
        format: one of ``READERS``; "auto" tells it by what is in the folder.
        weight: how often each of its records is drawn in an epoch: twice with 2, every other one with 0.5.
        images: folder of the pictures or videos, where they are not found beside the annotations.
        name: what messages call it; the last part of ``path`` without one.
        frames: T of clips drawn from it; None: the configuration's for videos, 1 for stills.
        split: which part: the name of a folder (``train``), of a list in ``ImageSets``, of a list in ``data.yaml`` or
            the end of a COCO file's name (``train2017``), or the path of a text file with a name a line; "all" for
            everything. It has to be given where there are several parts.
        classes: names of classes that are used (numbers, as text, where classes have no names); empty: all.
        exclude: names of classes that are left out.
        min_area: pixels that an object of a still must have at least. Not for videos, where a small mask says that
            the object is still there.
        instances: what an object of a label map or mask is: "labels": all pixels of one value; "components": each
            connected part of them.
        values: what a mask's pixels mean. "binary": one object, which is white (values above 127, or above 0 where
            none is); "numbers": an object (or class) a value; "colours": one a colour. "auto" looks at
            some of the files.
        ignore: values that belong to no object, besides 0. None: 255 where values are numbers, 128 where they are
            binary and the masks hold 0, 128 and 255.
        scale: how values of pictures with more than 8 bits are read: "full" for fixed ranges, "minmax" to stretch each
            picture over its own (microscopes use a part of 16 bits).
        crowds: use regions that COCO marks as crowds.
        masklets: of SA-V, those that people drew, those that were made automatically, or both.
    """

    path: str
    format: str = "auto"
    weight: float = 1.0
    images: str | None = None
    name: str | None = None
    frames: int | None = None
    split: str | None = None
    classes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_area: int = 1
    instances: Instances = "labels"
    values: Values = "auto"
    ignore: tuple[int, ...] | None = None
    scale: Scale = "full"
    crowds: bool = False
    masklets: Masklets = "both"

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path must name a folder or file, got an empty text")
        if self.format != "auto" and self.format not in READERS:
            raise ValueError(f"format must be auto, {', '.join(READERS)}; got {self.format!r}")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight of {self.path} must be at least 0, got {self.weight}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames of {self.path} must be at least 1, got {self.frames}")
        if self.min_area < 0:
            raise ValueError(f"min_area of {self.path} must be at least 0, got {self.min_area}")
        choices = {"instances": Instances, "values": Values, "scale": Scale, "masklets": Masklets}
        for name, kind in choices.items():
            if getattr(self, name) not in kind.__args__:
                raise ValueError(
                    f"{name} of {self.path} must be {', '.join(kind.__args__)}; got {getattr(self, name)!r}"
                )
        if both := set(self.classes) & set(self.exclude):
            raise ValueError(f"classes and exclude of {self.path} both name {', '.join(sorted(both))}")

    @property
    def title(self) -> str:
        """``name``, or the last part of ``path``."""
        return self.name or Path(self.path).resolve().name or self.path


def open_records(config: SourceConfig) -> Records:
    """The records of a source, in a fixed order. Pictures and masks are read when a record is asked for them.

    Raises:
        FileNotFoundError: there is no ``path``, no ``images``, or none of the pictures that annotations are for.
        ValueError: the format cannot be told or is another one, or the source holds nothing that can be used.
    """
    path = Path(config.path)
    if not path.exists():
        raise FileNotFoundError(f"path {config.path}: no such file or folder")
    if config.images is not None and not Path(config.images).exists():
        raise FileNotFoundError(f"images {config.images}: no such file or folder")
    format = config.format
    if format == "auto":
        format = import_module("sam2.train.data.readers.detect").detect(path)
    module = {"coco-panoptic": "panoptic", "sa1b": "segment_anything", "sav": "sav", "davis": "png_videos"}
    wrapped = dict.fromkeys(("cvat", "labelme", "label-studio", "geojson"), "wrapped")
    reader = import_module(f"sam2.train.data.readers.{({**module, **wrapped}).get(format, format)}")
    records: Records = reader.open_records(path, config, format)
    if not len(records):
        raise ValueError(f"path {config.path}: 0 records of format {format}")
    records.format = format
    return records
