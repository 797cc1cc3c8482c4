"""Telling the format of annotations by what is in the file or folder, not by its name."""

from pathlib import Path
from typing import Any, cast

from sam2.interop.files import read_json

_PNG = b"\x89PNG"
_HIDDEN = "."

_LOOKED_AT = 8
"""Files of a kind in a folder that are looked at: a data set may have a million."""

_DEEPEST = 4


def detect_format(path: Path) -> str:
    """Name of the format of a file, or of the files in a folder.

    Raises:
        ValueError: it is none, or a folder holds several.
    """
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if found is None:
        raise ValueError(
            f"{path} is no annotation format that is known here (coco, yolo, davis, sa1b, sav, cvat, label-studio, "
            "labelme, geojson)"
        )
    return found


def _of_folder(folder: Path, depth: int = 0) -> str | None:
    if (folder / "data.yaml").is_file() or (folder / "labels").is_dir():
        return "yolo"
    if (folder / "Annotations").is_dir():
        return "davis"
    files = _files(folder)
    found: dict[str, None] = {}
    for suffix in (".json", ".geojson", ".xml", ".txt"):
        for file in [file for file in files if file.suffix.lower() == suffix][:_LOOKED_AT]:
            kind = _of_file(file)
            if kind is not None:
                found[kind] = None
    if not found and any(file.suffix.lower() == ".png" for file in files):
        return "davis"
    if len(found) > 1:
        raise ValueError(f"{folder} holds several formats ({', '.join(found)}): name one file of it")
    if found or depth == _DEEPEST:
        return next(iter(found), None)
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(_HIDDEN))
    return next((kind for entry in folders if (kind := _of_folder(entry, depth + 1)) is not None), None)


def _files(folder: Path) -> list[Path]:
    files = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(_HIDDEN)]
    return sorted(files)


def _of_file(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4096)
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(_PNG):
        return "davis"
    if start.startswith(b"<"):
        return "cvat" if b"<annotations" in start else None
    if start.startswith((b"{", b"[")):
        return _of_json(read_json(path))
    if path.name == "data.yaml" or (path.suffix.lower() == ".txt" and _is_yolo(start)):
        return "yolo"
    return None


def _of_json(document: Any) -> str | None:
    if isinstance(document, list):
        first: Any = next(iter(cast(list[Any], document)), None)
        if not isinstance(first, dict):
            return None
        if "image_id" in first and ("segmentation" in first or "bbox" in first):
            return "coco"  # results
        return "label-studio" if "data" in first else None
    if not isinstance(document, dict):
        return None
    keys = cast(dict[str, Any], document)
    if "masklet" in keys:
        return "sav"
    if "shapes" in keys:
        return "labelme"
    if keys.get("type") in ("FeatureCollection", "Feature"):
        return "geojson"
    if "data" in keys and ("annotations" in keys or "predictions" in keys):
        return "label-studio"
    if isinstance(keys.get("image"), dict) and "annotations" in keys:
        return "sa1b"
    return "coco" if "images" in keys and "annotations" in keys else None


def _is_yolo(start: bytes) -> bool:
    """Whether the first line is a class and at least four numbers; a file without a line says that nothing is there."""
    try:
        first = start.decode().splitlines()[:1]
        return all(len([float(word) for word in line.split()]) >= 5 for line in first)
    except ValueError:
        return False
