"""Palette PNGs in the layout of DAVIS and MOSE: a pixel's value is the number of its object, 0 is background.

One picture holds each pixel once: where masks overlap, the smaller one is on top. Numbers of objects in a video are
their track ids. A picture with a number above 255 becomes a grey PNG of 16 bits, which tools for DAVIS do not read.
What PNGs do not hold (classes, names of still pictures, frame rates) stands in ``labels.json`` beside them.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.files import DraftFolder, JsonObjectDraft, inner_path, read_json, video_path
from sam2.interop.pictures import PictureFolder
from sam2.interop.rle import Rle, decode_mask, encode_runs
from sam2.io.palette import write_palette_png

LABELS_FILE = "labels.json"
_MASKS = "Annotations"
_FRAME = re.compile(r"(?:frame[_-]?)?([0-9]+)", re.IGNORECASE)
MOST_PALETTE, MOST_NUMBERS = 255, 65535

Labels = npt.NDArray[Any]
"""Numbers [h, w]: 8 bits or more, unsigned or not."""


@dataclass(slots=True)
class _Numbers:
    """The numbers that objects of one picture or video have as pixels."""

    by_track: dict[int, int] = field(default_factory=dict[int, int])
    classes: dict[int, str] = field(default_factory=dict[int, str])

    def take(self, item: ObjectAnnotation) -> int:
        """The number of an object: its track id where that is possible and free."""
        number = self.by_track.get(item.track_id) if item.track_id is not None else None
        if number is None:
            number = self._free(item.track_id)
            if item.track_id is not None:
                self.by_track[item.track_id] = number
            self.classes[number] = item.label
        return number

    def _free(self, wish: int | None) -> int:
        if wish is not None and 1 <= wish <= MOST_NUMBERS and wish not in self.classes:
            return wish
        # ids of tracks that are still to come are more likely small
        numbers = range(1, MOST_NUMBERS + 1) if wish is None else (*range(MOST_PALETTE, 0, -1), *range(256, 65536))
        for number in numbers:
            if number not in self.classes:
                return number
        raise ValueError(f"davis has numbers for {MOST_NUMBERS} objects in a picture or video, there are more")

    def record(self) -> dict[str, Any]:
        """What ``labels.json`` says of them: classes, and track ids that are not the numbers."""
        moved = {str(number): track for track, number in self.by_track.items() if number != track}
        classes = {str(number): label for number, label in self.classes.items()}
        return {"classes": classes, **({"track_ids": moved} if moved else {})}


class DavisWriter:
    """Writes ``davis/VIDEO/FRAME.png`` and, for still pictures, ``davis/NAME.png``."""

    def __init__(self, output: Path, *, labels: Sequence[str] = ()) -> None:
        self._labels = dict.fromkeys(labels)
        self._folder = DraftFolder(output / "davis")
        self._stills = JsonObjectDraft(self._folder.place(LABELS_FILE), "pictures")
        self._needs_labels = bool(labels)
        self._videos: list[dict[str, Any]] = []
        self._video: VideoInfo | None = None
        self._video_folder = ""
        self._numbers = _Numbers()

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture.

        Raises:
            ValueError: an object has a box only, or there are more than 65,535 objects.
        """
        for item in image.objects:
            if item.rle is None:
                raise ValueError(f"{image.name}: davis holds masks, {item.label!r} has a box only")
        if image.video is None:
            numbers = _Numbers()
            place = self._folder.place(inner_path(image.name).with_suffix(".png"), unique=True)
            _draw(place, image, numbers)
            self._stills.add({"file": self._folder.name_of(place), "name": image.name, **numbers.record()})
            self._needs_labels = True
        else:
            if self._video is None or self._video.name != image.video.name:
                self._end_video()
                self._video = image.video
                self._video_folder = self._name_video(image.video)
            _draw(self._folder.place(f"{self._video_folder}/{image.frame:05d}.png"), image, self._numbers)
        self._labels |= dict.fromkeys(item.label for item in image.objects)

    def close(self) -> list[Path]:
        """Finish; the folder."""
        self._end_video()
        if self._needs_labels:
            self._stills.close({"videos": self._videos, "labels": list(self._labels)})
        else:
            self._stills.discard()
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._stills.discard()
        self._folder.discard()

    def _name_video(self, video: VideoInfo) -> str:
        """A folder of its own for each video: ``clip.mp4`` and ``clip.mov`` have one name."""
        taken = {known["folder"] for known in self._videos}
        first = folder = video_path(video.name).as_posix()
        number = 1
        while folder in taken:
            number += 1
            folder = f"{first}_{number}"
        return folder

    def _end_video(self) -> None:
        if self._video is None:
            return
        numbers, record = self._numbers, self._numbers.record()
        video = {"name": self._video.name, "num_frames": self._video.num_frames, "fps": self._video.fps}
        self._videos.append({**video, "folder": self._video_folder, **record})
        named = any(label != DEFAULT_LABEL for label in numbers.classes.values())
        named |= self._video_folder != self._video.name
        self._needs_labels |= named or "track_ids" in record
        self._video, self._numbers = None, _Numbers()


def _draw(path: Path, image: AnnotatedImage, numbers: _Numbers) -> None:
    # those with an id first, so that the others do not take it
    chosen = [(numbers.take(item), item) for item in image.objects if item.track_id is not None]
    chosen += [(numbers.take(item), item) for item in image.objects if item.track_id is None]
    wide = any(number > MOST_PALETTE for number, _ in chosen)
    labels: Labels = np.zeros(image.size, np.uint16 if wide else np.uint8, order="F")  # as masks are decoded
    for number, item in sorted(chosen, key=lambda pair: pair[1].area, reverse=True):
        assert item.rle is not None
        np.copyto(labels, number, where=decode_mask(item.rle))
    if wide:
        Image.fromarray(np.ascontiguousarray(labels)).save(path, format="PNG")
    else:
        write_palette_png(path, np.ascontiguousarray(labels))


def read_davis(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a folder of PNGs, of folders of PNGs (or its parent with ``Annotations`` in it), or a single PNG.

    A folder whose files are called by numbers (``00012.png``, ``frame_00012.png``) is a video, whose frames these are;
    other PNGs are pictures.

    Args:
        path: file or folder.
        images: folder of the pictures, for their names' extensions; without it they are called ``.jpg``.

    Raises:
        ValueError: there is no PNG, or one is not of one channel, or of another size than its video.
    """
    if path.is_file():
        return Annotations([_read_still(path, _Sidecar(), path.with_suffix(".jpg").name, "")])
    pictures = None if images is None else PictureFolder(images)
    base = path / _MASKS if (path / _MASKS).is_dir() else path
    sidecar = _Sidecar.read(base / LABELS_FILE)
    folders: dict[Path, list[Path]] = {}
    for file in sorted(base.rglob("*.png")):
        if not any(part.startswith(".") for part in file.relative_to(base).parts):
            folders.setdefault(file.parent, []).append(file)
    if not folders:
        raise ValueError(f"{path} holds no PNG")
    names = _video_names(base, list(folders), path.resolve().name)
    found: list[AnnotatedImage] = []
    for folder, files in folders.items():
        inner = folder.relative_to(base)
        if (inner / files[0].name).as_posix() not in sidecar.stills and all(_frame(file) is not None for file in files):
            found += _read_video(files, sidecar.videos.get(inner.as_posix(), {}), names[folder])
        else:
            for file in files:
                key = file.relative_to(base)
                found.append(_read_still(file, sidecar, _picture_name(key, pictures), key.as_posix()))
    return Annotations(found, sidecar.labels)


@dataclass(slots=True)
class _Sidecar:
    """What ``labels.json`` says, by file or folder; empty where there is none."""

    stills: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    videos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    labels: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "_Sidecar":
        if not path.is_file():
            return cls()
        document = read_json(path)
        try:
            stills = {str(entry["file"]): entry for entry in document.get("pictures", ())}
            videos = {str(entry["folder"]): entry for entry in document.get("videos", ())}
            return cls(stills, videos, tuple(str(label) for label in document.get("labels", ())))
        except (AttributeError, KeyError, TypeError):
            raise ValueError(f"{path} is not what a writer of davis leaves: 'pictures' and 'videos'") from None


def _frame(file: Path) -> int | None:
    """The frame that a file is for, by its name: ``00012`` or ``frame_00012``; None if it is a picture."""
    found = _FRAME.fullmatch(file.stem)
    return None if found is None else int(found[1])


def _video_names(base: Path, folders: Sequence[Path], root: str) -> dict[Path, str]:
    """What videos are called, by folder: as their folders, with those above where two have one name."""
    parts = {
        folder: [part for part in folder.relative_to(base).parts if part != _MASKS] or [root] for folder in folders
    }
    last = Counter(inner[-1] for inner in parts.values())
    return {folder: inner[-1] if last[inner[-1]] == 1 else "/".join(inner) for folder, inner in parts.items()}


def _picture_name(key: Path, pictures: PictureFolder | None) -> str:
    """The picture that a PNG belongs to, by its name without extension."""
    name = key.with_suffix(".jpg").as_posix()
    return name if pictures is None else pictures.find(name) or name


def _read_still(file: Path, sidecar: _Sidecar, name: str, key: str) -> AnnotatedImage:
    labels = _read_png(file)
    record = sidecar.stills.get(key, {})
    objects = _objects(labels, record, tracked=False)
    return AnnotatedImage(str(record.get("name", name)), labels.shape[1], labels.shape[0], objects)


def _read_video(files: Sequence[Path], record: Mapping[str, Any], name: str) -> list[AnnotatedImage]:
    video: VideoInfo | None = None
    frames: list[AnnotatedImage] = []
    for file in sorted(files, key=lambda file: _frame(file) or 0):
        labels = _read_png(file)
        height, width = labels.shape
        if video is None:
            known = str(record.get("name", name))
            video = VideoInfo(known, width, height, record.get("num_frames"), record.get("fps"))
        if (video.height, video.width) != (height, width):
            raise ValueError(f"{file} is {width} x {height}, frames before it {video.width} x {video.height}")
        objects = _objects(labels, record, tracked=True)
        frames.append(
            AnnotatedImage(f"{video_path(video.name)}/{file.stem}.jpg", width, height, objects, video, _frame(file))
        )
    return frames


def _objects(labels: Labels, record: Mapping[str, Any], *, tracked: bool) -> tuple[ObjectAnnotation, ...]:
    classes: Mapping[str, str] = record.get("classes", {})
    moved: Mapping[str, int] = record.get("track_ids", {})
    found: list[ObjectAnnotation] = []
    for number, rle in labels_to_rles(labels).items():
        label = classes.get(str(number))
        track = int(moved.get(str(number), number)) if tracked else None
        # in pictures that others have made, numbers may well be classes
        known = {} if tracked or label is not None else {"number": number}
        found.append(ObjectAnnotation.from_rle(rle, label=label or DEFAULT_LABEL, track_id=track, attributes=known))
    return tuple(found)


def labels_to_rles(labels: Labels) -> dict[int, Rle]:
    """The mask of each number but 0 in ``labels`` [h, w], compressed, by number, ascending."""
    line = labels.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(line[1:] != line[:-1]) + 1))
    ends = np.append(starts[1:], line.size)
    values = line[starts].astype(np.int64)
    found: dict[int, Rle] = {}
    for number in np.unique(values[values > 0]):
        own = np.flatnonzero(values == number)
        edges = np.stack((starts[own], ends[own]), 1).ravel()
        if edges[-1] < line.size:
            edges = np.append(edges, line.size)
        found[int(number)] = encode_runs(np.diff(edges, prepend=0), labels.shape)
    return found


def _read_png(path: Path) -> Labels:
    try:
        with cast(Any, Image.open(path)) as picture:
            mode, labels = str(picture.mode), np.array(picture)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None
    if mode == "RGB" and (labels == labels[..., :1]).all():  # grey all the same
        mode, labels = "L", labels[..., 0]
    if labels.ndim != 2 or mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
        raise ValueError(f"{path} must be a palette or grey PNG, whose values are numbers of objects, got mode {mode}")
    return labels
