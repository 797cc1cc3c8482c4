"""SA-V's training set: a video, and JSON files of masks that people (``_manual``) and a model (``_auto``) made.

Masks are at every fourth frame. Videos are read as they are, or as the folders of frames that the official tool
extracts: whose names are numbers of frames, all or every fourth.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, cast

from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.rle import check_rle
from sam2.interop.segment_anything import SAV_FRAME_STEP
from sam2.train.data.readers.base import Choice, Counts, FoundObject, Names, Record
from sam2.train.data.readers.detect import kind_of_json
from sam2.train.data.readers.finding import files_below
from sam2.train.data.readers.frames import VIDEO_SUFFIXES, FolderFrames, Frames, VideoFrames
from sam2.train.data.readers.splits import choose_part, find_list, names_of_frames, part_of, read_list
from sam2.train.data.sources import Records, SourceConfig

AUTO_OFFSET = 100_000
"""Added to the numbers of automatic masklets: those of manual ones are the same."""

_KINDS = ("manual", "auto")
_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class _Masklets:
    """What a JSON file holds.

    Attributes:
        frames: numbers of the frames that have masks, ascending.
        rows: the masks of each, by object.
        numbers, labels: of the objects.
        size: (height, width) of the video.
        count: frames of the video.
    """

    frames: tuple[int, ...]
    rows: list[Any]
    numbers: tuple[int, ...]
    labels: tuple[str | None, ...]
    size: tuple[int, int]
    count: int


@lru_cache(maxsize=2)
def _masklets(path: str, offset: int, written: int) -> _Masklets:
    """The content of a file, last ``written`` then. The last ones are kept: a clip asks one for eight frames."""
    del written
    document = Entry.read(Path(path))
    rows = document.items("masklet")
    frames = [index * SAV_FRAME_STEP for index in range(len(rows))]
    if "masklet_frame_index" in document:
        frames = [as_kind(value, int) for value in document.items("masklet_frame_index")]
    if len(frames) != len(rows) or frames != sorted(set(frames)):
        raise ValueError(
            f"{path}: masklet_frame_index must be ascending and have one entry a row of masklet ({len(rows)}), "
            f"got {len(frames)}"
        )
    numbers = tuple(as_kind(value, int) + offset for value in document.items("masklet_id"))
    known = [str(label) for label in document.items("masklet_label")] if "masklet_label" in document else []
    labels = (*known, *[None] * (len(numbers) - len(known)))
    size = document.size("video_width", "video_height")
    return _Masklets(tuple(frames), rows, numbers, labels, size, document.get("video_frame_count", int))


class SavRecord(Record):
    """A video with JSON files of masks."""

    def __init__(self, name: str, video: str, json_files: Sequence[str], *, choice: Choice) -> None:
        super().__init__(name, _frames_of(video), choice)
        self.json_files = tuple(json_files)
        self._places: dict[int, int] | None = None

    @property
    def num_frames(self) -> int:
        """As the folder or, of a video, the JSON file says."""
        with self.reading():
            if isinstance(self.frames, VideoFrames):
                self.frames.declared = max(content.count for content in self._contents())
            return self.frames.count()

    def _contents(self) -> list[_Masklets]:
        contents: list[_Masklets] = []
        for file in self.json_files:
            offset = AUTO_OFFSET if file.endswith("_auto.json") and len(self.json_files) > 1 else 0
            contents.append(_masklets(file, offset, os.stat(file).st_mtime_ns))
        return contents

    def _labelled(self) -> tuple[int, ...]:
        return tuple(self._numbers())

    def _numbers(self) -> dict[int, int]:
        """The frame numbers of the annotations by the indices of frames."""
        if self._places is None:
            annotated = sorted({frame for content in self._contents() for frame in content.frames})
            self._places = self._matched(annotated)
        return self._places

    def _matched(self, annotated: Sequence[int]) -> dict[int, int]:
        if not isinstance(self.frames, FolderFrames):
            return {frame: frame for frame in annotated}
        stems = [PurePosixPath(file).stem for file in self.frames.files]
        numbers = [int(stem) if stem.isdecimal() else place for place, stem in enumerate(stems)]
        if len(stems) == len(annotated) and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            return dict(enumerate(annotated))  # only annotated frames were extracted, and numbered anew
        wanted = set(annotated)
        found = {index: number for index, number in enumerate(numbers) if number in wanted}
        if not found:
            raise ValueError(f"0 annotated frames: {self.frames.folder} has none of frames {annotated[:5]} ...")
        return found

    def _found(self, index: int) -> list[FoundObject]:
        number = self._numbers()[index]
        size = self.frames.size(index)
        found: list[FoundObject] = []
        for file, content in zip(self.json_files, self._contents(), strict=True):
            if content.size != size:
                height, width = content.size
                raise ValueError(f"{self.frames.where(index)} is {size[1]} x {size[0]}, {file} says {width} x {height}")
            if number in content.frames:
                found += _row(content, content.frames.index(number), file)
        return found


def _row(content: _Masklets, row: int, file: str) -> list[FoundObject]:
    found: list[FoundObject] = []
    with at(f"{file}: masklet[{row}]"):
        masks = cast(list[Any], as_kind(content.rows[row], list))
        if len(masks) > len(content.numbers):
            raise ValueError(f"must hold a mask per masklet_id, {len(content.numbers)}, got {len(masks)}")
        for mask, number, label in zip(masks, content.numbers, content.labels, strict=False):
            rle = as_kind(mask, dict)
            if rle.get("size") != list(content.size):
                raise ValueError(f"mask of object {number} has the size {rle.get('size')}, the video {content.size}")
            check_rle(rle)
            found.append(FoundObject.of_rle(number, label, rle))
    return found


def _frames_of(place: str) -> Frames:
    return VideoFrames(place) if place.lower().endswith(VIDEO_SUFFIXES) else FolderFrames(place)


class SavRecords(Records):
    """Videos with masks; called by their files."""

    format = "sav"
    videos = True

    def __init__(self, videos: Sequence[tuple[str, str, list[str]]], root: Path, config: SourceConfig) -> None:
        self._root = str(root)
        self._names = Names(name for name, _, _ in videos)
        self._videos = Names(video for _, video, _ in videos)
        self._json = Names("\n".join(files) for _, _, files in videos)
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._names)

    def record(self, index: int) -> SavRecord:
        """Video ``index``, in the order of names."""
        files = [os.path.join(self._root, file) for file in self._json[index].split("\n")]
        return SavRecord(self._names[index], self._videos[index], files, choice=self._choice)


def open_records(path: Path, config: SourceConfig, format: str) -> SavRecords:
    """The videos below ``path`` that have JSON files of SA-V.

    Raises:
        FileNotFoundError: no JSON file has a video.
        ValueError: there is no JSON file of SA-V, or none of the masklets that are asked for.
    """
    root = path if path.is_dir() else path.parent
    files = files_below(path, ".json", deepest=None)
    if not any(kind_of_json(file) == format for file in files[:_LOOKED_AT]):
        raise ValueError(f"path {path}: no JSON file of SA-V ('masklet') in it")
    videos = _grouped([file.relative_to(root).as_posix() for file in files], config)
    if not videos:
        raise ValueError(f"path {path}: no JSON file of {config.masklets} masklets (VIDEO_{config.masklets}.json)")
    videos = _of_split(videos, path, config)
    places = _Videos(root, None if config.images is None else Path(config.images))
    found: list[tuple[str, str, list[str]]] = []
    notes = Counts()
    for name, json_files in videos.items():
        video = places.find(name)
        if video is None:
            notes.add("JSON files without videos left out", json_files[0])
        else:
            found.append((name, str(video), json_files))
    if not found:
        raise FileNotFoundError(
            f"path {path}: no JSON file has a video (VIDEO.mp4 or a folder VIDEO of frames) in "
            f"{config.images or root}; {notes.text()}; images says where the videos are"
        )
    records = SavRecords(found, root, config)
    records.notes = notes.sentences()
    return records


def _grouped(files: Sequence[str], config: SourceConfig) -> dict[str, list[str]]:
    """JSON files by video."""
    videos: dict[str, list[str]] = {}
    for file in files:
        stem = file.removesuffix(".json")
        base, _, kind = stem.rpartition("_")
        if kind not in _KINDS:
            base, kind = stem, "manual"
        if config.masklets in (kind, "both"):
            videos.setdefault(base, []).append(file)
    # manual ones first
    return {name: sorted(there, key=lambda file: file.endswith("_auto.json")) for name, there in sorted(videos.items())}


def _of_split(videos: dict[str, list[str]], path: Path, config: SourceConfig) -> dict[str, list[str]]:
    names = find_list(config.split, path)
    if names is not None:
        wanted = set(names_of_frames(read_list(names)))
        chosen = {name: files for name, files in videos.items() if PurePosixPath(name).name in wanted}
        if not chosen:
            raise ValueError(f"split {names}: none of its {len(wanted)} names is a video of {path}")
        return chosen
    takes = choose_part({part_of(name) for name in videos}, config.split, f"path {path}")
    return {name: files for name, files in videos.items() if takes(part_of(name))}


class _Videos:
    """Video files and folders of frames by the names of videos."""

    def __init__(self, root: Path, images: Path | None) -> None:
        self._root, self._images = root, images
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path | None:
        """``name``.mp4 or the folder ``name`` beside the JSON file, in ``images``, or in ``JPEGImages...`` nearby."""
        pure = PurePosixPath(name)
        if self._images is not None:
            folders = [self._images / pure.parent, self._images]
        else:
            beside = self._root / pure.parent
            folders = [beside, *self._frame_folders(beside), *self._frame_folders(beside.parent)]
        for folder in folders:
            if (found := self._listing(folder).get(pure.name)) is not None:
                return folder / found
        return None

    def _frame_folders(self, folder: Path) -> list[Path]:
        names = self._listing(folder).values()
        return [folder / name for name in names if name.startswith("JPEGImages") or name in ("videos", "frames")]

    def _listing(self, folder: Path) -> dict[str, str]:
        """Videos and folders in a folder by their names without extension; videos go before folders."""
        if folder not in self._listings:
            found: dict[str, str] = {}
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name) if folder.is_dir() else ():
                if entry.is_dir():
                    found.setdefault(entry.name, entry.name)
                elif Path(entry.name).suffix.lower() in VIDEO_SUFFIXES:
                    found[Path(entry.name).stem] = entry.name
            self._listings[folder] = found
        return self._listings[folder]
