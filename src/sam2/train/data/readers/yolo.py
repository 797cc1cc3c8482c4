"""YOLO segmentation: a text file a picture, a polygon a line, in shares of the picture's sides."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import yaml

from sam2.interop.pictures import SUFFIXES
from sam2.interop.polygons import outlines_to_mask
from sam2.interop.yolo import find_class_names
from sam2.train.data.readers.base import Choice, Counts, Files, FoundObject, Names, Record, listed
from sam2.train.data.readers.frames import StillFrames
from sam2.train.data.readers.splits import ALL, choose_part, part_of
from sam2.train.data.sources import Records, SourceConfig

_BOX = 5
"""Words of a line that is a box: class, centre, size; a line with a score has one more."""

_BEYOND = 0.5
_NOT_LABELS = frozenset(("classes.txt", "train.txt", "val.txt", "test.txt"))
_PARTS = ("train", "val", "test")
_DEEPEST = 3


class YoloRecord(Record):
    """A still with a text file of polygons."""

    def __init__(self, name: str, image: str, text_file: str, *, labels: tuple[str, ...], choice: Choice) -> None:
        super().__init__(name, StillFrames(image), choice)
        self.text_file, self.labels = text_file, labels

    def _found(self, index: int) -> list[FoundObject]:
        size = self.frames.size(index)
        found: list[FoundObject] = []
        boxes = 0
        for number, (line, words) in enumerate(_lines(Path(self.text_file)), start=1):
            label, numbers = _parsed(words, self.labels, f"{self.text_file}, line {line}")
            if len(numbers) < _BOX + 1:
                boxes += 1
                continue
            points = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2) * (size[1], size[0])
            found.append(FoundObject.of_mask(number, label, outlines_to_mask([points], size)))
        if boxes and not found:
            raise ValueError(f"{self.text_file} holds boxes only ({boxes}), no polygons")
        return found


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that is not empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from None
    yield from ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())


def _parsed(words: Sequence[str], labels: Sequence[str], where: str) -> tuple[str, list[float]]:
    """Class and numbers of a line."""
    try:
        number, *numbers = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"{where}: expected a class and numbers, got {' '.join(words)[:60]!r}") from None
    if not number.is_integer() or number < 0 or (labels and number >= len(labels)):
        known = f" of {len(labels)} classes" if labels else ""
        raise ValueError(f"{where}: expected the number{known} of a class first, got {words[0]}")
    if len(numbers) < _BOX - 1 or not all(-_BEYOND <= value <= 1 + _BEYOND for value in numbers):
        raise ValueError(f"{where}: expected at least four shares of width and height, 0 to 1")
    return labels[int(number)] if labels else str(int(number)), numbers


class YoloRecords(Records):
    """Stills with text files; called by the pictures."""

    format = "yolo"
    videos = False

    def __init__(self, pairs: Sequence[tuple[str, str]], labels: Sequence[str], config: SourceConfig) -> None:
        self.classes = tuple(labels)
        self._images = Files([image for image, _ in pairs])
        self._texts = Names(text for _, text in pairs)
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._images)

    def record(self, index: int) -> YoloRecord:
        """Picture ``index``, in the order of names."""
        image, name = self._images[index]
        return YoloRecord(name, image, self._texts[index], labels=self.classes, choice=self._choice)


def open_records(path: Path, config: SourceConfig, format: str) -> YoloRecords:
    """The pictures that have text files that are not empty.

    Raises:
        FileNotFoundError: no text file has a picture.
        ValueError: there is no text file, or boxes only; the classes that are asked for do not exist; several parts.
    """
    del format
    labels_folder = _labels_folder(path)
    listing = path if path.suffix in (".yaml", ".yml") else _description(labels_folder.parent)
    texts = _texts(labels_folder)
    texts = _of_split(texts, labels_folder, listing, config)
    names = find_class_names(labels_folder) or (() if listing is None else _class_names(listing))
    if names:
        Choice.of(config).check(names, str(path))
    notes = Counts()
    pairs = list(_pairs(texts, labels_folder, config, notes))
    if not pairs:
        raise FileNotFoundError(
            f"path {path}: 0 pictures with polygons for {len(texts)} text files in {labels_folder} "
            f"({notes.text()}); expected pictures of the same names in 'images' beside 'labels', or images to say where"
        )
    some = [text for _, text in pairs[:: max(1, len(pairs) // 16)]]
    if all(len(words) <= _BOX + 1 for text in some for _, words in _lines(Path(text))):
        raise ValueError(f"path {path}: the labels are boxes, not polygons (as in {some[0]}): masks are needed")
    records = YoloRecords(pairs, names, config)
    records.notes = notes.sentences()
    return records


def _labels_folder(path: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    if folder.name == "labels":
        return folder
    if path.suffix in (".yaml", ".yml"):
        root: Any = _read_yaml(path).get("path")
        if isinstance(root, str) and (folder / root / "labels").is_dir():
            folder = folder / root
    found = [inner for inner in _folders(folder, _DEEPEST) if inner.name == "labels"]
    if len(found) > 1:
        parts = {part_of(inner.relative_to(folder).as_posix()) for inner in found}
        if None in parts or len(parts) < len(found):
            there = listed([str(inner) for inner in found])
            raise ValueError(f"path {path} holds several folders of labels ({there}): name the folder above one")
        return folder  # train/labels, valid/labels
    return found[0] if found else folder


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.name.startswith("."):
            yield inner
            if depth and inner.name not in ("labels", "images"):
                yield from _folders(inner, depth - 1)


def _texts(labels: Path) -> list[str]:
    """Text files below a folder, relative, but those that are lists."""
    found = sorted(file.relative_to(labels) for file in labels.rglob("*.txt"))
    inside = labels.name == "labels"
    found = [file for file in found if not _is_other(file) and (inside or "labels" in file.parts)]
    if not inside and not found:  # text files beside their pictures
        found = sorted(file.relative_to(labels) for file in labels.rglob("*.txt") if not _is_other(file))
    if not found:
        raise ValueError(f"path {labels}: no text file with polygons (labels/NAME.txt) in it")
    return [file.as_posix() for file in found]


def _is_other(file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return hidden or file.name in _NOT_LABELS or file.name.lower().startswith("readme")


def _description(folder: Path) -> Path | None:
    return next((folder / name for name in ("data.yaml", "data.yml") if (folder / name).is_file()), None)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold fields such as train, val and names")
    return cast(dict[str, Any], content)


def _class_names(path: Path) -> tuple[str, ...]:
    names: Any = _read_yaml(path).get("names")
    if isinstance(names, dict):
        return tuple(str(names[key]) for key in sorted(cast(dict[Any, Any], names), key=int))
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _of_split(texts: list[str], labels: Path, listing: Path | None, config: SourceConfig) -> list[str]:
    """The text files of the part that is asked for: by folders, or by what ``data.yaml`` says of it."""
    if config.split in _PARTS and listing is not None:
        said: Any = _read_yaml(listing).get(config.split)
        places = [str(place) for place in said] if isinstance(said, list) else [str(said)] if said else []
        inner = [_below_images(place) for place in places]
        chosen = [text for text in texts if any(place == "" or text.startswith(f"{place}/") for place in inner)]
        if places and chosen and not any(place.endswith(".txt") for place in places):
            return chosen
    if config.split is not None and config.split != ALL and config.split.endswith(".txt"):
        stems = {PurePosixPath(line.strip()).stem for line in Path(config.split).read_text().splitlines()}
        chosen = [text for text in texts if PurePosixPath(text).stem in stems]
        if not chosen:
            raise ValueError(f"split {config.split}: none of its names has a text file in {labels}")
        return chosen
    takes = choose_part({part_of(text) for text in texts}, config.split, f"path {labels}")
    return [text for text in texts if takes(part_of(text))]


def _below_images(place: str) -> str:
    """``train`` of ``../images/train``."""
    parts = list(PurePosixPath(place).parts)
    return "/".join(parts[parts.index("images") + 1 :]) if "images" in parts else "/".join(parts)


def _pairs(texts: Sequence[str], labels: Path, config: SourceConfig, notes: Counts) -> Iterator[tuple[str, str]]:
    """(picture, text file) of those that have both, and polygons."""
    listings: dict[Path, dict[str, str]] = {}
    for text in texts:
        file = labels / text
        image = next(
            (found for f in _image_folders(text, labels, config) if (found := _find(f, Path(text).stem, listings))),
            None,
        )
        if image is None:
            notes.add("text files without pictures left out", text)
        elif not file.stat().st_size:
            notes.add("pictures without objects left out", text)
        else:
            yield image, str(file)


def _image_folders(text: str, labels: Path, config: SourceConfig) -> Iterator[Path]:
    """Where the picture of a text file may be: ``images`` for ``labels`` in its path, there or further up."""
    relative = PurePosixPath(text)
    if config.images is not None:
        yield from (Path(config.images) / relative.parent, Path(config.images))
        return
    parts = list((labels / relative).resolve().parent.parts)
    for place in reversed([place for place, part in enumerate(parts) if part == "labels"]):
        for up in range(2):
            yield Path(*parts[: place - up], "images", *parts[place + 1 :])
    yield labels / relative.parent


def _find(folder: Path, stem: str, listings: dict[Path, dict[str, str]]) -> str | None:
    if folder not in listings:
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        listings[folder] = {Path(name).stem: name for name in names if Path(name).suffix.lower() in SUFFIXES}
    name = listings[folder].get(stem)
    return None if name is None else str(folder / name)
