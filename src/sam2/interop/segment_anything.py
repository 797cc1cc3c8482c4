"""The JSON files of Segment Anything's data sets: SA-1B, one a picture, and SA-V, one a video.

Neither knows classes; SA-V, which is annotated at every fourth frame, does not say which frames its entries are for.
What they lack is kept in further fields, which other readers pass over.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

import numpy as np

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.files import Draft, DraftFolder, inner_path, json_text, video_path
from sam2.interop.rle import Rle, check_rle, encode_runs, mask_area

SAV_FRAME_STEP = 4
"""SA-V is annotated at 6 frames per second, its videos have 24."""

_SA1B_OPTIONAL = ("predicted_iou", "stability_score", "crop_box", "point_coords")


class Sa1bWriter:
    """Writes ``sa1b/NAME.json`` per picture, ``sa1b/VIDEO/FRAME.json`` per frame of a video."""

    def __init__(self, output: Path, *, labels: Sequence[str] = ()) -> None:
        del labels  # there are no classes to number
        self._folder = DraftFolder(output / "sa1b")
        self._images = self._objects = 0

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture; objects whose masks are empty are left out.

        Raises:
            ValueError: an object has a box only.
        """
        self._images += 1
        head: dict[str, Any] = {
            "image_id": self._images,
            "width": image.width,
            "height": image.height,
            "file_name": image.name,
        }
        name = inner_path(image.name).with_suffix(".json")
        if image.video is not None:
            video = image.video
            head |= {"video": {"name": video.name, "num_frames": video.num_frames, "fps": video.fps}}
            head |= {"frame": image.frame}
            name = video_path(video.name) / f"{image.frame:05d}.json"
        entries = [self._entry(item, image) for item in image.objects if _mask(item, image, "sa1b") is not None]
        place = self._folder.place(name, unique=True)
        place.write_text(json_text({"image": head, "annotations": entries}) + "\n", encoding="utf-8")

    def close(self) -> list[Path]:
        """Finish; the folder."""
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._folder.discard()

    def _entry(self, item: ObjectAnnotation, image: AnnotatedImage) -> dict[str, Any]:
        self._objects += 1
        known = item.attributes
        own = {"label": None if item.label == DEFAULT_LABEL else item.label, "track_id": item.track_id}
        return {
            "id": self._objects,
            "segmentation": item.rle,
            "bbox": list(item.xywh),
            "area": int(item.area),
            "predicted_iou": known.get("predicted_iou", item.score),
            "stability_score": known.get("stability_score"),
            "crop_box": known.get("crop_box", [0.0, 0.0, float(image.width), float(image.height)]),
            "point_coords": known.get("point_coords", []),
            **{name: value for name, value in (*own.items(), ("score", item.score)) if value is not None},
        }


def read_sa1b(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a file of SA-1B, or all in a folder. A score that is not there is the predicted IoU, at most 1.

    Raises:
        ValueError: something in a file is wrong; the message names it.
    """
    del images
    videos: dict[str, VideoInfo] = {}
    found = [_read_sa1b_image(Entry.read(file), videos) for file in _json_files(path)]
    order = {name: number for number, name in enumerate(videos)}
    found.sort(key=lambda image: (-1, 0) if image.video is None else (order[image.video.name], image.frame or 0))
    return Annotations(found)


def _read_sa1b_image(document: Entry, videos: dict[str, VideoInfo]) -> AnnotatedImage:
    head = document.child("image")
    width, height, name = head.get("width", int), head.get("height", int), head.get("file_name", str)
    document.items("annotations")  # has to be there
    objects = tuple(_read_sa1b_object(entry) for entry in document.entries("annotations"))
    video = frame = None
    if "video" in head:
        known = head.child("video")
        length, fps = known.find("num_frames", int), known.find("fps", float)
        video = VideoInfo(known.get("name", str), width, height, length, fps)
        video, frame = videos.setdefault(video.name, video), head.get("frame", int)
    with at(document.place):
        return AnnotatedImage(name, width, height, objects, video, frame)


def _read_sa1b_object(entry: Entry) -> ObjectAnnotation:
    score, predicted = entry.find("score", float), entry.find("predicted_iou", float)
    if score is None and predicted is not None:
        score = min(max(predicted, 0.0), 1.0)
    label, track = entry.find("label", str, DEFAULT_LABEL), entry.find("track_id", int)
    attributes = {name: entry.fields[name] for name in _SA1B_OPTIONAL if name in entry}
    rle = _rle(entry.child("segmentation"))
    with at(entry.place):
        return ObjectAnnotation.from_rle(rle, label=label, track_id=track, score=score, attributes=attributes)


def _rle(entry: Entry) -> Rle:
    rle: Rle = {"size": entry.items("size"), "counts": entry.fields.get("counts")}
    with at(entry.place):
        check_rle(rle)
    return rle


@dataclass(slots=True)
class _Masklet:
    """What SA-V says of one object of a video."""

    track_id: int
    label: str
    first: int
    frames: int = 0
    pixels: int = 0
    changes: int = 0
    visible: bool = True

    def see(self, area: int) -> None:
        """Count a frame, in which the object has ``area`` pixels."""
        self.changes += self.visible != (area > 0)
        self.visible = area > 0
        self.frames += area > 0
        self.pixels += area

    @property
    def mean(self) -> float:
        """Mean area in pixels over the frames that show the object."""
        return self.pixels / self.frames


class SavWriter:
    """Writes ``sav/VIDEO_manual.json`` per video: masklets over all frames that are given.

    Masks wait in a temporary file for the end of the video, when it is known how many objects there are: each frame
    of SA-V has a mask, if an empty one, for each of them.
    """

    def __init__(self, output: Path, *, labels: Sequence[str] = ()) -> None:
        del labels  # there are no classes to number
        self._folder = DraftFolder(output / "sav")
        self._video: _SavVideo | None = None

    def add(self, image: AnnotatedImage) -> None:
        """Write one frame.

        Raises:
            ValueError: it is a still picture, or an object has a box only or no track id.
        """
        if image.video is None:
            raise ValueError(f"{image.name} is a still picture: sav is for videos, sa1b for pictures")
        for item in image.objects:
            if item.track_id is None:
                raise ValueError(f"{image.name}: sav needs the track_id of each object, {item.label!r} has none")
        masks = {item.track_id: _mask(item, image, "sav") for item in image.objects}
        if self._video is None or self._video.info.name != image.video.name:
            self._end_video()
            self._video = _SavVideo(image.video)
        self._video.add(image, masks)

    def close(self) -> list[Path]:
        """Finish; the folder."""
        self._end_video()
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        if self._video is not None:
            self._video.spool.close()
            self._video = None
        self._folder.discard()

    def _end_video(self) -> None:
        if self._video is not None:
            name = video_path(self._video.info.name)
            place = self._folder.place(name.with_name(f"{name.name}_manual.json"), unique=True)
            self._video.write(place, name.as_posix())
            self._video = None


class _SavVideo:
    """One video that is being written: a line of JSON per frame in a temporary file, and sums per object."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.spool = TemporaryFile("w+", encoding="ascii", newline="\n")  # noqa: SIM115
        self._masklets: dict[int, _Masklet] = {}
        self._frames: list[int] = []
        size = (info.height, info.width)
        self._empty = encode_runs(np.array([info.height * info.width]), size)

    def add(self, image: AnnotatedImage, masks: Mapping[int | None, Rle | None]) -> None:
        for item in image.objects:
            assert item.track_id is not None
            if masks[item.track_id] is not None and item.track_id not in self._masklets:
                self._masklets[item.track_id] = _Masklet(item.track_id, item.label, len(self._frames))
        for masklet in self._masklets.values():
            rle = masks.get(masklet.track_id)
            masklet.see(0 if rle is None else mask_area(rle))
        assert image.frame is not None
        self._frames.append(image.frame)
        row = [masks.get(track) or self._empty for track in self._masklets]
        self.spool.write(json.dumps(row, separators=(",", ":")) + "\n")

    def write(self, path: Path, video_id: str) -> None:
        """Write the file, each frame filled up with empty masks of objects that appear later."""
        empty = json_text(self._empty)
        masklets = list(self._masklets.values())
        with self.spool, Draft(path) as draft:
            draft.write(json_text(self._head(video_id))[:-1] + ',"masklet":[')
            self.spool.seek(0)
            for number, line in enumerate(self.spool):
                missing = len(masklets) - line.count('"size"')
                row = line.rstrip("\n")[1:-1]
                draft.write(("," if number else "") + "[" + ",".join(([row] if row else []) + [empty] * missing) + "]")
            draft.write("]," + json_text(self._tail(masklets))[1:] + "\n")

    def _head(self, video_id: str) -> dict[str, Any]:
        info, last = self.info, (self._frames[-1] + 1 if self._frames else 0)
        count = last if info.num_frames is None else info.num_frames
        return {
            "video_id": video_id,
            "video_duration": count / info.fps if info.fps else None,
            "video_frame_count": float(count),
            "video_height": float(info.height),
            "video_width": float(info.width),
            "video_resolution": float(info.height * info.width),
            "video_environment": None,
            "video_split": None,
            "video_name": info.name,
            "video_fps": info.fps,
        }

    def _tail(self, masklets: Sequence[_Masklet]) -> dict[str, Any]:
        pixels = self.info.height * self.info.width
        return {
            "masklet_id": [masklet.track_id for masklet in masklets],
            "masklet_size_rel": [masklet.mean / pixels for masklet in masklets],
            "masklet_size_abs": [masklet.mean for masklet in masklets],
            "masklet_size_bucket": [_bucket(masklet.mean) for masklet in masklets],
            "masklet_visibility_changes": [masklet.changes for masklet in masklets],
            "masklet_first_appeared_frame": [float(masklet.first) for masklet in masklets],
            "masklet_frame_count": [len(self._frames)] * len(masklets),
            "masklet_edited_frame_count": [0] * len(masklets),
            "masklet_type": ["manual"] * len(masklets),
            "masklet_stability_score": [None] * len(masklets),
            "masklet_num": len(masklets),
            "masklet_label": [masklet.label for masklet in masklets],
            "masklet_frame_index": self._frames,
        }


def _bucket(area: float) -> str:
    return "small" if area < 32**2 else "medium" if area < 96**2 else "large"


def read_sav(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a file of SA-V, or all in a folder. Entries are for every fourth frame, unless the file says otherwise.

    Raises:
        ValueError: something in a file is wrong; the message names it.
    """
    del images
    found: list[AnnotatedImage] = []
    names: set[str] = set()
    for file in _json_files(path):
        document = Entry.read(file)
        name = document.find("video_name", str) or document.find("video_id", str) or file.stem
        # manual and automatic masklets of a video have the same numbers: they stay apart
        name = name if name not in names else file.stem
        names.add(name)
        found += _read_sav_frames(document, name)
    return Annotations(found)


def _read_sav_frames(document: Entry, name: str) -> Iterator[AnnotatedImage]:
    height, width, count = (document.get(f"video_{side}", int) for side in ("height", "width", "frame_count"))
    duration, fps = document.find("video_duration", float), document.find("video_fps", float)
    video = VideoInfo(name, width, height, count, fps or (count / duration if duration else None))
    rows, tracks = document.items("masklet"), _whole_numbers(document, "masklet_id")
    known = document.items("masklet_label") if "masklet_label" in document else []
    labels = [str(label) for label in known] + [DEFAULT_LABEL] * (len(tracks) - len(known))
    frames = [index * SAV_FRAME_STEP for index in range(len(rows))]
    if "masklet_frame_index" in document:
        frames = _whole_numbers(document, "masklet_frame_index")
    if len(frames) != len(rows):
        raise ValueError(f"{document.place}: masklet_frame_index has {len(frames)} entries, masklet {len(rows)}")
    for index, frame in enumerate(frames):
        place = f"{document.place}: masklet[{index}]"
        with at(place):
            masks = cast(list[Any], as_kind(rows[index], list))
            if len(masks) > len(tracks):
                raise ValueError(f"must hold a mask per masklet_id, {len(tracks)}, got {len(masks)}")
        row = [Entry(mask, f"{place}[{number}]") for number, mask in enumerate(masks)]
        objects = _read_sav_row(row, tracks, labels)
        with at(place):
            yield AnnotatedImage(f"{video_path(name)}/{frame:05d}.jpg", width, height, objects, video, frame)


def _read_sav_row(row: Sequence[Entry], tracks: Sequence[int], labels: Sequence[str]) -> tuple[ObjectAnnotation, ...]:
    objects: list[ObjectAnnotation] = []
    for entry, track, label in zip(row, tracks, labels, strict=False):
        rle = _rle(entry)
        if mask_area(rle):
            objects.append(ObjectAnnotation.from_rle(rle, label=label, track_id=track))
    return tuple(objects)


def _whole_numbers(document: Entry, name: str) -> list[int]:
    values = document.items(name)
    with at(f"{document.place}: {name!r}"):
        return [as_kind(value, int) for value in values]


def _mask(item: ObjectAnnotation, image: AnnotatedImage, format: str) -> Rle | None:
    """The mask of an object, None if it is empty; ``ValueError`` if there is only a box."""
    if item.rle is None:
        raise ValueError(f"{image.name}: {format} holds masks, {item.label!r} has a box only")
    return item.rle if item.area else None


def _json_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*.json") if not file.name.startswith("."))
    if not files:
        raise ValueError(f"{path} holds no JSON file")
    return files
