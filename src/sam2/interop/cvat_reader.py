"""Reading CVAT's XML 1.1, image by image and track by track, from files of other people: no entities, no DTD."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from sam2.interop.annotations import AnnotatedImage, Annotations, Box, ObjectAnnotation, VideoInfo
from sam2.interop.entries import at
from sam2.interop.files import video_path
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import Polygon, polygons_to_mask
from sam2.interop.ranges import parse_ranges
from sam2.interop.rle import Rle, encode_mask, encode_runs, mask_edges, runs_to_mask, window_to_runs
from sam2.interop.shapes import bounds, ellipse, rectangle, turned

SCORE = "score"
"""The attribute that holds what CVAT has no place for."""

_AREAS = ("mask", "polygon", "box", "ellipse")
_NO_AREAS = ("polyline", "points", "cuboid", "skeleton", "tag")

Size = tuple[int, int]


def read_cvat(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a file of CVAT, of images or tracks, or all in a folder.

    Masks, polygons, boxes and ellipses become objects; a warning counts what has no area: points, lines, tags.
    Of a video, frames are read in which a track has a shape, or ends, and all that our own files name.

    Args:
        path: file or folder.
        images: folder of the pictures, for files that do not say how large these are.

    Raises:
        ValueError: something in a file is wrong, or it declares a document type; the message names the file.
    """
    files = [path] if path.is_file() else sorted(file for file in path.glob("*.xml") if not file.name.startswith("."))
    if not files:
        raise ValueError(f"{path} holds no XML file")
    pictures = None if images is None else PictureFolder(images)
    found: list[AnnotatedImage] = []
    labels: list[str] = []
    for file in files:
        with at(str(file)):
            document = _Document(file.stem, pictures)
            for element in _elements(file):
                document.take(element)
            found += document.finish()
        labels += document.labels
        if document.left_out:
            counted = ", ".join(f"{count} {kind}" for kind, count in sorted(document.left_out.items()))
            warnings.warn(f"{file}: left out what has no area: {counted}", stacklevel=2)
    return Annotations(found, tuple(labels))


def _elements(path: Path) -> Iterator[Element]:
    """What is directly below ``annotations``, one after the other, each with all that it holds."""
    parser, builder = expat.ParserCreate(), TreeBuilder()
    above: list[Element] = []
    finished: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not above and tag != "annotations":
            raise ValueError(f"it is not a file of CVAT: it begins with <{tag}>, not with <annotations>")
        above.append(builder.start(tag, attributes))

    def end(tag: str) -> None:
        element = builder.end(tag)
        above.pop()
        if len(above) == 1:
            finished.append(element)
            above[0].clear()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which CVAT does not do and which is refused")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    with path.open("rb") as file:
        while True:
            data = file.read(1 << 20)
            try:
                parser.Parse(data, not data)
            except expat.ExpatError as error:
                raise ValueError(f"it is not XML: {error}") from None
            yield from finished
            finished.clear()
            if not data:
                return


@dataclass(slots=True)
class _Document:
    """A file that is being read."""

    stem: str
    pictures: PictureFolder | None
    labels: list[str] = field(default_factory=list[str])
    left_out: Counter[str] = field(default_factory=Counter[str])
    images: list[AnnotatedImage] = field(default_factory=list[AnnotatedImage])
    frames: dict[int, list[ObjectAnnotation]] = field(default_factory=dict[int, list[ObjectAnnotation]])
    ends: set[int] = field(default_factory=set[int])
    name: str = ""
    length: int | None = None
    size: Size | None = None
    fps: float | None = None
    annotated: list[int] | None = None

    def take(self, element: Element) -> None:
        """Read an element directly below ``annotations``."""
        if element.tag == "meta":
            self._take_meta(element)
        elif element.tag == "image":
            with at(f"image {element.get('id')}"):
                self.images.append(self._image(element))
        elif element.tag == "track":
            with at(f"track {element.get('id')}"):
                self._take_track(element)

    def finish(self) -> list[AnnotatedImage]:
        """All images, and all frames in order."""
        if not self.frames and not self.annotated:
            return self.images
        height, width = self._video_size()
        video = VideoInfo(self.name or self.stem, width, height, self.length, self.fps)
        annotated = self.annotated
        if annotated is None:
            # an end after all shapes is only there so that CVAT does not go on with the last of them
            last = max(self.frames)
            annotated = [end for end in self.ends if end < last]
        for frame in sorted({*self.frames, *annotated}):
            name = f"{video_path(video.name)}/{frame:05d}.jpg"
            with at(f"frame {frame}"):
                objects = tuple(self.frames.get(frame, ()))
                self.images.append(AnnotatedImage(name, width, height, objects, video, frame))
        return self.images

    def _take_meta(self, meta: Element) -> None:
        self.labels += [
            name.text for label in meta.iter("label") if (name := label.find("name")) is not None and name.text
        ]
        own = meta.find("sam2")
        if own is not None:
            with at("meta/sam2"):
                known = {child.tag: (child.text or "").strip() for child in own}
                self.fps = _number(known, "fps") if known.get("fps") else None
                self.annotated = parse_ranges(known.get("frames", ""))
        task = next((found for kind in ("task", "job") if (found := meta.find(kind)) is not None), None)
        if task is None:
            return
        texts = {child.tag: (child.text or "").strip() for child in task}
        with at("meta"):
            self.name = texts.get("source") or texts.get("name") or ""
            self.length = _whole(texts, "size") if texts.get("size") else None
            size = task.find("original_size")
            if size is not None:
                sides = {child.tag: (child.text or "").strip() for child in size}
                self.size = _whole(sides, "height"), _whole(sides, "width")

    def _video_size(self) -> Size:
        if self.size is not None:
            return self.size
        if self.pictures is None or not self.pictures.names:
            raise ValueError("it does not say how large the video is (original_size), and there are no pictures of it")
        return self.pictures.size(self.pictures.names[0])

    def _image(self, element: Element) -> AnnotatedImage:
        known = element.attrib
        name = _text(known, "name")
        size = _whole(known, "height"), _whole(known, "width")
        shapes = self._shapes(element)
        objects = [_object(shape, _text(shape.attrib, "label"), size) for shape in shapes]
        return AnnotatedImage(name, size[1], size[0], tuple(objects))

    def _take_track(self, element: Element) -> None:
        size = self._video_size()
        label, number = _text(element.attrib, "label"), _whole(element.attrib, "id")
        for shape in self._shapes(element):
            frame = _whole(shape.attrib, "frame")
            if shape.get("outside") == "1":
                self.ends.add(frame)
                continue
            with at(f"frame {frame}"):
                self.frames.setdefault(frame, []).append(_object(shape, label, size, track=number))

    def _shapes(self, element: Element) -> list[Element]:
        self.left_out.update(child.tag for child in element if child.tag in _NO_AREAS)
        return [child for child in element if child.tag in _AREAS]


def _object(shape: Element, label: str, size: Size, *, track: int | None = None) -> ObjectAnnotation:
    with at(shape.tag):
        texts = {_text(entry.attrib, "name"): entry.text or "" for entry in shape.iter("attribute")}
        score = _number(texts, SCORE) if texts.get(SCORE) else None
        others = {name: text for name, text in texts.items() if name != SCORE}
        if shape.tag == "box":
            return ObjectAnnotation(_box(shape.attrib), None, label, track, score, others)
        exact = shape.tag == "mask"
        rle = _mask(shape.attrib, size) if exact else encode_mask(polygons_to_mask([_outline(shape)], size))
        return ObjectAnnotation(mask_edges(rle), rle, label, track, score, others)


def _mask(known: Mapping[str, str], size: Size) -> Rle:
    left, top, width, height = (_whole(known, name) for name in ("left", "top", "width", "height"))
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width} x {height}")
    try:
        runs = np.array([int(run) for run in _text(known, "rle").split(",")], np.int64)
    except (OverflowError, ValueError):
        raise ValueError("rle must be whole numbers with commas between") from None
    missing = width * height - int(runs.sum())
    if missing > 0 and len(runs) % 2 == 0:  # the last run of background may be left out
        runs = np.append(runs, missing)
    columns = runs_to_mask(runs, (width, height))  # its columns are the rows of the part
    return encode_runs(window_to_runs(columns, (left, top), size), size)


def _box(known: Mapping[str, str]) -> Box:
    x0, y0, x1, y1 = (_number(known, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    return bounds(turned(rectangle((x0, y0, x1, y1)), _rotation(known), ((x0 + x1) / 2, (y0 + y1) / 2)))


def _outline(shape: Element) -> Polygon:
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in _text(shape.attrib, "points").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("points must be x,y;x,y;...")
        return np.array([[_number({"points": value}, "points") for value in pair] for pair in pairs])
    x, y, across, down = (_number(shape.attrib, name) for name in ("cx", "cy", "rx", "ry"))
    return ellipse((x, y), (across, down), _rotation(shape.attrib))


def _rotation(known: Mapping[str, str]) -> float:
    return _number(known, "rotation") if known.get("rotation") else 0.0


def _text(known: Mapping[str, str], name: str) -> str:
    text = known.get(name)
    if not text:
        raise ValueError(f"{name!r} is missing")
    return text


def _number(known: Mapping[str, str], name: str) -> float:
    text = _text(known, name)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name!r} must be a number, got {text[:40]!r}")
    return number


def _whole(known: Mapping[str, str], name: str) -> int:
    number = _number(known, name)
    if number != int(number):
        raise ValueError(f"{name!r} must be a whole number, got {known[name][:40]!r}")
    return int(number)
