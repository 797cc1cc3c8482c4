"""Reading Label Studio's JSON of tasks, as it is exported ("JSON") or imported."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import numpy as np

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, Annotations, Box, ObjectAnnotation, VideoInfo
from sam2.interop.brush_rle import decode_brush
from sam2.interop.entries import Entry, at
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
        document = read_json(file)
        tasks = cast(list[Any], document) if isinstance(document, list) else [document]
        for number, value in enumerate(tasks):
            task = Entry(value, f"{file}: task {number}")
            task.place = f"{file}: task {task.fields.get('id', number)}"
            found += reader.read(task)
    if reader.left_out:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(reader.left_out.items()))
        warnings.warn(f"{path}: left out what is no area: {counted}", stacklevel=2)
    return Annotations(found)


@dataclass(slots=True)
class _Reader:
    images: Path | None
    left_out: Counter[str] = field(default_factory=Counter[str])

    def read(self, task: Entry) -> list[AnnotatedImage]:
        """The picture of a task, or the frames of its video."""
        results = _results(task)
        if results is None:
            return []
        data = task.child("data")
        if "video" in data or any(_kind(result) == "videorectangle" for result in results):
            return list(self._video(data, results))
        return [self._image(data, results)]

    def _image(self, data: Entry, results: Sequence[Entry]) -> AnnotatedImage:
        name = _name(data, "image")
        areas = [result for result in results if _kind(result) in _AREAS]
        size = _stated_size(data) or next(map(_original_size, areas), None)
        if size is None:
            if self.images is None:
                raise ValueError(f"{data.place}: nothing says how large {name} is: the folder of the pictures would")
            size = PictureFolder(self.images).size(name)
        labels = _labels(results)
        self.left_out.update(kind for result in results if (kind := _kind(result)) not in (*_AREAS, "labels"))
        objects = tuple(_object(result, labels, size) for result in areas)
        return AnnotatedImage(name, size[1], size[0], objects)

    def _video(self, data: Entry, results: Sequence[Entry]) -> Iterator[AnnotatedImage]:
        info = self._video_info(data)
        tracks = [result for result in results if _kind(result) == "videorectangle"]
        self.left_out.update(kind for result in results if (kind := _kind(result)) not in ("videorectangle", "labels"))
        labels, annotated = _labels(results), _annotated(data)
        frames: dict[int, list[ObjectAnnotation]] = {frame: [] for frame in annotated or ()}
        taken = {number for result in tracks if (number := _meta(result).find("track_id", int)) is not None}
        free = (number for number in count(1) if number not in taken)
        for result in tracks:
            known = _meta(result).find("track_id", int)
            for frame, item in _track(result, info, _label(result, labels), next(free) if known is None else known):
                if annotated is None or frame in annotated:
                    frames.setdefault(frame, []).append(item)
        for frame in sorted(frames):
            name = f"{video_path(info.name)}/{frame:05d}.jpg"
            with at(data.place):
                yield AnnotatedImage(name, info.width, info.height, tuple(frames[frame]), info, frame)

    def _video_info(self, data: Entry) -> VideoInfo:
        name = _name(data, "video")
        size = _stated_size(data)
        fps, length = data.find("fps", float), data.find("num_frames", int)
        if size is None:
            file = self.images / name if self.images is not None else None
            if file is None or not file.is_file():
                raise ValueError(
                    f"{data.place}: nothing says how large {name} is: width and height here, or the folder it is in"
                )
            from sam2.io.frames import open_frames

            with open_frames(file) as frames:
                size, fps, length = (frames.height, frames.width), fps or frames.fps, length or len(frames)
        return VideoInfo(name, size[1], size[0], length, fps)


def _results(task: Entry) -> list[Entry] | None:
    """The results that count; None if nobody has annotated the task."""
    for kind in ("annotations", "predictions"):
        for made in task.entries(kind):
            if not made.fields.get("was_cancelled"):
                made.items("result")  # has to be there
                return list(made.entries("result"))
    return None


def _name(data: Entry, key: str) -> str:
    """The name of a picture or video, without what Label Studio puts around it."""
    if "name" in data:
        return data.get("name", str)
    others = (value for value in data.fields.values() if isinstance(value, str) and value)
    address = data.find(key, str) or next(others, None) or data.get(key, str)
    if "?d=" in address:
        return unquote(address.split("?d=", 1)[1]).replace("\\", "/").lstrip("/")
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.scheme or path.startswith("/data/upload/"):
        path = _UPLOAD.sub("", path.rsplit("/", 1)[-1])
    return path.lstrip("/") or address


def _annotated(data: Entry) -> set[int] | None:
    """The frames, from 0, that our own files name; None in those of others."""
    if "frames" not in data:
        return None
    with at(f"{data.place}: frames"):
        return {number - 1 for number in parse_ranges(data.get("frames", str))}


def _stated_size(data: Entry) -> Size | None:
    width, height = data.find("width", int), data.find("height", int)
    return None if width is None or height is None else (height, width)


def _original_size(result: Entry) -> Size:
    return result.get("original_height", int), result.get("original_width", int)


def _kind(result: Entry) -> str:
    """Type of a result, without the end that says that it bears labels."""
    kind = result.get("type", str)
    return kind.removesuffix("labels") or kind


def _labels(results: Sequence[Entry]) -> dict[str, str]:
    """Labels of regions whose labels are results of their own, by id."""
    return {
        str(result.fields.get("id")): str(names[0])
        for result in results
        if result.fields["type"] == "labels" and (names := result.child("value").items("labels"))
    }


def _label(result: Entry, labels: Mapping[str, str]) -> str:
    value = result.child("value")
    for name in (result.get("type", str), "labels"):
        if value.fields.get(name):
            return str(value.items(name)[0])
    return labels.get(str(result.fields.get("id")), DEFAULT_LABEL)


def _meta(result: Entry) -> Entry:
    return Entry(result.fields.get("meta") or {}, f"{result.place}: meta")


def _object(result: Entry, labels: Mapping[str, str], size: Size) -> ObjectAnnotation:
    if result.find("image_rotation", float):
        raise ValueError(f"{result.place}: the picture is turned (image_rotation), which is not supported")
    if "original_width" in result and _original_size(result) != size:
        height, width = _original_size(result)
        raise ValueError(f"{result.place} is for {width} x {height}, the picture has {size[1]} x {size[0]}")
    value, kind = result.child("value"), _kind(result)
    known: dict[str, Any] = {"label": _label(result, labels), "score": result.find("score", float)}
    known["attributes"] = dict(_meta(result).find("attributes", dict, {}))
    if kind == "rectangle":
        box = _box(value, size)
        with at(value.place):
            return ObjectAnnotation(box, **known)
    if kind == "brush":
        data = value.items("rle")
        with at(value.place):
            mask = decode_brush(data, size)
    else:
        mask = polygons_to_mask([_outline(value, size)], size)
    rle = encode_mask(mask)
    return ObjectAnnotation(mask_edges(rle), rle, **known)


def _box(value: Entry, size: Size) -> Box:
    """A rectangle in percent, which is turned around its first corner, as the edges around it in pixels."""
    x, y, width, height = (value.get(name, float) for name in ("x", "y", "width", "height"))
    corners = _pixels(rectangle((x, y, x + width, y + height)), size)
    return bounds(turned(corners, value.find("rotation", float, 0.0), corners[0]))


def _outline(value: Entry, size: Size) -> Polygon:
    """The polygon or ellipse of a region, in pixels."""
    if "points" in value:
        points = value.items("points")
        with at(f"{value.place}: 'points'"):
            return _pixels(check_polygon(points), size)
    height, width = size
    x, y, across, down = (value.get(name, float) / 100 for name in ("x", "y", "radiusX", "radiusY"))
    turn = value.find("rotation", float, 0.0)
    return ellipse((x * width, y * height), (across * width, down * height), turn)


def _pixels(percent: Polygon, size: Size) -> Polygon:
    return percent * (size[1] / 100, size[0] / 100)


def _track(result: Entry, info: VideoInfo, label: str, track: int) -> Iterator[tuple[int, ObjectAnnotation]]:
    """Frame and object for all frames that show a tracked rectangle."""
    value, meta, size = result.child("value"), _meta(result), (info.height, info.width)
    value.items("sequence")  # has to be there
    masks = Entry(meta.find("rle_by_frame", dict, {}), f"{meta.place}: rle_by_frame")
    scores = Entry(meta.find("score_by_frame", dict, {}), f"{meta.place}: score_by_frame")
    length = info.num_frames or value.find("framesCount", int)
    for frame, shape in _shapes(value.entries("sequence"), length):
        box, key = _box(shape, size), str(frame)
        score = scores.find(key, float)
        score = result.find("score", float) if score is None else score
        rle = _unmoved(masks.child(key), box, size) if key in masks else None
        with at(shape.place):
            yield frame - 1, ObjectAnnotation(box if rle is None else mask_edges(rle), rle, label, track, score)


def _unmoved(kept: Entry, box: Box, size: Size) -> Rle | None:
    """A mask that is kept for a frame; None if its box has been changed since."""
    rle: Rle = {"size": kept.items("size"), "counts": kept.fields.get("counts")}
    with at(kept.place):
        check_rle(rle)
    off = np.abs(np.subtract(mask_edges(rle), box)) / (size[1], size[0], size[1], size[0])
    return rle if off.max() * 100 <= _MOVED else None


def _shapes(sequence: Iterable[Entry], length: int | None) -> Iterator[tuple[int, Entry]]:
    """Frames from 1 and shapes of a sequence of key frames: what is enabled goes on to the next, or to the end."""
    keys = sorted(((shape.get("frame", int), shape) for shape in sequence), key=lambda pair: pair[0])
    for number, (frame, shape) in enumerate(keys):
        if frame < 1:
            raise ValueError(f"{shape.place}: frames count from 1, got {frame}")
        yield frame, shape
        if not shape.fields.get("enabled", True):
            continue
        if number + 1 == len(keys):
            yield from ((later, shape) for later in range(frame + 1, (length or frame) + 1))
            continue
        end, other = keys[number + 1]
        for later in range(frame + 1, end):
            share = (later - frame) / (end - frame)
            names = ("x", "y", "width", "height")
            sides = {name: shape.get(name, float) * (1 - share) + other.get(name, float) * share for name in names}
            yield later, Entry(sides, shape.place)
