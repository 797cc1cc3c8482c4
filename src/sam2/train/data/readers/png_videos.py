"""Videos as folders of pictures, masks as folders of PNGs: DAVIS, MOSE, YouTube-VOS, LVOS, SA-V's val and test.

::

    JPEGImages/[480p/]VIDEO/00000.jpg      Annotations/[480p/]VIDEO/00000.png        a value an object
                                           Annotations/[480p/]VIDEO/000/00000.png    a folder an object
    VIDEO/JPEGImages/00000.jpg             VIDEO/Annotations/00000.png               a workspace a video

Folders may be called ``JPEGImages_24fps`` and the like; pictures and masks may have any extension and numbering. Masks
belong to the pictures of the same names, or numbers; there may be few of them.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sam2.interop.entries import at
from sam2.interop.pictures import SUFFIXES
from sam2.interop.rle import Mask
from sam2.io.listed import images_in, natural_key
from sam2.train.data.readers.base import Choice, FoundObject, Names, Record, check_size, listed
from sam2.train.data.readers.frames import VIDEO_SUFFIXES, FolderFrames, Frames, VideoFrames
from sam2.train.data.readers.label_images import LabelPicture, Reading, found_in, read_label_picture, tell_reading
from sam2.train.data.readers.splits import choose_part, find_list, names_of_frames, part_of, read_list
from sam2.train.data.sources import Records, SourceConfig

_IMAGES, _MASKS = "JPEGImages", "Annotations"
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p", "720p")
_DEEPEST = 4
_NUMBER = re.compile(r"([0-9]+)$")


class PngVideoRecord(Record):
    """A video whose masks are pictures."""

    def __init__(self, name: str, frames: Frames, masks: str, *, reading: Reading, choice: Choice) -> None:
        super().__init__(name, frames, choice)
        self.masks_folder, self.reading_as = masks, reading
        self._files: dict[int, dict[int, str]] | None = None

    def _labelled(self) -> tuple[int, ...]:
        return tuple(sorted(self._masks_by_frame()))

    def _masks_by_frame(self) -> dict[int, dict[int, str]]:
        """Mask files by frame and object; object 0 stands for all in one file."""
        if self._files is None:
            folder = Path(self.masks_folder)
            frame_of = _frame_numbers(self.frames)
            found: dict[int, dict[int, str]] = {}
            for number, inner in _folders_of_masks(folder):
                for file in images_in(inner):
                    frame = frame_of.get(file.stem, frame_of.get(_number_of(file.stem)))
                    if frame is None:
                        raise ValueError(f"{file} belongs to no frame of {_described(self.frames)}")
                    found.setdefault(frame, {})[number] = str(file)
            if not found:
                raise ValueError(f"0 annotated frames: {folder} holds no mask ({', '.join(SUFFIXES)})")
            self._files = found
        return self._files

    def _pictures(self, index: int) -> list[tuple[int, LabelPicture]]:
        found: list[tuple[int, LabelPicture]] = []
        for number, file in sorted(self._masks_by_frame()[index].items()):
            picture = read_label_picture(Path(file))
            check_size(file, picture.values.shape, self.frames, index)
            found.append((number, picture))
        return found

    def _found(self, index: int) -> list[FoundObject]:
        found: list[FoundObject] = []
        for number, picture in self._pictures(index):
            if number:
                mask = (picture.values > (127 if self.reading_as.kind == "binary" else 0)) & (picture.values != 0)
                found.append(FoundObject.of_mask(number - 1, None, mask))
            else:
                with at(self._masks_by_frame()[index][0]):
                    there = found_in(self.reading_as, picture)
                # values are numbers of objects here, not classes
                found += [FoundObject(item.number, None, item.area, item.decode) for item in there]
        return found

    def ignored(self, index: int) -> Mask | None:
        """Pixels of values that are to be ignored (255 of a palette)."""
        with self.reading():
            pictures = self._pictures(index)
        return self.reading_as.ignored(pictures[0][1]) if pictures and not pictures[0][0] else None


def _folders_of_masks(folder: Path) -> list[tuple[int, Path]]:
    """The folder itself as 0, or the folders of its objects, which have their numbers plus one."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of masks")
    inner = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."), key=lambda p: p.name)
    if not inner:
        return [(0, folder)]
    if all(path.name.isdecimal() for path in inner):
        return [(int(path.name) + 1, path) for path in inner]
    return [(place + 1, path) for place, path in enumerate(inner)]


def _frame_numbers(frames: Frames) -> dict[str, int]:
    """Indices of frames by what masks may be called: the picture's name, and its number."""
    if not isinstance(frames, FolderFrames):
        return {str(index): index for index in range(frames.count())}
    found: dict[str, int] = {}
    stems = [PurePosixPath(file).stem for file in frames.files]
    for index, stem in enumerate(stems):
        found.setdefault(_number_of(stem), index)
    return found | {stem: index for index, stem in enumerate(stems)}


def _number_of(stem: str) -> str:
    """The number at the end of a name, without zeros in front; the name where there is none."""
    match = _NUMBER.search(stem)
    return str(int(match[1])) if match is not None else stem


def _described(frames: Frames) -> str:
    if isinstance(frames, FolderFrames):
        return f"{frames.folder} ({listed(frames.files)})"
    return f"{frames.where(0).removesuffix(' frame 0')} ({frames.count()} frames)"


class PngVideoRecords(Records):
    """Videos with masks; called by their folders."""

    format = "davis"
    videos = True

    def __init__(self, videos: Sequence[tuple[str, Path, Path]], config: SourceConfig) -> None:
        self._names = Names(name for name, _, _ in videos)
        self._frames = Names(str(frames) for _, frames, _ in videos)
        self._masks = Names(str(masks) for _, _, masks in videos)
        self._choice = Choice.of(config)
        self._reading = tell_reading(_some_masks([masks for _, _, masks in videos]), config)

    def __len__(self) -> int:
        return len(self._names)

    def record(self, index: int) -> PngVideoRecord:
        """Video ``index``, in the order of names."""
        place = self._frames[index]
        frames = VideoFrames(place) if place.lower().endswith(VIDEO_SUFFIXES) else FolderFrames(place)
        masks = self._masks[index]
        return PngVideoRecord(self._names[index], frames, masks, reading=self._reading, choice=self._choice)


def _some_masks(folders: Sequence[Path]) -> list[Path]:
    """A few masks of a few videos."""
    found: list[Path] = []
    for folder in folders[:: max(1, len(folders) // 16)]:
        for _, inner in _folders_of_masks(folder)[:2]:
            masks = images_in(inner)
            found += masks[:: max(1, len(masks) // 2)][:2]
    if not found and not any(images_in(inner) for folder in folders for _, inner in _folders_of_masks(folder)):
        raise ValueError(f"0 annotated frames in {len(folders)} videos: no mask in {folders[0].parent}")
    return found


def open_records(path: Path, config: SourceConfig, format: str) -> PngVideoRecords:
    """The videos below ``path``, or of the masks in ``path`` where ``images`` says where the videos are.

    Raises:
        FileNotFoundError: no video of masks has a folder of pictures.
        ValueError: there are no masks, several parts, or values that videos cannot have.
    """
    del format
    if not path.is_dir():
        raise ValueError(f"path {path} must be a folder with {_IMAGES} and {_MASKS}, it is a file")
    if config.instances == "components":
        raise ValueError("instances must be labels for videos: connected parts have no number that frames share")
    if config.classes or config.exclude:
        raise ValueError(f"classes, exclude: the masks of {path} hold numbers of objects, no classes")
    names = find_list(config.split, path)
    pairs = _roots(path, config, whole=names is not None)
    videos: list[tuple[str, Path, Path]] = []
    strays: list[str] = []
    for prefix, images, masks in pairs:
        for name, frames, folder in _videos_of(images, masks):
            if frames is None:
                strays.append(str(folder))
            else:
                videos.append((prefix + name if prefix and name else prefix.rstrip("/") or name, frames, folder))
    if not videos:
        raise FileNotFoundError(_no_videos(path, pairs, strays))
    if names is not None:
        wanted = names_of_frames(read_list(names))
        videos = [video for video in videos if PurePosixPath(video[0]).name in wanted]
        if not videos:
            raise ValueError(f"split {names}: none of its {len(wanted)} names ({listed(wanted)}) is a video of {path}")
    records = PngVideoRecords(sorted(videos), config)
    if strays:
        records.notes = (f"folders of masks without pictures left out: {len(strays)} ({listed(strays)})",)
    return records


def _no_videos(path: Path, pairs: Sequence[tuple[str, Path, Path]], strays: Sequence[str]) -> str:
    if not pairs:
        return f"path {path}: expected {_IMAGES} and {_MASKS}, with a folder a video in each"
    said = f"masks without pictures: {listed(strays)}" if strays else f"no folder of masks in {pairs[0][2]}"
    return f"path {path}: 0 annotated videos; {said}; expected the same names in {pairs[0][1]} (or set images)"


def _roots(path: Path, config: SourceConfig, *, whole: bool) -> list[tuple[str, Path, Path]]:
    """(prefix of names, folder of pictures, folder of masks) of each data set below ``path``."""
    if config.images is not None:
        images = Path(config.images)
        inner = _named(path, _MASKS)
        return [("", *_resolved(_named(images, _IMAGES) or images, inner or path))]
    found = [(p, _named(p, _IMAGES), _named(p, _MASKS)) for p in _folders_with_both(path, _DEEPEST)]
    roots = [(p.relative_to(path).as_posix(), images, masks) for p, images, masks in found if images and masks]
    if whole:
        takes = choose_part([], None, str(path))
    else:
        takes = choose_part([part_of(f"{name}/_") for name, _, _ in roots], config.split, f"path {path}")
    roots = [root for root in roots if takes(part_of(f"{root[0]}/_"))]
    single = len(roots) == 1
    return [("" if single else f"{name}/", *_resolved(images, masks)) for name, images, masks in roots]


def _folders_with_both(folder: Path, depth: int) -> list[Path]:
    if _named(folder, _IMAGES) and _named(folder, _MASKS):
        return [folder]
    if not depth:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return [found for path in inner for found in _folders_with_both(path, depth - 1)]


def _named(folder: Path, start: str) -> Path | None:
    """The folder in ``folder`` whose name begins with ``start``; the plain name goes first."""
    found = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.startswith(start))
    return next((path for path in found if path.name == start), found[0] if found else None)


def _resolved(images: Path, masks: Path) -> tuple[Path, Path]:
    """``480p`` and the like in both folders, else in one of them, else the folders."""
    for name in _RESOLUTIONS:
        if (images / name).is_dir() and (masks / name).is_dir():
            return images / name, masks / name
    found = [next((f / name for name in _RESOLUTIONS if (f / name).is_dir()), f) for f in (images, masks)]
    return found[0], found[1]


def _videos_of(images: Path, masks: Path) -> list[tuple[str, Path | None, Path]]:
    """(name, folder of pictures or video file, folder of masks) of each video; of a workspace, its one."""
    if images.is_file() or images_in(masks) or (images_in(images) and not _folders_in(images)):
        return [("", images, masks)]
    there = {path.name for path in _folders_in(images)}
    files = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES}
    found: list[tuple[str, Path | None, Path]] = []
    for folder in sorted(_folders_in(masks), key=lambda path: natural_key(path.name)):
        frames = images / folder.name if folder.name in there else files.get(folder.name)
        found.append((folder.name, frames, folder))
    return found


def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
