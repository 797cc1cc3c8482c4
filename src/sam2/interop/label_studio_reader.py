"""Reading Label Studio's JSON of tasks, as it is exported ("JSON") or imported."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, Annotations, Box, ObjectAnnotation, VideoInfo
from sam2.interop.brush_rle import decode_brush
from sam2.interop.fields import (
    Record,
    a_list,
    a_number,
    a_record,
    a_text,
    an_int,
    an_rle,
    maybe_int,
    maybe_number,
    records,
    within,
)
from sam2.interop.files import read_json, video_path
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import Polygon, check_polygon, polygons_to_mask
from sam2.interop.ranges import parse_ranges
from sam2.interop.rle import Rle, check_rle, encode_mask, mask_edges
from sam2.interop.shapes import bounds, ellipse, rectangle, turned

LOCAL_FILES = "/data/local-files/?d="
"""What addresses of local files begin with in Label Studio."""

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_AREAS = ("brush", "polygon", "rectangle", "ellipse")
_MOVED = 0.5
"""Percent of the frame that the box of a mask may be off before somebody has moved it."""

Size = tuple[int, int]


def read_label_studio(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a JSON file of tasks, or a task.

    Of each task the first annotation that is not cancelled counts, else the first prediction; tasks without either are
    left out. Brush masks, polygons, rectangles and ellipses become objects, and tracked rectangles of videos, between
    whose key frames boxes are interpolated; a warning counts what is none of these.

    Args:
        path: the file, or a folder: its ``label_studio*.json``, else all its JSON files.
        images: folder of the pictures and videos, where the file does not say how large these are.

    Raises:
        ValueError: something in the file is wrong; the message names the entry.
    """
    files = [path] if path.is_file() else sorted(path.glob("label_studio*.json")) or sorted(path.glob("*.json"))
    if not files:
        raise ValueError(f"{path} holds no JSON file")
    reader = _Reader(images)
    found: list[AnnotatedImage] = []
    for file in files:
        with within(file):
            document = read_json(file)
            tasks = records({"tasks": document if isinstance(document, list) else [document]}, "tasks")
            for number, task in enumerate(tasks):
                with within(f"task {task.get('id', number)}"):
                    found += reader.read(task)
    if reader.left_out:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(reader.left_out.items()))
        warnings.warn(f"{path}: left out what is no area: {counted}", stacklevel=2)
    return Annotations(found)


@dataclass(slots=True)
class _Reader:
    images: Path | None
    left_out: Counter[str] = field(default_factory=Counter[str])

    def read(self, task: Record) -> list[AnnotatedImage]:
        """The picture of a task, or the frames of its video."""
        results = _results(task)
        if results is None:
            return []
        data = a_record(task.get("data"), "data")
        if "video" in data or any(result.get("type") == "videorectangle" for result in results):
            return list(self._video(data, results))
        return [self._image(data, results)]

    def _image(self, data: Record, results: Sequence[Record]) -> AnnotatedImage:
        name = _name(data, "image")
        areas = [result for result in results if _kind(result) in _AREAS]
        size = _stated_size(data) or next(map(_original_size, areas), None)
        if size is None:
            if self.images is None:
                raise ValueError(f"nothing says how large {name} is: the folder of the pictures would")
            size = PictureFolder(self.images).size(name)
        labels = _labels(results)
        self.left_out.update(kind for result in results if (kind := _kind(result)) not in (*_AREAS, "labels"))
        objects: list[ObjectAnnotation] = []
        for number, result in enumerate(areas):
            with within(f"{_kind(result)} {result.get('id', number)}"):
                objects.append(_object(result, labels, size))
        return AnnotatedImage(name, size[1], size[0], tuple(objects))

    def _video(self, data: Record, results: Sequence[Record]) -> Iterator[AnnotatedImage]:
        info = self._video_info(data)
        tracks = [result for result in results if _kind(result) == "videorectangle"]
        self.left_out.update(kind for result in results if (kind := _kind(result)) not in ("videorectangle", "labels"))
        labels = _labels(results)
        frames: dict[int, list[ObjectAnnotation]] = {}
        annotated: set[int] | None = None
        if data.get("frames"):
            with within("frames"):
                annotated = {number - 1 for number in parse_ranges(a_text(data, "frames"))}
        for frame in annotated or ():
            frames[frame] = []
        taken = {number for result in tracks if (number := _track_id(result)) is not None}
        free = (number for number in range(1, len(tracks) + len(taken) + 1) if number not in taken)
        for number, result in enumerate(tracks):
            with within(f"videorectangle {result.get('id', number)}"):
                known = _track_id(result)
                label = _label(result, labels)
                for frame, item in _track(result, info, label, next(free) if known is None else known):
                    if annotated is None or frame in annotated:
                        frames.setdefault(frame, []).append(item)
        for frame in sorted(frames):
            name = f"{video_path(info.name)}/{frame:05d}.jpg"
            yield AnnotatedImage(name, info.width, info.height, tuple(frames[frame]), info, frame)

    def _video_info(self, data: Record) -> VideoInfo:
        name = _name(data, "video")
        size = _stated_size(data)
        fps, count = maybe_number(data, "fps"), maybe_int(data, "num_frames")
        if size is None:
            file = self.images / name if self.images is not None else None
            if file is None or not file.is_file():
                raise ValueError(f"nothing says how large {name} is: width and height in data, or the folder it is in")
            from sam2.io.frames import open_frames

            with open_frames(file) as frames:
                size, fps, count = (frames.height, frames.width), fps or frames.fps, count or len(frames)
        return VideoInfo(name, size[1], size[0], count, fps)


def _results(task: Record) -> list[Record] | None:
    """The results that count; None if nobody has annotated the task."""
    for kind in ("annotations", "predictions"):
        for made in records(task, kind) if task.get(kind) else []:
            if not made.get("was_cancelled"):
                with within(kind):
                    return records(made, "result")
    return None


def _name(data: Record, key: str) -> str:
    """The name of a picture or video, without what Label Studio puts around it."""
    if data.get("name"):
        return a_text(data, "name")
    address = a_text(data, key, next((value for value in data.values() if isinstance(value, str) and value), None))
    if "?d=" in address:
        return unquote(address.split("?d=", 1)[1]).replace("\\", "/").lstrip("/")
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.scheme or path.startswith("/data/upload/"):
        path = _UPLOAD.sub("", path.rsplit("/", 1)[-1])
    return path.lstrip("/") or address


def _stated_size(data: Record) -> Size | None:
    width, height = maybe_int(data, "width"), maybe_int(data, "height")
    return None if width is None or height is None else (height, width)


def _original_size(result: Record) -> Size:
    return an_int(result, "original_height"), an_int(result, "original_width")


def _kind(result: Record) -> str:
    """Type of a result, without the end that says that it bears labels."""
    kind = a_text(result, "type")
    return kind.removesuffix("labels") or kind


def _labels(results: Sequence[Record]) -> dict[str, str]:
    """Labels of regions whose labels are results of their own, by id."""
    return {
        str(result.get("id")): str(names[0])
        for result in results
        if result.get("type") == "labels" and (names := a_record(result.get("value"), "value").get("labels"))
    }


def _label(result: Record, labels: Mapping[str, str]) -> str:
    value = a_record(result.get("value"), "value")
    for name in (a_text(result, "type"), "labels"):
        if value.get(name):
            return str(a_list(value, name)[0])
    return labels.get(str(result.get("id")), DEFAULT_LABEL)


def _meta(result: Record) -> Record:
    meta = result.get("meta")
    return a_record(meta, "meta") if meta else {}


def _object(result: Record, labels: Mapping[str, str], size: Size) -> ObjectAnnotation:
    if maybe_number(result, "image_rotation"):
        raise ValueError("the picture is turned (image_rotation), which is not supported")
    if result.get("original_width") is not None and _original_size(result) != size:
        height, width = _original_size(result)
        raise ValueError(f"it is for a picture of {width} x {height}, the picture has {size[1]} x {size[0]}")
    value, kind = a_record(result.get("value"), "value"), _kind(result)
    known: dict[str, Any] = {"label": _label(result, labels), "score": maybe_number(result, "score")}
    known["attributes"] = dict(a_record(_meta(result).get("attributes") or {}, "attributes"))
    if kind == "rectangle":
        return ObjectAnnotation(_box(value, size), **known)
    if kind == "brush":
        mask = decode_brush(a_list(value, "rle"), size)
    else:
        mask = polygons_to_mask([_outline(value, size)], size)
    rle = encode_mask(mask)
    return ObjectAnnotation(mask_edges(rle), rle, **known)


def _box(value: Record, size: Size) -> Box:
    """A rectangle in percent, which is turned around its first corner, as the edges around it in pixels."""
    x, y, width, height = (a_number(value, name) for name in ("x", "y", "width", "height"))
    corners = _pixels(rectangle((x, y, x + width, y + height)), size)
    return bounds(turned(corners, maybe_number(value, "rotation") or 0.0, corners[0]))


def _outline(value: Record, size: Size) -> Polygon:
    """The polygon or ellipse of a region, in pixels."""
    if "points" in value:
        return _pixels(check_polygon(a_list(value, "points")), size)
    height, width = size
    x, y, across, down = (a_number(value, name) / 100 for name in ("x", "y", "radiusX", "radiusY"))
    turn = maybe_number(value, "rotation") or 0.0
    return ellipse((x * width, y * height), (across * width, down * height), turn)


def _pixels(percent: Polygon, size: Size) -> Polygon:
    return percent * (size[1] / 100, size[0] / 100)


def _track_id(result: Record) -> int | None:
    return maybe_int(_meta(result), "track_id")


def _track(result: Record, info: VideoInfo, label: str, track: int) -> Iterator[tuple[int, ObjectAnnotation]]:
    """Frame and object for all frames that show a tracked rectangle."""
    value, meta, size = a_record(result.get("value"), "value"), _meta(result), (info.height, info.width)
    masks = a_record(meta.get("rle_by_frame") or {}, "rle_by_frame")
    scores = a_record(meta.get("score_by_frame") or {}, "score_by_frame")
    count = info.num_frames or maybe_int(value, "framesCount")
    for frame, shape in _shapes(records(value, "sequence"), count):
        with within(f"frame {frame}"):
            box, key = _box(shape, size), str(frame)
            score = maybe_number(scores, key)
            score = maybe_number(result, "score") if score is None else score
            rle = _unmoved(an_rle(masks, key), box, size) if key in masks else None
            box = box if rle is None else mask_edges(rle)
            yield frame - 1, ObjectAnnotation(box, rle, label, track, score)


def _unmoved(rle: Rle, box: Box, size: Size) -> Rle | None:
    """A mask that is kept for a frame; None if its box has been changed since."""
    check_rle(rle)
    off = np.abs(np.subtract(mask_edges(rle), box)) / (size[1], size[0], size[1], size[0])
    return rle if off.max() * 100 <= _MOVED else None


def _shapes(sequence: Sequence[Record], count: int | None) -> Iterator[tuple[int, Record]]:
    """Frames from 1 and shapes of a sequence of key frames: what is enabled goes on to the next, or to the end."""
    keys = sorted(((an_int(shape, "frame"), shape) for shape in sequence), key=lambda pair: pair[0])
    for number, (frame, shape) in enumerate(keys):
        if frame < 1:
            raise ValueError(f"frames count from 1, got {frame}")
        yield frame, shape
        if not shape.get("enabled", True):
            continue
        if number + 1 == len(keys):
            yield from ((later, shape) for later in range(frame + 1, (count or frame) + 1))
            continue
        end, other = keys[number + 1]
        for later in range(frame + 1, end):
            share = (later - frame) / (end - frame)
            names = ("x", "y", "width", "height")
            yield later, {name: a_number(shape, name) * (1 - share) + a_number(other, name) * share for name in names}
