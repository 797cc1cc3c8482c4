"""Telling the format of a data set by what its files hold, whatever they are called."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from sam2.interop.files import read_json
from sam2.interop.pictures import SUFFIXES
from sam2.interop.sniff import detect_format
from sam2.train.data.sources import READERS

_DEEPEST = 3
_LOOKED_AT = 4
"""Files of a kind in a folder that are opened: a data set may have a million."""

_FIELDS = (
    (b'"masklet"', "sav"),
    (b'"segments_info"', "coco-panoptic"),
    (b'"shapes"', "labelme"),
    (b'"FeatureCollection"', "geojson"),
    (b'"from_name"', "label-studio"),
    (b'"images"', "coco"),
    (b'"annotations"', "sa1b"),
)
"""Names of fields that only one format has, after those above them."""

_LARGE = 8 << 20
"""Bytes from which a JSON file is not parsed to see what it is."""


def detect(path: Path) -> str:
    """The name of the format (a key of ``READERS``) of a file or folder.

    Raises:
        ValueError: it is none, or there are several.
    """
    if path.is_file():
        found = _of_file(path)
        if found is None:
            if path.suffix.lower() == ".json" and path.stat().st_size <= _LARGE:
                read_json(path)  # says where it breaks off
            raise ValueError(f"path {path} is no file of annotations that is known here: expected {describe_formats()}")
        return found
    evidence: dict[str, Path] = {}
    for format, place in _evidence(path, _DEEPEST):
        evidence.setdefault(format, place)
    if len(evidence) > 1:
        there = "; ".join(f"{format} in {place}" for format, place in evidence.items())
        raise ValueError(f"path {path} holds several data sets ({there}): name one of these folders, or set format")
    if evidence:
        return next(iter(evidence))
    if next(_pictures(path), None) is None:
        raise ValueError(
            f"path {path} holds no data set: neither pictures nor annotations. Looked for {describe_formats()}"
        )
    return "pairs"


def describe_formats() -> str:
    """All formats and what each is recognised by, in a line."""
    return "; ".join(f"{name}: {what}" for name, what in READERS.items())


def _evidence(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """(format, where it was found) of a folder, or of those in it where it has none itself."""
    folders, files = _entries(folder)
    found = dict.fromkeys(_of_folder(folder, folders, files))
    if found:
        yield from ((format, folder) for format in found)
        return
    if depth and not _is_png_layout(folders):
        for name in folders:
            yield from _evidence(folder / name, depth - 1)


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def _of_folder(folder: Path, folders: list[str], files: list[str]) -> Iterator[str]:
    if _is_png_layout(folders):
        if not any(_holds_other_files(folder / name) for name in folders if name.startswith("Annotations")):
            yield "davis"
        return
    if _is_yolo(folder, folders, files):
        yield "yolo"
    for suffix in (".json", ".geojson", ".xml"):
        chosen = [name for name in files if name.lower().endswith(suffix)]
        for name in chosen[:_LOOKED_AT]:
            found = _of_file(folder / name)
            if found is not None:
                yield found


def _is_png_layout(folders: list[str]) -> bool:
    return any(name.startswith("JPEGImages") for name in folders) and any(
        name.startswith("Annotations") for name in folders
    )


def _holds_other_files(folder: Path) -> bool:
    """Whether there are files, but no pictures, within three folders: Pascal VOC has XML files there."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        if files:
            return not any(Path(name).suffix.lower() in SUFFIXES for name in files)
        if Path(root).relative_to(folder).parts[3:]:
            break
    return False


def _is_yolo(folder: Path, folders: list[str], files: list[str]) -> bool:
    if "data.yaml" in files or "data.yml" in files:
        return True
    labels = folder / "labels"
    if "labels" not in folders:
        return False
    for root, inner, names in os.walk(labels):
        inner.sort()
        texts = [name for name in sorted(names) if name.endswith(".txt")]
        if texts:
            return any(_of_file(Path(root, name)) == "yolo" for name in texts[:_LOOKED_AT])
    return False


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".json" and path.stat().st_size > _LARGE:
        return _of_large_json(path)
    if suffix in SUFFIXES:
        return None
    try:
        found = detect_format(path)
    except (ValueError, OSError):
        return None
    if found == "coco" and mentions(path, b'"segments_info"'):
        return "coco-panoptic"
    return found if found in READERS else None


def kind_of_json(path: Path) -> str | None:
    """The format of a JSON file, None if it is none that is known."""
    return _of_file(path)


def _of_large_json(path: Path) -> str | None:
    """By the names of fields anywhere in it: parsing it would take long, and happens once more."""
    return next((format for field, format in _FIELDS if mentions(path, field)), None)


def mentions(path: Path, text: bytes) -> bool:
    """Whether a file holds ``text`` anywhere."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0


def _pictures(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from (name for name in files if Path(name).suffix.lower() in SUFFIXES)
