"""COCO panoptic: a PNG a picture whose colours are numbers of segments, and one JSON file of what these are."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.interop.entries import Entry
from sam2.interop.rle import Mask
from sam2.train.data.readers.base import Choice, Counts, Files, FoundObject, Groups, Names, Record, check_size
from sam2.train.data.readers.detect import kind_of_json
from sam2.train.data.readers.finding import PictureFinder, choose_file, files_below, picture_places
from sam2.train.data.readers.frames import StillFrames
from sam2.train.data.readers.label_images import Labels, read_label_picture
from sam2.train.data.sources import Records, SourceConfig

Segments = NDArray[np.int64]
"""[n, 2]: number, and the place of its class among the names of classes."""


class PanopticRecord(Record):
    """A still with the PNG of its segments."""

    def __init__(
        self, name: str, files: tuple[str, str], segments: Segments, *, labels: tuple[str, ...], choice: Choice
    ) -> None:
        super().__init__(name, StillFrames(files[0]), choice)
        self.segments_file, self.segments, self.labels = files[1], segments, labels

    def _found(self, index: int) -> list[FoundObject]:
        values = self._values()
        check_size(self.segments_file, values.shape, self.frames, index)
        areas = dict(zip(*np.unique(values, return_counts=True), strict=True))
        return [
            FoundObject(place, self.labels[category], int(areas.get(number, 0)), partial(np.equal, values, number))
            for place, (number, category) in enumerate(self.segments.tolist(), start=1)
        ]

    def ignored(self, index: int) -> Mask | None:
        """Pixels that belong to no segment."""
        del index
        with self.reading():
            found = self._values() == 0
        return found if found.any() else None

    def _values(self) -> Labels:
        picture = read_label_picture(Path(self.segments_file))
        if picture.mode == "colour":
            return picture.values
        return picture.values.astype(np.int32) * 0x010101 if picture.mode == "grey" else picture.values


class PanopticRecords(Records):
    """Stills with segments; called by the files of the pictures."""

    format = "coco-panoptic"
    videos = False

    def __init__(
        self, entries: Sequence[tuple[str, str, Segments]], labels: Sequence[str], config: SourceConfig
    ) -> None:
        self.classes = tuple(labels)
        self._files = Files([file for file, _, _ in entries])
        self._pngs = Names(png for _, png, _ in entries)
        self._groups = Groups(len(segments) for _, _, segments in entries)
        self._segments = np.concatenate([segments for _, _, segments in entries])
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._files)

    def record(self, index: int) -> PanopticRecord:
        """Picture ``index``, in the order of the file of annotations."""
        file, name = self._files[index]
        segments = self._segments[self._groups[index]].copy()  # not a view: it is pickled without the others
        return PanopticRecord(name, (file, self._pngs[index]), segments, labels=self.classes, choice=self._choice)


def open_records(path: Path, config: SourceConfig, format: str) -> PanopticRecords:
    """The pictures of a panoptic file, or of those in a folder, that have segments of the chosen classes.

    Raises:
        FileNotFoundError: none of the pictures, or none of the PNGs, is found.
        ValueError: it is no panoptic file, does not have the classes that are asked for, or there are several.
    """
    files = files_below(path, ".json")
    if path.is_dir():
        files = [file for file in files if kind_of_json(file) == format]
    if not files:
        raise ValueError(f"path {path}: no panoptic COCO file (annotations with 'segments_info') in it")
    labels: dict[str, int] = {}
    entries: list[tuple[str, str, Segments]] = []
    notes = Counts()
    for file in choose_file(files, config.split, f"path {path}"):
        entries += _read(file, config, labels, notes)
    Choice.of(config).check(labels, str(path))
    if not entries:
        raise ValueError(f"path {path}: 0 pictures with segments; {notes.text() or 'there are no annotations'}")
    records = PanopticRecords(entries, list(labels), config)
    records.notes = notes.sentences()
    return records


def _read(file: Path, config: SourceConfig, labels: dict[str, int], notes: Counts) -> list[tuple[str, str, Segments]]:
    document = Entry.read(file)
    names = {entry.key("id"): entry.get("name", str) for entry in document.entries("categories")}
    for name in names.values():
        labels.setdefault(name, len(labels))
    pictures = {entry.key("id"): entry.get("file_name", str) for entry in document.entries("images")}
    annotations = list(document.entries("annotations"))
    finder = PictureFinder(*picture_places(file, config.images), list(pictures.values()), whose=file)
    named = [entry.get("file_name", str) for entry in annotations]
    pngs = PictureFinder([file.with_suffix(""), file.parent], [], named, whose=file)
    found: list[tuple[str, str, Segments]] = []
    for entry in annotations:
        name = entry.get("file_name", str)
        picture = finder.find(pictures.get(entry.key("image_id"), name))
        png = pngs.find(name)
        if picture is None or png is None:
            notes.add("pictures that are not there" if picture is None else "PNGs that are not there", name)
            continue
        segments = _segments(entry, names, labels, config, notes)
        if len(segments):
            found.append((str(picture), str(png), segments))
        else:
            notes.add("pictures without segments left out", name)
    return found


def _segments(
    entry: Entry, names: dict[int | str, str], labels: dict[str, int], config: SourceConfig, notes: Counts
) -> Segments:
    choice = Choice.of(config)
    found: list[tuple[int, int]] = []
    for segment in entry.entries("segments_info"):
        key = segment.key("category_id")
        label = names.get(key, str(key))
        if segment.find("iscrowd", int, 0) and not config.crowds:
            notes.add("crowds left out")
        elif choice.takes(label):
            found.append((segment.get("id", int), labels.setdefault(label, len(labels))))
    return np.array(found, np.int64).reshape(-1, 2)
