"""COCO: one JSON file of pictures and their objects. Masks are kept as they are there, packed, and drawn when used."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sam2.interop.entries import Entry
from sam2.interop.pictures import picture_size
from sam2.train.data.readers.base import Blobs, Choice, Counts, Files, FoundObject, Record, without_collecting
from sam2.train.data.readers.detect import kind_of_json, mentions
from sam2.train.data.readers.finding import PictureFinder, choose_file, files_below, picture_places
from sam2.train.data.readers.frames import StillFrames
from sam2.train.data.readers.packed import Outline, pack, unpack
from sam2.train.data.sources import Records, SourceConfig


class OutlinedRecord(Record):
    """A still whose objects are packed outlines."""

    def __init__(
        self, name: str, image: str, packed: bytes, *, size: tuple[int, int], labels: tuple[str, ...], choice: Choice
    ) -> None:
        super().__init__(name, StillFrames(image), choice)
        self.packed, self.size, self.labels = packed, size, labels

    def _found(self, index: int) -> list[FoundObject]:
        said = self.size
        size = self.frames.size(index)
        if size != said:
            raise ValueError(
                f"{self.frames.where(index)} is {size[1]} x {size[0]}, its annotations say {said[1]} x {said[0]}"
                + (" (turned on its side by its EXIF data?)" if size == said[::-1] else "")
            )
        return unpack(self.packed, size, self.labels)


class OutlinedRecords(Records):
    """Stills whose objects are packed outlines; called by their files.

    Args:
        format: what ``Records.format`` says.
        pictures: (file, (height, width), packed outlines) of each.
        labels: names of classes.
    """

    videos = False

    def __init__(
        self,
        format: str,
        pictures: Iterable[tuple[str, tuple[int, int], bytes]],
        labels: Sequence[str],
        config: SourceConfig,
    ) -> None:
        self.format, self.classes = format, tuple(labels)
        entries = list(pictures)
        self._files = Files([file for file, _, _ in entries])
        self._sizes = np.array([size for _, size, _ in entries], np.int32).reshape(-1, 2)
        self._packed = Blobs(packed for _, _, packed in entries)
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._files)

    def record(self, index: int) -> OutlinedRecord:
        """Picture ``index``, in the order of the file of annotations."""
        file, name = self._files[index]
        height, width = self._sizes[index].tolist()
        return OutlinedRecord(
            name, file, self._packed[index], size=(height, width), labels=self.classes, choice=self._choice
        )


def open_records(path: Path, config: SourceConfig, format: str) -> Records:
    """The pictures of a COCO file, or of those in a folder, that have objects of the chosen classes.

    Raises:
        FileNotFoundError: none of the pictures is found.
        ValueError: it is no COCO file, holds no masks or not the classes that are asked for, or there are several.
    """
    files = files_below(path, ".json")
    if path.is_dir():
        files = [file for file in files if kind_of_json(file) == "coco"]
    if not files:
        raise ValueError(f"path {path}: no COCO file ('images' and 'annotations') in it")
    files = choose_file(files, config.split, f"path {path}")
    if len(files) == 1 and _needs_wrapping(files[0]):
        from sam2.train.data.readers.wrapped import open_records as wrapped

        return wrapped(files[0], config, format)
    labels: dict[str, int] = {}
    pictures: list[tuple[str, tuple[int, int], bytes]] = []
    notes = Counts()
    with without_collecting():
        for file in files:
            pictures += _read(file, config, labels, notes)
    Choice.of(config).check(labels, str(path))
    if not pictures:
        raise ValueError(f"path {path}: 0 pictures with masks; {notes.text() or 'there are no annotations'}")
    records = OutlinedRecords(format, pictures, list(labels), config)
    records.notes = notes.sentences()
    return records


def _needs_wrapping(file: Path) -> bool:
    """Whether it is a list of results, or one of videos."""
    with file.open("rb") as content:
        start = content.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[") or mentions(file, b'"video_id"')


def _read(
    file: Path, config: SourceConfig, labels: dict[str, int], notes: Counts
) -> Iterator[tuple[str, tuple[int, int], bytes]]:
    """(file, (height, width), packed outlines) of the pictures that have objects."""
    document = Entry.read(file)
    names: dict[int | str, str] = {entry.key("id"): entry.get("name", str) for entry in document.entries("categories")}
    for name in names.values():
        labels.setdefault(name, len(labels))
    outlines: dict[int | str, list[Outline]] = {entry.key("id"): [] for entry in document.entries("images")}
    choice = Choice.of(config)
    for entry in document.entries("annotations"):
        if (there := outlines.get(entry.key("image_id"))) is None:
            notes.add("annotations of pictures that are not listed")
            continue
        if entry.find("iscrowd", int, 0) and not config.crowds:
            notes.add("crowds left out")
        elif not entry.fields.get("segmentation"):
            notes.add("boxes without masks left out")
        else:
            key = entry.key("category_id") if "category_id" in entry else None
            label = None if key is None else names.get(key, str(key))
            if choice.takes(label):
                category = -1 if label is None else labels.setdefault(label, len(labels))
                there.append(Outline(len(there) + 1, category, entry.fields["segmentation"]))
    images = list(document.entries("images"))
    files = [entry.get("file_name", str) for entry in images]
    finder = PictureFinder(*picture_places(file, config.images), files, whose=file)
    for entry in images:
        if not (own := outlines[entry.key("id")]):
            notes.add("pictures without objects left out", entry.get("file_name", str))
        elif (picture := finder.find(entry.get("file_name", str))) is None:
            notes.add("pictures that are not there", entry.get("file_name", str))
        else:
            yield str(picture), _size(entry, picture), pack(own)


def _size(entry: Entry, picture: Path) -> tuple[int, int]:
    return entry.size() if "width" in entry and "height" in entry else picture_size(picture)
