"""Boxes of any detector, from JSON or YOLO's text files, to be used as prompts.

**Which image.** Entries that name an image belong to it; a file that names none (a list of boxes, one result, one text
file) holds for every image. In a folder, a file belongs to the image of its name. Names are compared without
extensions, and a number fits a file name that is this number (``139`` fits ``000000000139.jpg``, as in COCO results).

**Which unit.** Text files are normalised, as YOLO defines them. JSON is in pixels unless it says ``"normalized": true``
or the caller does. JSON boxes that all lie within 0..1 and say nothing are refused: nobody can tell what they are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sam2.interop.annotations import DEFAULT_LABEL, Box
from sam2.interop.detector_json import LayoutError, RawBox, RawImage, check_box, label_of, number, read_layout
from sam2.interop.files import read_json
from sam2.interop.yolo import find_class_names
from sam2.io.listed import IMAGE_SUFFIXES

_EXTENSIONS = (*IMAGE_SUFFIXES, ".jfif", ".gif", ".ppm", ".pgm", ".avif", ".heic")
"""What is cut off a name to compare it; what else follows a dot belongs to the name."""

_FAR_OUT = 0.5
"""Shares of an image that a normalised box may reach beyond it; more was never normalised."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One box of a detector.

    Attributes:
        box: (x0, y0, x1, y1) in pixels of its image; may reach beyond it.
        label: name of its class, ``"object"`` where the detector gave none.
        score: how sure the detector was; None where it did not say.
    """

    box: Box
    label: str = DEFAULT_LABEL
    score: float | None = None


class Detections:
    """The boxes that a file or a folder of files holds, asked for image by image.

    Files of a folder are read when their image is asked for: folders of any size, and a bad file spoils its image only.

    Attributes:
        source: where they are from.
    """

    def __init__(
        self, source: Path, images: Sequence[RawImage | Path], *, names: Mapping[int, str], normalized: bool | None
    ) -> None:
        self.source = source
        self._class_names = names
        self._normalized = normalized
        self._everywhere: RawImage | None = None
        self._by_stem: defaultdict[str, list[tuple[PurePosixPath, RawImage | Path]]] = defaultdict(list)
        for image in images:
            if isinstance(image, RawImage) and image.name is None:
                self._everywhere = image
                continue
            is_file = isinstance(image, Path)
            name = _posix(image.relative_to(source).with_suffix("").as_posix() if is_file else str(image.name))
            self._by_stem[_stem(name)].append((name, image))

    @property
    def names(self) -> tuple[str, ...] | None:
        """The images that boxes are given for; None if they hold for every image."""
        if self._everywhere is not None:
            return None
        return tuple(str(name) for entries in self._by_stem.values() for name, _ in entries)

    def knows(self, name: str) -> bool:
        """Whether anything is said of the image ``name``, be it that there is nothing in it."""
        return self._everywhere is not None or bool(self._candidates(name))

    def for_image(self, name: str, width: int, height: int) -> list[Detection]:
        """The boxes of one image, in the order of the file; none if nothing is said of it.

        Args:
            name: file name of the image, with as many folders as are needed to tell it from others.
            width, height: of the image in pixels.

        Raises:
            ValueError: the boxes were made for another size, several images fit the name, or (in a folder) the file of
                this image is wrong; the message names file and entry.
        """
        image = self._everywhere or self._find(name)
        if image is None:
            return []
        if image.size is not None and image.size != (width, height):
            there = f"{image.size[0]} x {image.size[1]}"
            raise ValueError(f"{self.source}: boxes of {name} are for {there}, the image is {width} x {height}")
        scale_x, scale_y = (width, height) if image.normalized else (1, 1)
        return [
            Detection((x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y), box.label, box.score)
            for box in image.boxes
            for x0, y0, x1, y1 in [box.edges]
        ]

    def _candidates(self, name: str) -> list[tuple[PurePosixPath, RawImage | Path]]:
        return self._by_stem.get(_stem(_posix(name)), [])

    def _find(self, name: str) -> RawImage | None:
        candidates = self._candidates(name)
        if not candidates:
            return None
        wanted = _posix(name)
        likeness = [_likeness(wanted, known) for known, _ in candidates]
        best = [entry for entry, degree in zip(candidates, likeness, strict=True) if degree == max(likeness)]
        if len(best) > 1:
            which = ", ".join(str(known) for known, _ in best[:3])
            raise ValueError(f"{self.source}: several images fit {name}: {which}")
        image = best[0][1]
        if isinstance(image, RawImage):
            return image
        raw = _read_file(image, self._class_names, self._normalized)
        if len(raw) != 1:
            raise ValueError(f"{image} holds boxes of {len(raw)} images, expected those of {name}")
        return raw[0]


def read_detections(
    path: str | Path, *, names: Sequence[str] | Mapping[int, str] | None = None, normalized: bool | None = None
) -> Detections:
    """Boxes from a JSON file, a YOLO text file (``class cx cy w h [confidence]``) or a folder of such files.

    Layouts of JSON: COCO files and results, zero-shot results of transformers (Grounding DINO, OWL-ViT), entries with a
    ``box`` (ultralytics, pipelines of transformers), plain lists of boxes, JSON of ``sam2 image``; see
    ``docs/detections.md``.

    Args:
        path: file or folder. Of a folder, text files count, or if there are none, JSON files; subfolders too.
        names: names of classes by number. YOLO's are looked for in ``data.yaml`` and ``classes.txt`` in the folder
            and the two above it.
        normalized: whether boxes in JSON are shares of width and height, where the file does not say.

    Raises:
        FileNotFoundError: there is nothing at ``path``, or a folder holds no such file.
        ValueError: the file is wrong; the message names the entry.
    """
    path = Path(path)
    given = dict(enumerate(names)) if isinstance(names, Sequence) else dict(names or {})
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder of boxes: {path}")
    is_json = path.is_file() and path.suffix.lower() != ".txt"
    found = () if is_json else find_class_names(path if path.is_dir() else path.parent)
    class_names = {**dict(enumerate(found)), **given}
    if path.is_file():
        return Detections(path, _read_file(path, class_names, normalized), names=class_names, normalized=normalized)
    files = [file for file in sorted(path.rglob("*.txt")) if file.name != "classes.txt"] or sorted(path.rglob("*.json"))
    if not files:
        raise FileNotFoundError(f"folder {path} holds no boxes (.txt or .json files)")
    return Detections(path, files, names=class_names, normalized=normalized)


def _read_file(path: Path, names: Mapping[int, str], normalized: bool | None) -> list[RawImage]:
    try:
        if path.suffix.lower() == ".txt":
            return [_read_yolo(path, names)]
        images = read_layout(read_json(path), names)
        for image in images:
            image.normalized = normalized if image.normalized is None else image.normalized
        _settle_units(images)
    except LayoutError as error:
        raise ValueError(f"{path}: {error}") from None
    return images


def _settle_units(images: Sequence[RawImage]) -> None:
    """Boxes whose unit is not given are in pixels, unless that is what they hardly can be."""
    open_boxes = [box for image in images if image.normalized is None for box in image.boxes]
    if open_boxes and all(-1 <= edge <= 1 for box in open_boxes for edge in box.edges):
        raise LayoutError(
            "all boxes lie within 0..1, which may be pixels or shares of width and height: say "
            '"normalized": true (or false) beside the boxes, or normalized= when reading them'
        )
    for image in images:
        if image.normalized is None:
            image.normalized = False
        if image.normalized:
            _check_shares(image.boxes)


def _check_shares(boxes: Sequence[RawBox]) -> None:
    for box in boxes:
        if not all(-_FAR_OUT <= edge <= 1 + _FAR_OUT for edge in box.edges):
            raise LayoutError(f"{box.where}: normalised boxes lie within 0..1, got the corners {list(box.edges)}")


def _read_yolo(path: Path, names: Mapping[int, str]) -> RawImage:
    """``class cx cy w h [confidence]`` a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise LayoutError(f"not a text file: {error}") from None
    image = RawImage(None, normalized=True)
    for row, line in enumerate(lines, start=1):
        where, fields = f"line {row}", line.split()
        if not fields:
            continue
        if len(fields) not in (5, 6):
            hint = ", as outlines have; sam2 convert reads those" if len(fields) > 6 else ""
            raise LayoutError(f"{where}: expected class cx cy w h [confidence], got {len(fields)} columns{hint}")
        try:
            values = [number(float(text), where) for text in fields]
        except ValueError as error:
            raise LayoutError(f"{where}: expected numbers, got {line.strip()[:80]!r}") from error
        if values[0] < 0 or not values[0].is_integer():
            raise LayoutError(f"{where}: the class must be a whole number from 0, got {fields[0]}")
        score = values[5] if len(values) == 6 else None
        label = label_of(int(values[0]), names)
        image.boxes.append(RawBox(check_box(values[1:5], where, "cxcywh"), label, score, where))
    _check_shares(image.boxes)
    return image


def _posix(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _stem(name: PurePosixPath) -> str:
    """What images are found by: the name without folders and extension, numbers without leading zeros."""
    stem = name.stem if name.suffix.lower() in _EXTENSIONS else name.name
    return str(int(stem)) if stem.isascii() and stem.isdigit() else stem


def _likeness(a: PurePosixPath, b: PurePosixPath) -> tuple[int, bool]:
    """How well two names of one stem fit: folders that agree, from the right, and whether the extension does."""
    folders = 0
    for left, right in zip(reversed(a.parent.parts), reversed(b.parent.parts), strict=False):
        if left != right:
            break
        folders += 1
    return folders, a.name == b.name
