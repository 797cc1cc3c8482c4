"""YOLO: a text file a picture, a line an object: polygons (segmentation) or boxes (detection), and ``data.yaml``.

All numbers are shares of the picture's width and height. What is lost: track ids, scores, attributes, videos (frames
are pictures), empty masks. An object is one polygon: its parts are joined by lines, which trainers draw a pixel wide
and ``read_yolo`` does not. Vertices lie inside of the outermost pixels: those who round or cut them get the mask.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import yaml

from sam2.interop.annotations import AnnotatedImage, Annotations, ObjectAnnotation
from sam2.interop.bridges import Polygon, join_polygons
from sam2.interop.entries import as_kind, at
from sam2.interop.files import DraftFolder, inner_path
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import INSIDE, mask_to_polygons, outlines_to_mask

_NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "test.txt"}
_BEYOND = 0.5
"""How far outside a picture a coordinate may lie, as a share of it."""


class YoloWriter:
    """Writes ``yolo/labels/NAME.txt`` (``yolo_boxes/...`` for detection) and ``data.yaml`` beside ``labels``.

    A picture ``a/b.jpg`` has its lines in ``labels/a/b.txt``; the pictures belong into ``images/`` beside ``labels/``.
    One without objects has an empty file. Where some objects of a picture have masks, boxes are written as polygons.

    Args:
        output: the folder to write to.
        labels: names of classes, in the order of their numbers (from 0).
        boxes: write boxes only.
        tolerance: how far polygons may be from the exact outline, in pixels.
    """

    def __init__(
        self, output: Path, *, labels: Sequence[str] = (), boxes: bool = False, tolerance: float = 0.0
    ) -> None:
        self._boxes, self._tolerance = boxes, tolerance
        self._classes = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        self._folder = DraftFolder(output / ("yolo_boxes" if boxes else "yolo"))

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture.

        Raises:
            ValueError: its file would be that of another picture, such as ``a.png`` after ``a.jpg``.
        """
        name = inner_path(image.name).with_suffix(".txt")
        place = PurePosixPath("labels") / name
        if self._folder.place(place).exists():
            raise ValueError(f"{image.name}: yolo has labels/{name} already, of a picture of the same name")
        self._folder.write(place, "".join(f"{line}\n" for line in self._lines(image)))

    def close(self) -> list[Path]:
        """Finish; the folder."""
        names = {number: label for label, number in self._classes.items()}
        description = {"train": "images", "val": "images", "nc": len(names), "names": names}
        self._folder.write("data.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._folder.discard()

    def _lines(self, image: AnnotatedImage) -> Iterator[str]:
        boxes = self._boxes or all(item.rle is None for item in image.objects)
        for item in image.objects:
            numbers = _box_numbers(item) if boxes else _polygon(item, self._tolerance).ravel()
            number = self._classes.setdefault(item.label, len(self._classes))
            if len(numbers):
                shares = numbers / np.resize([image.width, image.height], len(numbers))
                yield " ".join((str(number), *(f"{share:.7f}".rstrip("0").rstrip(".") for share in shares)))


def _box_numbers(item: ObjectAnnotation) -> Polygon:
    """Centre and size of a box; nothing of an empty mask."""
    x0, y0, x1, y1 = item.box
    if item.rle is not None and not item.area:
        return np.zeros(0)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])


def _polygon(item: ObjectAnnotation, tolerance: float) -> Polygon:
    if item.rle is None:
        low, high = INSIDE
        x0, y0, x1, y1 = item.box
        x0, y0, x1, y1 = x0 + low, y0 + low, max(x0 + low, x1 - 1 + high), max(y0 + low, y1 - 1 + high)
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return join_polygons(mask_to_polygons(item.mask(), tolerance=tolerance, within=INSIDE))


def read_yolo(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a data set (its folder or ``data.yaml``), a folder of text files, or one of them.

    Lines of four numbers are boxes, of more polygons; one number more is a score. Names of classes come from
    ``data.yaml`` or ``classes.txt`` in the folder or above it; without them, classes are called by their numbers. All
    pictures are listed, those without a text file too, which have no objects.

    Args:
        path: file or folder.
        images: folder of the pictures; looked for beside the text files (``images`` for ``labels``) without it.

    Raises:
        FileNotFoundError: there is no such file, or the pictures are not found.
        ValueError: something is wrong; the message names the file and the line.
    """
    dataset = _Dataset.find(path)
    pictures = dataset.pictures(images)
    found: list[AnnotatedImage] = []
    labelled: set[str] = set()
    for file in dataset.files:
        key = file.relative_to(dataset.labels).with_suffix("").as_posix()
        name = pictures.find(key)
        if name is None:
            raise FileNotFoundError(f"{file}: there is no picture of this name in {pictures.folder}")
        labelled.add(name)
        size = pictures.size(name)
        objects = tuple(_read_line(line, place, size, dataset.names) for place, line in _lines_of(file))
        found.append(AnnotatedImage(name, size[1], size[0], objects))
    if path.is_dir() or path.suffix != ".txt":
        for name in pictures.names:
            if name not in labelled:
                height, width = pictures.size(name)
                found.append(AnnotatedImage(name, width, height))
    return Annotations(sorted(found, key=lambda image: image.name), dataset.names)


@dataclass(frozen=True, slots=True)
class _Dataset:
    """Where the parts of a data set are.

    Attributes:
        labels: folder of the text files.
        files: the text files.
        names: of classes, by number; empty where they are not known.
    """

    labels: Path
    files: list[Path]
    names: tuple[str, ...]

    @classmethod
    def find(cls, path: Path) -> "_Dataset":
        """The data set that ``path`` is, is in or describes."""
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if path.is_file() and path.suffix == ".txt":
            return cls(path.parent, [path], find_class_names(path.parent))
        folder = path if path.is_dir() else path.parent
        labels = folder / "labels" if (folder / "labels").is_dir() else folder
        files = sorted(file for file in labels.rglob("*.txt") if not _is_other(file.relative_to(labels)))
        if not files:
            raise ValueError(f"{labels} holds no text file with labels")
        return cls(labels, files, _read_names(path) if path.is_file() else find_class_names(labels))

    def pictures(self, images: Path | None) -> PictureFolder:
        """Their folder: the one that is given, ``images`` in place of ``labels``, or where the text files are."""
        if images is not None:
            return PictureFolder(images)
        parts = list(self.labels.absolute().parts)
        if "labels" in parts:
            place = len(parts) - 1 - parts[::-1].index("labels")
            beside = Path(*parts[:place], "images", *parts[place + 1 :])
            if beside.is_dir():
                return PictureFolder(beside)
        found = PictureFolder(self.labels)
        if not found.names:
            raise FileNotFoundError(f"{self.labels}: YOLO needs the pictures for their sizes; say where (images=)")
        return found


def _is_other(path: Path) -> bool:
    return path.name.startswith(".") or (len(path.parts) == 1 and path.name in _NOT_LABELS)


def find_class_names(folder: Path) -> tuple[str, ...]:
    """Names of classes from the folder or the nearest one above it that holds them, two steps up at most."""
    for place in (folder, *list(folder.absolute().parents)[:2]):
        for file in (place / "data.yaml", place / "classes.txt"):
            if file.is_file():
                return _read_names(file)
    return ()


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return tuple(line.strip() for line in text.splitlines() if line.strip())
        description: Any = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    names: Any = cast(dict[str, Any], description).get("names") if isinstance(description, dict) else None
    if isinstance(names, dict):
        with at(f"{path}: a key of 'names'"):
            numbered = {_index(number): name for number, name in cast(dict[Any, Any], names).items()}
        if sorted(numbered) != list(range(len(numbered))):
            raise ValueError(f"{path}: 'names' must be numbered from 0 on without a gap, got {sorted(numbered)}")
        names = [numbered[number] for number in range(len(numbered))]
    if not isinstance(names, list):
        raise ValueError(f"{path}: 'names' must be a list of names, or names by number")
    return tuple(str(name) for name in cast(list[Any], names))


def _index(key: Any) -> int:
    return int(key) if isinstance(key, str) and key.isdecimal() else as_kind(key, int)


def _lines_of(file: Path) -> Iterator[tuple[str, list[str]]]:
    """The words of each line that is not empty, and where it stands."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8: {error}") from None
    for number, line in enumerate(lines, start=1):
        if words := line.split():
            yield f"{file}, line {number}", words


def _read_line(words: Sequence[str], place: str, size: tuple[int, int], names: Sequence[str]) -> ObjectAnnotation:
    with at(place):
        number, *values = (_number(word) for word in words)
        label = _label(number, names)
        if len(values) < 4:
            raise ValueError(f"must be a class and at least four numbers, got {len(words)} words")
        scored = len(values) % 2 == 1
        shares = np.array(list(zip(values[:-1:2], values[1::2], strict=False)))
        if (shares < -_BEYOND).any() or (shares > 1 + _BEYOND).any():
            raise ValueError("coordinates must be shares of width and height, 0 to 1")
        if scored and not 0 <= values[-1] <= 1:
            raise ValueError(f"has an odd number of coordinates; a score would be 0 to 1, got {values[-1]}")
        score = values[-1] if scored else None
        points: Polygon = shares * (size[1], size[0])
        if len(points) > 2:
            return ObjectAnnotation.from_mask(outlines_to_mask([points], size), label=label, score=score)
        (x, y), (width, height) = points.tolist()
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return ObjectAnnotation(box, label=label, score=score)


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a number") from None
    if not np.isfinite(number):
        raise ValueError(f"{word[:40]!r} is not a finite number")
    return number


def _label(number: float, names: Sequence[str]) -> str:
    if number < 0 or number != int(number):
        raise ValueError(f"the class must be a whole number from 0 on, got {number}")
    if names and number >= len(names):
        raise ValueError(f"there is no class {int(number)}, only {len(names)} have names")
    return names[int(number)] if names else str(int(number))
