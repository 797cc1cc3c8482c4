"""CVAT's XML, version 1.1: "CVAT for images" with exact masks, and "CVAT for video" with tracks.

CVAT has no tracks of masks: of a track of masks it reads the first. Objects of a video are tracks of polygons for
that reason, one polygon a frame: parts and holes are joined by bridges.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from sam2.interop.annotations import AnnotatedImage, Box, ObjectAnnotation, VideoInfo
from sam2.interop.bridges import Polygon, join_polygons
from sam2.interop.cvat_reader import SCORE, read_cvat
from sam2.interop.files import Draft, DraftFolder, legal_xml, video_path
from sam2.interop.polygons import mask_to_polygons
from sam2.interop.ranges import ranges_text
from sam2.interop.rle import Rle, decode_mask, mask_edges, mask_to_runs

__all__ = ["CvatWriter", "read_cvat"]


_Attributes = Mapping[str, object]


class CvatWriter:
    """Writes ``cvat.xml`` for still pictures and ``cvat_VIDEO.xml`` for each video.

    Args:
        output: the folder to write to.
        labels: names of classes.
        tolerance: how far outlines in videos may be from the exact ones, in pixels: exact ones have many vertices.
    """

    def __init__(self, output: Path, *, labels: Sequence[str] = (), tolerance: float = 0.0) -> None:
        self._labels = dict.fromkeys(labels)
        self._tolerance = tolerance
        self._folder = DraftFolder(output, name="cvat")
        self._stills: _Stills | None = None
        self._video: _Tracks | None = None

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture or frame; objects whose masks are empty are left out."""
        self._labels |= dict.fromkeys(item.label for item in image.objects)
        if image.video is None:
            self._stills = self._stills or _Stills(self._folder)
            self._stills.add(image)
            return
        if self._video is None or self._video.info.name != image.video.name:
            self._end_video()
            self._video = _Tracks(image.video, self._folder)
        self._video.add(image, self._tolerance)

    def close(self) -> list[Path]:
        """Finish; the files."""
        wrote_videos = self._video is not None
        self._end_video()
        if self._stills is None and not wrote_videos:
            self._stills = _Stills(self._folder)  # an empty file says that there was nothing
        if self._stills is not None:
            self._stills.write(self._folder.place("cvat.xml"), list(self._labels))
        return self._folder.close()

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        for spool in (self._stills, self._video):
            if spool is not None:
                spool.file.close()
        self._folder.discard()

    def _end_video(self) -> None:
        if self._video is not None:
            name = "_".join(video_path(self._video.info.name).parts)
            self._video.write(self._folder.place(f"cvat_{name}.xml", unique=True), list(self._labels))
            self._video = None


class _Stills:
    """Still pictures on their way: what is known of all of them in the end comes first in the file."""

    def __init__(self, folder: DraftFolder) -> None:
        self.file = folder.scratch()
        self._count = 0

    def add(self, image: AnnotatedImage) -> None:
        head = {"id": self._count, "name": image.name, "width": image.width, "height": image.height}
        shapes = [_exact_shape(item) for item in image.objects]
        lines = [f"  <image{_attributes(head)}>\n"]
        for item, shape in zip(image.objects, shapes, strict=True):
            if shape is not None:
                kind, geometry = shape
                known = {"label": item.label, "source": _source(item), "occluded": 0, **geometry, "z_order": 0}
                lines.append(f"    <{kind}{_attributes(known)}>{_extras(item)}</{kind}>\n")
        self.file.write("".join([*lines, "  </image>\n"]).encode())
        self._count += 1

    def write(self, path: Path, labels: Sequence[str]) -> None:
        task = {"name": "sam2", "size": self._count, "mode": "annotation", **_range(self._count)}
        with self.file, Draft(path) as draft:
            draft.write(_header(task, labels))
            self.file.seek(0)
            while data := self.file.read(1 << 20):
                draft.write(data)
            draft.write("</annotations>\n")


class _Tracks:
    """One video on its way: its shapes as they come, and for each track where its own stand in the file."""

    def __init__(self, info: VideoInfo, folder: DraftFolder) -> None:
        self.info = info
        self.file = folder.scratch()
        self._frames = array("q")
        self._tracks: dict[tuple[int, str], tuple[str, str, array[int]]] = {}
        self._unnamed = 0

    def add(self, image: AnnotatedImage, tolerance: float) -> None:
        """Take a frame; outlines are within ``tolerance`` of the exact ones."""
        assert image.frame is not None
        index = len(self._frames)
        self._frames.append(image.frame)
        for item in image.objects:
            shape = _outline_shape(item, tolerance)
            if shape is None:
                continue
            kind, geometry = shape
            track = item.track_id
            if track is None:
                self._unnamed -= 1
            key = (self._unnamed if track is None else track, kind)
            places = self._tracks.setdefault(key, (item.label, _source(item), array("q")))[2]
            places.append(self.file.tell())
            self.file.write(f"{index}\t{_attributes(geometry)}\t{_extras(item)}\n".encode())

    def write(self, path: Path, labels: Sequence[str]) -> None:
        frames, info = self._frames, self.info
        size = info.num_frames or (frames[-1] + 1 if frames else 0)
        task = {"name": info.name, "size": size, "mode": "interpolation", **_range(size)}
        top = max((track for track, _ in self._tracks), default=-1)
        with self.file, Draft(path) as draft:
            draft.write(_header(task, labels, info, ranges_text(frames)))
            for (track, kind), (label, source, places) in self._tracks.items():
                number = track if track >= 0 else top - track  # those without a number come after all others
                draft.write(f"  <track{_attributes({'id': number, 'label': label, 'source': source})}>\n")
                draft.write("".join(self._lines(kind, places, size)))
                draft.write("  </track>\n")
            draft.write("</annotations>\n")

    def _lines(self, kind: str, places: Iterable[int], size: int) -> Iterable[str]:
        """The shapes of a track, and one that is outside in the next annotated frame wherever it ends."""
        frames = self._frames
        last: tuple[int, str, str] | None = None
        for place in places:
            self.file.seek(place)
            index, geometry, extras = self.file.readline().decode().rstrip("\n").split("\t")
            if last is not None and last[0] + 1 < int(index):
                yield _track_shape(kind, frames[last[0] + 1], last[1], "", outside=1)
            yield _track_shape(kind, frames[int(index)], geometry, extras)
            last = int(index), geometry, extras
        if last is not None:
            end = frames[last[0] + 1] if last[0] + 1 < len(frames) else frames[last[0]] + 1
            if end < size:
                yield _track_shape(kind, end, last[1], "", outside=1)


def _track_shape(kind: str, frame: int, geometry: str, extras: str, *, outside: int = 0) -> str:
    state = {"frame": frame, "keyframe": 1, "outside": outside, "occluded": 0}
    return f'    <{kind}{_attributes(state)}{geometry} z_order="0">{extras}</{kind}>\n'


def _exact_shape(item: ObjectAnnotation) -> tuple[str, _Attributes] | None:
    """Element and geometry of an object: its mask, its box where it has none; None if the mask is empty."""
    if item.rle is None:
        return "box", _box(item.box)
    return ("mask", _mask(item.rle)) if item.area else None


def _outline_shape(item: ObjectAnnotation, tolerance: float) -> tuple[str, _Attributes] | None:
    """The same with one polygon in place of the mask."""
    if item.rle is None:
        return "box", _box(item.box)
    polygon = join_polygons(mask_to_polygons(item.mask(), tolerance=tolerance))
    return ("polygon", {"points": _points(polygon)}) if len(polygon) else None


def _box(box: Box) -> _Attributes:
    return {name: _number(edge) for name, edge in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}


def _mask(rle: Rle) -> _Attributes:
    """Runs of the part within the box, row by row, background first."""
    left, top, right, bottom = mask_edges(rle)
    rows = decode_mask(rle)[top:bottom, left:right]
    runs = ", ".join(map(str, mask_to_runs(np.transpose(rows)).tolist()))
    return {"rle": runs, "left": left, "top": top, "width": right - left, "height": bottom - top}


def _points(polygon: Polygon) -> str:
    return ";".join(f"{_number(x)},{_number(y)}" for x, y in np.round(polygon, 2).tolist())


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _source(item: ObjectAnnotation) -> str:
    return "manual" if item.score is None else "auto"


def _extras(item: ObjectAnnotation) -> str:
    return "" if item.score is None else f'<attribute name="{SCORE}">{round(item.score, 6)}</attribute>'


def _attributes(values: _Attributes) -> str:
    return "".join(f" {name}={quoteattr(legal_xml(str(value)))}" for name, value in values.items())


def _text(value: object) -> str:
    return escape(legal_xml(str(value)))


def _range(size: int) -> _Attributes:
    return {"start_frame": 0, "stop_frame": max(size - 1, 0)}


def _header(task: _Attributes, labels: Sequence[str], video: VideoInfo | None = None, frames: str = "") -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta>"]
    lines += ["    <task>", *(f"      <{name}>{_text(value)}</{name}>" for name, value in task.items())]
    lines += ["      <overlap>0</overlap>", "      <labels>", *map(_label, labels), "      </labels>"]
    if video is not None:
        lines.append(f"      <source>{_text(video.name)}</source>")
        size = f"<width>{video.width}</width><height>{video.height}</height>"
        lines.append(f"      <original_size>{size}</original_size>")
    lines.append("    </task>")
    if video is not None:  # what CVAT does not keep, and passes over
        rate = "" if video.fps is None else f"<fps>{video.fps}</fps>"
        lines.append(f"    <sam2>{rate}<frames>{frames}</frames></sam2>")
    return "\n".join([*lines, "  </meta>"]) + "\n"


def _label(name: str) -> str:
    score = f"<name>{SCORE}</name><mutable>True</mutable><input_type>text</input_type>"
    attribute = f"<attribute>{score}<default_value></default_value><values></values></attribute>"
    parts = f"<name>{_text(name)}</name><type>any</type><attributes>{attribute}</attributes>"
    return f"        <label>{parts}</label>"
