"""Annotations that :mod:`sam2.interop` reads: CVAT, LabelMe, Label Studio, GeoJSON; of COCO, results and videos.

These files are read whole on opening; masks are kept as run lengths.
"""

from collections.abc import Sequence
from pathlib import Path

from sam2.interop.annotations import AnnotatedImage, Annotations, VideoInfo
from sam2.interop.formats import read_annotations
from sam2.train.data.readers.base import Blobs, Choice, Counts, FoundObject, Names, Record
from sam2.train.data.readers.coco import OutlinedRecords
from sam2.train.data.readers.finding import PictureFinder, picture_places
from sam2.train.data.readers.frames import VIDEO_SUFFIXES, FolderFrames, Frames, VideoFrames
from sam2.train.data.readers.packed import Outline, pack, unpack
from sam2.train.data.sources import Records, SourceConfig


class OutlinedVideoRecord(Record):
    """A video whose objects are packed outlines, by frame."""

    def __init__(
        self,
        name: str,
        frames: Frames,
        packed: dict[int, bytes],
        *,
        size: tuple[int, int],
        labels: tuple[str, ...],
        choice: Choice,
    ) -> None:
        super().__init__(name, frames, choice)
        self.packed, self.size, self.labels = packed, size, labels

    def _labelled(self) -> tuple[int, ...]:
        return tuple(self.packed)

    def _found(self, index: int) -> list[FoundObject]:
        size = self.frames.size(index)
        if size != self.size:
            height, width = self.size
            raise ValueError(f"{self.frames.where(index)} is {size[1]} x {size[0]}, its annotations {width} x {height}")
        return unpack(self.packed[index], size, self.labels)


class OutlinedVideoRecords(Records):
    """Videos whose objects are packed outlines; called as the annotations call them."""

    videos = True

    def __init__(
        self,
        format: str,
        videos: Sequence[tuple[VideoInfo, Path, dict[int, bytes]]],
        labels: Sequence[str],
        config: SourceConfig,
    ) -> None:
        self.format, self.classes = format, tuple(labels)
        self._infos = [info for info, _, _ in videos]
        self._places = Names(str(place) for _, place, _ in videos)
        self._frames = [tuple(packed) for _, _, packed in videos]
        self._packed = [Blobs(packed.values()) for _, _, packed in videos]
        self._choice = Choice.of(config)

    def __len__(self) -> int:
        return len(self._infos)

    def record(self, index: int) -> OutlinedVideoRecord:
        """Video ``index``, in the order of the annotations."""
        info, place, blobs = self._infos[index], self._places[index], self._packed[index]
        packed = {frame: blobs[place] for place, frame in enumerate(self._frames[index])}
        is_file = place.lower().endswith(VIDEO_SUFFIXES)
        frames = VideoFrames(place, info.num_frames) if is_file else FolderFrames(place)
        size = info.height, info.width
        return OutlinedVideoRecord(info.name, frames, packed, size=size, labels=self.classes, choice=self._choice)


def open_records(path: Path, config: SourceConfig, format: str) -> Records:
    """The pictures, or the videos, of annotations that have masks of the chosen classes.

    Raises:
        FileNotFoundError: none of the pictures is found.
        ValueError: something in a file is wrong, it holds no masks, or both pictures and videos.
    """
    images = None if config.images is None else Path(config.images)
    found = read_annotations(path, format, images=images if images is not None and images.is_dir() else None)
    choice, notes = Choice.of(config), Counts()
    choice.check(found.labels, str(path))
    kinds = {image.video is not None for image in found}
    if len(kinds) > 1:
        raise ValueError(f"path {path} holds both pictures and frames of videos: split it into two")
    labels = {label: place for place, label in enumerate(found.labels)}
    open_some = _open_videos if True in kinds else _open_stills
    records = open_some(path, found, config, labels=labels, notes=notes)
    records.notes = notes.sentences()
    return records


def _packed(image: AnnotatedImage, config: SourceConfig, labels: dict[str, int], notes: Counts) -> bytes:
    choice = Choice.of(config)
    outlines: list[Outline] = []
    for place, item in enumerate(image.objects, start=1):
        if item.attributes.get("iscrowd") and not config.crowds:
            notes.add("crowds left out")
        elif item.rle is None:
            notes.add("boxes without masks left out")
        elif choice.takes(item.label):
            number = place if item.track_id is None else item.track_id
            outlines.append(Outline(number, labels[item.label], item.rle))
    return pack(outlines)


def _open_stills(
    path: Path, found: Annotations, config: SourceConfig, *, labels: dict[str, int], notes: Counts
) -> Records:
    names = [image.name for image in found]
    finder = PictureFinder(*_places(path, config), names, whose=path)
    pictures: list[tuple[str, tuple[int, int], bytes]] = []
    for image in found:
        packed, file = _packed(image, config, labels, notes), finder.find(image.name)
        if not packed or file is None:
            notes.add(
                "pictures without objects left out" if file is not None else "pictures that are not there", image.name
            )
        else:
            pictures.append((str(file), image.size, packed))
    if not pictures:
        raise ValueError(f"path {path}: 0 pictures with masks; {notes.text() or 'there are no annotations'}")
    return OutlinedRecords(config.format, pictures, list(labels), config)


def _open_videos(
    path: Path, found: Annotations, config: SourceConfig, *, labels: dict[str, int], notes: Counts
) -> Records:
    frames: dict[str, dict[int, bytes]] = {}
    for image in found:
        assert image.video is not None
        assert image.frame is not None
        # a frame without objects is annotated all the same: they are not to be seen
        frames.setdefault(image.video.name, {})[image.frame] = _packed(image, config, labels, notes)
    videos: list[tuple[VideoInfo, Path, dict[int, bytes]]] = []
    for info in found.videos:
        place = _video(info, [*_places(path, config)[0], Path(config.images or path)])
        if place is None:
            notes.add("videos that are not there", info.name)
        elif not any(frames[info.name].values()):
            notes.add("videos without masks left out", info.name)
        else:
            videos.append((info, place, frames[info.name]))
    if not videos:
        raise FileNotFoundError(
            f"path {path}: 0 videos with masks ({notes.text()}); images says where the videos, or their frames, are"
        )
    return OutlinedVideoRecords(config.format, videos, list(labels), config)


def _places(path: Path, config: SourceConfig) -> tuple[list[Path], list[Path]]:
    if config.images is None and path.is_dir():
        return [path, path / "images", path.parent / "images", path.parent], [path]
    return picture_places(path, config.images)


def _video(info: VideoInfo, places: Sequence[Path]) -> Path | None:
    """The file of a video, or the folder of its frames."""
    stem = Path(info.name).with_suffix("") if Path(info.name).suffix.lower() in VIDEO_SUFFIXES else Path(info.name)
    for place in (*places, *(place / "videos" for place in places)):
        if place.is_file() and place.suffix.lower() in VIDEO_SUFFIXES:
            return place
        for name in (info.name, *(f"{stem}{suffix}" for suffix in VIDEO_SUFFIXES), str(stem)):
            if (place / name).is_file() or ((place / name).is_dir() and any((place / name).iterdir())):
                return place / name
    return None
