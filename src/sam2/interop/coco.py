"""COCO: one JSON file with images, annotations, categories and, for frames, videos.

Masks are exact as RLE, and as polygons too (see ``polygons``). COCO has no fields for ``score``, ``track_id`` and
``attributes`` of an annotation, nor for ``video_id`` and ``frame_id`` of an image: they stand there under these names,
which other tools pass over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from sam2.interop.annotations import (
    DEFAULT_LABEL,
    AnnotatedImage,
    Annotations,
    Box,
    ObjectAnnotation,
    VideoInfo,
)
from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.files import JsonObjectDraft, read_json
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import Polygon, check_polygon, mask_to_polygons, outlines_to_mask, polygons_to_mask
from sam2.interop.rle import Mask, Rle, check_rle, encode_mask, encode_runs, mask_edges

_CROWD = "iscrowd"
_EXTRAS = ("predicted_iou", "stability_score")

Key = int | str
"""What annotations call an image, a category or a video by."""


class CocoWriter:
    """Writes ``coco.json``, with masks as compressed RLE, or ``coco_polygons.json``.

    RLE comes with ``iscrowd`` 0, which pycocotools and what builds on it read as any other mask. Objects that are boxes
    only have no ``segmentation``.

    Args:
        output: the folder to write to.
        labels: names of classes, in the order of their numbers (from 1).
        polygons: write polygons, for tools that read nothing else.
        tolerance: how far these may be from the exact outline, in pixels.
    """

    def __init__(
        self, output: Path, *, labels: Sequence[str] = (), polygons: bool = False, tolerance: float = 0.0
    ) -> None:
        self._polygons, self._tolerance = polygons, tolerance
        self._categories = {label: number for number, label in enumerate(dict.fromkeys(labels), start=1)}
        self._videos: dict[str, int] = {}
        name = "coco_polygons.json" if polygons else "coco.json"
        self._draft = JsonObjectDraft(output / name, "annotations", "images", "videos")
        self._images = self._annotations = 0

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture and its objects."""
        self._images += 1
        entry: dict[str, Any] = {"id": self._images, "file_name": image.name}
        entry |= {"width": image.width, "height": image.height}
        if image.video is not None:
            entry |= {"video_id": self._video_id(image.video), "frame_id": image.frame}
        self._draft.add(entry, "images")
        for item in image.objects:
            self._annotations += 1
            category = self._categories.setdefault(item.label, len(self._categories) + 1)
            ids = {"id": self._annotations, "image_id": self._images, "category_id": category}
            self._draft.add(ids | self._annotation(item))

    def close(self) -> list[Path]:
        """Finish; the file."""
        categories = [{"id": number, "name": label, "supercategory": ""} for label, number in self._categories.items()]
        self._draft.close({"categories": categories, "info": {}, "licenses": []})
        return [self._draft.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._draft.discard()

    def _video_id(self, video: VideoInfo) -> int:
        if video.name not in self._videos:
            self._videos[video.name] = len(self._videos) + 1
            entry = {"id": self._videos[video.name], "name": video.name}
            entry |= {"width": video.width, "height": video.height}
            known = {"length": video.num_frames, "fps": video.fps}
            self._draft.add(entry | {name: value for name, value in known.items() if value is not None}, "videos")
        return self._videos[video.name]

    def _annotation(self, item: ObjectAnnotation) -> dict[str, Any]:
        attributes = dict(item.attributes)
        crowd = int(bool(attributes.pop(_CROWD, 0)))
        entry: dict[str, Any] = {"bbox": list(map(_short, item.xywh)), "area": _short(item.area), _CROWD: crowd}
        if item.rle is not None:
            entry["segmentation"] = item.rle
            if self._polygons and not crowd:
                found = mask_to_polygons(item.mask(), tolerance=self._tolerance)
                entry["segmentation"] = [list(map(_short, polygon.ravel().tolist())) for polygon in found]
        known = {"score": item.score, "track_id": item.track_id, "attributes": attributes or None}
        return entry | {name: value for name, value in known.items() if value is not None}


def _short(value: float) -> float | int:
    """``value`` without ``.0``: outlines consist of whole numbers."""
    return int(value) if float(value).is_integer() else round(float(value), 4)


def read_coco(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a COCO file, a list of results, or the one COCO file in a folder.

    Masks may be polygons or RLE, compressed or not; crowds keep ``iscrowd`` among their attributes. A list of results
    says nothing of its images: these are looked up in a COCO file beside it, or by number among the pictures' names.
    Without categories, classes are called by their numbers.

    Args:
        path: file or folder.
        images: folder of the pictures, where the file lacks their sizes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it is wrong; the message names the file and the entry.
    """
    if path.is_dir():
        path = _only_file(path)
    document = read_json(path)
    pictures = None if images is None else PictureFolder(images)
    if isinstance(document, list):
        return _read(_with_images(path, cast(list[Any], document), pictures), "results", pictures)
    return _read(Entry(document, str(path)), "annotations", pictures)


@dataclass(slots=True)
class _Image:
    """An image of the file, and what has been found in it."""

    name: str
    size: tuple[int, int]
    place: str
    objects: list[ObjectAnnotation] = field(default_factory=list[ObjectAnnotation])
    video: VideoInfo | None = None
    frame: int | None = None


def _read(document: Entry, annotations: str, pictures: PictureFolder | None) -> Annotations:
    document.items("images")
    document.items(annotations)
    names = _by_id(document, "categories")
    labels = {key: names[key].get("name", str) for key in sorted(names, key=lambda key: (isinstance(key, str), key))}
    videos = _Videos(_by_id(document, "videos"))
    found: dict[Key, _Image] = {}
    for key, entry in _by_id(document, "images").items():
        found[key] = image = _Image(entry.get("file_name", str), _size(entry, pictures), entry.place)
        image.video, image.frame = videos.place(entry, image.size)
    for entry in document.entries(annotations):
        image = found.get(entry.key("image_id"))
        if image is None:
            raise ValueError(f"{entry.place}: there is no image with the id {entry.key('image_id')!r}")
        image.objects.append(_object(entry, image.size, labels))
    return Annotations([_finish(image) for image in _in_order(found.values())], tuple(labels.values()))


def _by_id(document: Entry, name: str) -> dict[Key, Entry]:
    """The entries of a list by their ids."""
    found: dict[Key, Entry] = {}
    for entry in document.entries(name):
        if found.setdefault(entry.key("id"), entry) is not entry:
            raise ValueError(f"{entry.place}: the id {entry.key('id')!r} is taken by another")
    return found


def _size(entry: Entry, pictures: PictureFolder | None) -> tuple[int, int]:
    """(height, width) of an image."""
    if "width" in entry and "height" in entry:
        return entry.size()
    if pictures is None:
        raise ValueError(f"{entry.place}: no width and height; the folder of the pictures (images=) would tell them")
    try:
        return pictures.size(entry.get("file_name", str))
    except FileNotFoundError as error:
        raise ValueError(f"{entry.place}: {error}") from None


class _Videos:
    """The videos that images are frames of."""

    def __init__(self, entries: Mapping[Key, Entry]) -> None:
        self._entries = entries
        self._infos: dict[Key, VideoInfo] = {}

    def place(self, image: Entry, size: tuple[int, int]) -> tuple[VideoInfo, int] | tuple[None, None]:
        """The video that ``image`` is a frame of, and its number; None for a still picture."""
        if "video_id" not in image:
            return None, None
        key = image.key("video_id")
        if key not in self._infos:
            if self._entries and key not in self._entries:
                raise ValueError(f"{image.place}: there is no video with the id {key!r}")
            entry = self._entries.get(key, Entry({}, image.place))
            name = entry.find("name", str, entry.find("file_name", str, str(key)))
            length, fps = entry.find("length", int), entry.find("fps", float)
            self._infos[key] = VideoInfo(name, size[1], size[0], length, fps)
        frame = image.find("frame_id", int, image.find("frame_index", int))
        return self._infos[key], image.get("frame_id", int) if frame is None else frame


def _in_order(images: Iterable[_Image]) -> list[_Image]:
    """Frames of a video together, where the first of them stood, in ascending order."""
    places: dict[int, int] = {}
    taken: set[tuple[int, int | None]] = set()
    listed = list(images)
    for number, image in enumerate(listed):
        places.setdefault(id(image.video or image), number)
        frame = id(image.video or image), image.frame
        if frame in taken:
            raise ValueError(f"{image.place}: frame {image.frame} of its video is taken by another image")
        taken.add(frame)
    return sorted(listed, key=lambda image: (places[id(image.video or image)], image.frame or 0))


def _finish(image: _Image) -> AnnotatedImage:
    height, width = image.size
    with at(image.place):
        return AnnotatedImage(image.name, width, height, tuple(image.objects), image.video, image.frame)


def _object(entry: Entry, size: tuple[int, int], labels: Mapping[Key, str]) -> ObjectAnnotation:
    label = DEFAULT_LABEL
    if "category_id" in entry:
        key = entry.key("category_id")
        if labels and key not in labels:
            raise ValueError(f"{entry.place}: there is no category with the id {key!r}")
        label = labels.get(key, str(key))
    attributes = cast(dict[str, Any], dict(entry.find("attributes", dict, {})))
    attributes |= {name: entry.fields[name] for name in _EXTRAS if name in entry}
    if entry.find(_CROWD, int, 0):
        attributes[_CROWD] = 1
    track = entry.find("track_id", int, entry.find("instance_id", int))
    rle = None
    if segmentation := entry.fields.get("segmentation"):
        with at(f"{entry.place}: 'segmentation'"):
            rle = _rle(segmentation, size)
    with at(entry.place):
        return ObjectAnnotation(
            _box(entry, rle), rle, label=label, track_id=track, score=entry.find("score", float), attributes=attributes
        )


def _box(entry: Entry, rle: Rle | None) -> Box:
    if entry.fields.get("bbox"):
        left, top, width, height = entry.numbers("bbox", 4)
        return left, top, left + width, top + height
    if rle is None:
        raise ValueError("it has neither 'segmentation' nor 'bbox'")
    return mask_edges(rle)


def _rle(value: Any, size: tuple[int, int]) -> Rle:
    """The mask of a ``segmentation``, compressed."""
    if isinstance(value, list):
        return encode_mask(_polygons(cast(list[Any], value), size))
    record = cast(dict[str, Any], as_kind(value, dict))
    if record.get("size") != list(size):
        raise ValueError(f"has the size {record.get('size')}, the image {list(size)} (height, width)")
    counts = record.get("counts")
    rle: Rle = {"size": list(size), "counts": counts}
    if not isinstance(counts, str):
        check_rle(rle)
        rle = encode_runs(np.asarray(counts, np.int64), size)
    return rle


def _polygons(values: list[Any], size: tuple[int, int]) -> Mask:
    if not isinstance(values[0], list):  # a single polygon without the list around it
        values = [values]
    polygons: list[Polygon] = []
    for number, value in enumerate(values):
        with at(f"polygon {number}"):
            flat = np.array([as_kind(each, float) for each in cast(list[Any], as_kind(value, list))])
            if len(flat) < 6 or len(flat) % 2:
                raise ValueError(f"must be three pairs of numbers at least, got {len(flat)} numbers")
            polygons.append(check_polygon(np.stack((flat[::2], flat[1::2]), axis=1)))
    mask = polygons_to_mask(polygons, size)
    # what is thinner than a pixel is still there
    return mask if mask.any() else outlines_to_mask(polygons, size)


def _only_file(folder: Path) -> Path:
    """The one COCO file in a folder."""
    files = sorted(file for file in folder.glob("*.json") if not file.name.startswith("."))
    found = [file for file in files if _is_coco(read_json(file))] if len(files) > 1 else files
    if len(found) != 1:
        raise ValueError(f"{folder} must hold one COCO file, got {', '.join(file.name for file in found) or 'none'}")
    return found[0]


def _is_coco(document: Any) -> bool:
    return isinstance(document, dict) and "images" in document and "annotations" in document


def _with_images(path: Path, results: list[Any], pictures: PictureFolder | None) -> Entry:
    """A document of a list of results: images and categories from elsewhere."""
    document = Entry({"results": results}, str(path))
    keys = {entry.key("image_id"): entry for entry in document.entries("results")}
    for sibling in sorted(path.parent.glob("*.json")):
        if sibling == path or sibling.name.startswith("."):
            continue
        try:
            other = read_json(sibling)
            if _is_coco(other) and _by_id(Entry(other, str(sibling)), "images").keys() >= keys.keys():
                return Entry({**other, "results": results}, str(path))
        except ValueError:  # somebody else's file
            continue
    by_number = {PurePosixPath(name).stem.lstrip("0"): name for name in pictures.names} if pictures else {}
    images: list[dict[str, Any]] = []
    for key, entry in keys.items():
        image = {"id": key, "file_name": by_number.get(str(key).lstrip("0"), str(key))}
        mask = entry.fields.get("segmentation")
        if isinstance(mask, dict):
            size = Entry(mask, entry.place).numbers("size", 2)
            image |= dict(zip(("height", "width"), map(int, size), strict=True))
        images.append(image)
    return Entry({"images": images, "results": results}, str(path))
