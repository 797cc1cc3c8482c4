"""SA-1B: a JSON file of masks beside each picture, whatever the two are called."""

import os
from collections.abc import Sequence
from pathlib import Path

from sam2.interop.entries import Entry, as_kind
from sam2.interop.pictures import SUFFIXES
from sam2.interop.rle import check_rle
from sam2.train.data.readers.base import Choice, Counts, Files, FoundObject, Names, Record
from sam2.train.data.readers.detect import kind_of_json
from sam2.train.data.readers.finding import files_below
from sam2.train.data.readers.frames import Frames, StillFrames
from sam2.train.data.readers.splits import choose_part, part_of
from sam2.train.data.sources import Records, SourceConfig

_LOOKED_AT = 8


class Sa1bRecord(Record):
    """A still whose masks are in a JSON file."""

    def __init__(self, name: str, frames: Frames, json_file: str, *, choice: Choice) -> None:
        super().__init__(name, frames, choice)
        self.json_file = json_file

    def _found(self, index: int) -> list[FoundObject]:
        document = Entry.read(Path(self.json_file))
        height, width = self.frames.size(index)
        found: list[FoundObject] = []
        for number, entry in enumerate(document.entries("annotations"), start=1):
            rle = entry.child("segmentation")
            if rle.items("size") != [height, width]:
                raise ValueError(
                    f"{rle.place} has the size {rle.items('size')}, the picture {self.frames.where(index)} "
                    f"{[height, width]} (height, width)"
                )
            try:
                check_rle(rle.fields)
            except ValueError as error:
                raise ValueError(f"{rle.place}: {error}") from None
            found.append(FoundObject.of_rle(number, entry.find("label", str), rle.fields))
        return found


class Sa1bRecords(Records):
    """Stills with a JSON file each; called by the pictures."""

    format = "sa1b"
    videos = False

    def __init__(self, pairs: Sequence[tuple[str, str]], root: Path, config: SourceConfig) -> None:
        self._root = str(root)
        self._json = Names(json_file for json_file, _ in pairs)
        self._images = Files([image for _, image in pairs])
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._json)

    def record(self, index: int) -> Sa1bRecord:
        """Picture ``index``, in the order of the JSON files."""
        image, name = self._images[index]
        json_file = os.path.join(self._root, self._json[index])
        return Sa1bRecord(name, StillFrames(image), json_file, choice=self._choice)


def open_records(path: Path, config: SourceConfig, format: str) -> Sa1bRecords:
    """The pictures below ``path`` that have a JSON file. Pairs have one name; else the JSON file says the picture's.

    Raises:
        FileNotFoundError: no JSON file has a picture.
        ValueError: there is no JSON file of SA-1B.
    """
    root = path if path.is_dir() else path.parent
    files = files_below(path, ".json", deepest=None)
    if not files or not any(kind_of_json(file) == format for file in files[:_LOOKED_AT]):
        raise ValueError(f"path {path}: no JSON file of SA-1B ('image' and 'annotations') in it")
    names = [file.relative_to(root).as_posix() for file in files]
    takes = choose_part({part_of(name) for name in names}, config.split, f"path {path}")
    chosen = [name for name in names if takes(part_of(name))]
    images = _Images(root, None if config.images is None else Path(config.images))
    pairs: list[tuple[str, str]] = []
    notes = Counts()
    for name in chosen:
        image = images.of(name)
        if image is None:
            notes.add("JSON files without pictures left out", name)
        else:
            pairs.append((name, image))
    if not pairs:
        where = config.images or root
        raise FileNotFoundError(f"path {path}: no JSON file has a picture in {where}; {notes.text()}")
    records = Sa1bRecords(pairs, root, config)
    records.notes = notes.sentences()
    return records


class _Images:
    """Pictures by the JSON files that belong to them."""

    def __init__(self, root: Path, images: Path | None) -> None:
        self._root, self._images = root, images
        self._listings: dict[Path, dict[str, str]] = {}

    def of(self, json_file: str) -> str | None:
        """The picture of the same name beside the JSON file, in ``images``, or the one that the JSON file names."""
        relative = Path(json_file)
        inner = [part for part in relative.parent.parts if part.lower() not in ("annotations", "labels", "masks")]
        if self._images is not None:
            folders = [self._images / relative.parent, self._images]
        else:
            beside = self._root / relative.parent
            folders = [
                beside,
                self._root / Path(*inner),
                self._root / "images" / Path(*inner),
                beside.parent / "images",
            ]
        for folder in folders:
            if (found := self._listing(folder).get(relative.stem)) is not None:
                return str(folder / found)
        try:
            named = as_kind(Entry.read(self._root / relative).child("image").get("file_name", str), str)
        except ValueError:
            return None  # another's file
        stem = Path(named).stem
        return next((str(f / self._listing(f)[stem]) for f in folders if stem in self._listing(f)), None)

    def _listing(self, folder: Path) -> dict[str, str]:
        """Names of the pictures in a folder by their names without extension."""
        if folder not in self._listings:
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            self._listings[folder] = {Path(n).stem: n for n in names if Path(n).suffix.lower() in SUFFIXES}
        return self._listings[folder]
