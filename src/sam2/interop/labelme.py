"""LabelMe: a JSON file a picture, with shapes: polygons, masks or rectangles.

Parts of an object are shapes of one ``group_id``, which is its track id where it has one; holes are joined to their
outline. LabelMe has no fields for scores, attributes, track ids and videos: they stand beside its own, where it keeps
them (as do tools that build on it). Empty masks are lost.
"""

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.files import DraftFolder, inner_path, json_text
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import INSET, Polygon, check_polygon, mask_to_polygons, outlines_to_mask, polygons_to_mask
from sam2.interop.rle import Mask

_VERSION = "5.5.0"
"""Of LabelMe, whose files these are."""

_AREAS = ("polygon", "rectangle", "mask", "circle", "oriented_rectangle")
_LINES = ("point", "line", "linestrip", "points")


class LabelmeWriter:
    """Writes ``labelme/NAME.json``, made to lie beside the picture: shapes of ``a/b.jpg`` are in ``labelme/a/b.json``.

    Args:
        output: the folder to write to.
        labels: names of classes; LabelMe has no numbers for them, so they are not needed.
        masks: write masks as masks in place of polygons.
        tolerance: how far polygons may be from the exact outline, in pixels.
    """

    def __init__(
        self, output: Path, *, labels: Sequence[str] = (), masks: bool = False, tolerance: float = 0.0
    ) -> None:
        self._masks, self._tolerance = masks, tolerance
        self._folder = DraftFolder(output / "labelme")

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture."""
        name = inner_path(image.name)
        document: dict[str, Any] = {"version": _VERSION, "flags": {}, "shapes": list(self._shapes(image))}
        document |= {"imagePath": name.name, "imageData": None, "imageHeight": image.height, "imageWidth": image.width}
        if image.video is not None:
            video = {"name": image.video.name, "num_frames": image.video.num_frames, "fps": image.video.fps}
            document |= {"video": video, "frame": image.frame}
        place = self._folder.place(name.with_suffix(".json"), unique=True)
        place.write_bytes((json_text(document) + "\n").encode())

    def close(self) -> list[Path]:
        """Finish; the folder."""
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._folder.discard()

    def _shapes(self, image: AnnotatedImage) -> Iterator[dict[str, Any]]:
        tracks = {item.track_id for item in image.objects}
        free = (number for number in count(1) if number not in tracks)
        for item in image.objects:
            drawn = self._drawn(item)
            group = item.track_id if item.track_id is not None or len(drawn) < 2 else next(free)
            known = {"score": item.score, "track_id": item.track_id, "attributes": dict(item.attributes) or None}
            for shape in drawn:
                common: dict[str, Any] = {"label": item.label, "group_id": group, "description": "", "flags": {}}
                yield common | {"mask": None} | shape | {name: v for name, v in known.items() if v is not None}

    def _drawn(self, item: ObjectAnnotation) -> list[dict[str, Any]]:
        """The geometry of the shapes of an object."""
        x0, y0, x1, y1 = item.box
        if item.rle is None:
            return [{"shape_type": "rectangle", "points": [[x0, y0], [x1, y1]]}]
        mask = item.mask()
        if self._masks:
            return [_mask_shape(mask)] if mask.any() else []
        polygons = mask_to_polygons(mask, tolerance=self._tolerance, within=INSET)
        return [{"shape_type": "polygon", "points": np.round(polygon, 4).tolist()} for polygon in polygons]


def _mask_shape(mask: Mask) -> dict[str, Any]:
    """A PNG of the part that is set, and its first and last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask[y0 : y1 + 1, x0 : x1 + 1])).save(file, format="PNG")
    points = [[x0, y0], [x1, y1]]
    return {"shape_type": "mask", "points": points, "mask": base64.b64encode(file.getvalue()).decode("ascii")}


def read_labelme(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a file, or all of a folder and the folders in it.

    Polygons, masks, circles and rotated rectangles become masks, rectangles boxes; points and lines are left out.
    Shapes of one class and ``group_id`` are one object.

    Args:
        path: file or folder.
        images: folder of the pictures, where a file lacks their sizes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it is wrong; the message names the file and the shape.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    base = path if path.is_dir() else path.parent
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.json") if not file.name.startswith("."))
        if not files:
            raise ValueError(f"{path} holds no JSON file")
    pictures = None if images is None else PictureFolder(images)
    videos: dict[str, VideoInfo] = {}
    found = [_read(file, PurePosixPath(file.relative_to(base).parent), pictures, videos) for file in files]
    order = {name: number for number, name in enumerate(videos)}
    # still pictures first, then one video after the other
    found.sort(key=lambda image: (-1, 0) if image.video is None else (order[image.video.name], image.frame or 0))
    return Annotations(found)


def _read(
    file: Path, folder: PurePosixPath, pictures: PictureFolder | None, videos: dict[str, VideoInfo]
) -> AnnotatedImage:
    document = Entry.read(file)
    document.items("shapes")
    picture = PurePosixPath(document.find("imagePath", str, "").replace("\\", "/")).name or f"{file.stem}.jpg"
    name = (folder / picture).as_posix()
    size = _size(document, name, pictures)
    video = frame = None
    if "video" in document and "frame" in document:
        known = Entry(document.get("video", dict), f"{file}: video")
        title, total, fps = known.get("name", str), known.find("num_frames", int), known.find("fps", float)
        video = videos.setdefault(title, VideoInfo(title, size[1], size[0], total, fps))
        frame = document.get("frame", int)
    groups: dict[tuple[str, int | str], list[Entry]] = {}
    for number, shape in enumerate(document.entries("shapes")):
        if shape.get("shape_type", str) not in (*_AREAS, *_LINES):
            raise ValueError(f"{shape.place}: 'shape_type' must be one of {', '.join((*_AREAS, *_LINES))}")
        if shape.get("shape_type", str) in _AREAS:
            group = shape.find("group_id", int)
            key = f"shape {number}" if group is None else group
            groups.setdefault((shape.get("label", str), key), []).append(shape)
    objects = tuple(_object(shapes, size) for shapes in groups.values())
    with at(str(file)):
        return AnnotatedImage(name, size[1], size[0], objects, video, frame)


def _size(document: Entry, name: str, pictures: PictureFolder | None) -> tuple[int, int]:
    """(height, width) of the picture."""
    if "imageHeight" in document and "imageWidth" in document:
        return document.size("imageWidth", "imageHeight")
    if pictures is None:
        raise ValueError(f"{document.place}: no imageHeight and imageWidth; the pictures (images=) would tell them")
    try:
        return pictures.size(name)
    except FileNotFoundError as error:
        raise ValueError(f"{document.place}: {error}") from None


def _object(shapes: Sequence[Entry], size: tuple[int, int]) -> ObjectAnnotation:
    """One object of the shapes of a group."""
    first = shapes[0]
    fields: dict[str, Any] = {"label": first.get("label", str), "score": first.find("score", float)}
    fields |= {"track_id": first.find("track_id", int), "attributes": first.find("attributes", dict, {})}
    with at(first.place):
        if len(shapes) == 1 and first.get("shape_type", str) == "rectangle":
            return ObjectAnnotation(_box(_points(first)), **fields)
    mask = np.zeros(size, bool)
    for shape in shapes:
        with at(shape.place):
            mask |= _shape_mask(shape, size)
    with at(first.place):
        return ObjectAnnotation.from_mask(mask, **fields)


def _shape_mask(shape: Entry, size: tuple[int, int]) -> Mask:
    points, kind = _points(shape), shape.get("shape_type", str)
    if kind == "mask":
        return _pasted(_decoded(shape.get("mask", str)), points, size)
    if kind == "circle":
        _count(points, 2)
        y, x = np.ogrid[: size[0], : size[1]]
        radius = np.hypot(*(points[1] - points[0]))
        return np.hypot(x + 0.5 - points[0, 0], y + 0.5 - points[0, 1]) <= radius
    if kind == "rectangle":
        x0, y0, x1, y1 = _box(points)
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    elif len(points) < 3:
        raise ValueError(f"'points' must hold at least three points of a {kind}, got {len(points)}")
    mask = polygons_to_mask([points], size)
    # what is thinner than a pixel is still there
    return mask if mask.any() else outlines_to_mask([points], size)


def _points(shape: Entry) -> Polygon:
    points: list[tuple[float, float]] = []
    for number, value in enumerate(shape.items("points")):
        with at(f"point {number}"):
            pair = cast(list[Any], as_kind(value, list))
            if len(pair) != 2:
                raise ValueError(f"must be (x, y), got {len(pair)} numbers")
            points.append((as_kind(pair[0], float), as_kind(pair[1], float)))
    if not points:
        raise ValueError("'points' must not be empty")
    return check_polygon(points)


def _count(points: Polygon, number: int) -> None:
    if len(points) != number:
        raise ValueError(f"'points' must hold {number} points, got {len(points)}")


def _box(points: Polygon) -> tuple[float, float, float, float]:
    """The box between two corners, or around four."""
    if len(points) != 4:
        _count(points, 2)
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    return x0, y0, x1, y1


def _decoded(text: str) -> Mask:
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error:
        raise ValueError("'mask' must be a PNG in base64") from None
    picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if picture is None:
        raise ValueError("'mask' must be a PNG in base64")
    return picture > 0


def _pasted(part: Mask, points: Polygon, size: tuple[int, int]) -> Mask:
    """A mask whose first pixel is at the first of ``points``."""
    _count(points, 2)
    left, top = round(float(points[0, 0])), round(float(points[0, 1]))
    mask = np.zeros(size, bool)
    # what reaches out of the picture is cut off
    part = part[max(0, -top) :, max(0, -left) :]
    target = mask[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]]
    target |= part[: target.shape[0], : target.shape[1]]
    return mask
