"""Data of official training configurations: ``trainer.data.train``, its data sets, samplers and transforms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sam2.train.official.tree import OfficialTree

_TRAIN = "trainer.data.train"
_FORMATS = {"PNGRawDataset": "davis", "SA1BRawDataset": "sa1b", "JSONRawDataset": "sav"}
_OFF = (
    *("flip", "affine", "brightness", "contrast", "saturation", "grey"),
    *("frame_brightness", "frame_contrast", "frame_saturation"),
)
NO_FOLDER = "FOLDER"
"""The path of a source whose folder the official file leaves to be filled in."""
_DATASETS = "data sets are folders or files of annotations: see data.train"


@dataclass(frozen=True, slots=True)
class _Place:
    """A ``VOSDataset``: where it stands, and the number of the loader's data set it is part of."""

    path: str
    loader: int


def read_data(official: OfficialTree) -> dict[str, Any]:
    """What ``data`` of a configuration holds: sources, sizes, augmentation."""
    places = list(_datasets(official))
    data: dict[str, Any] = {"train": [_source(official, place) for place in places]}
    official.get(f"{_TRAIN}._target_")
    if official.peek(f"{_TRAIN}.num_workers") is not None:
        data["workers"] = int(official.number(f"{_TRAIN}.num_workers", 0))
    _sampling(official, places, data)
    _batch_sizes(official, places, data)
    seen: Any = None
    for place in places:
        size, augment = _transforms(official, f"{place.path}.transforms")
        if seen is not None and seen != (size, augment):
            official.refuse(f"{place.path}.transforms", "one augmentation serves all data: that of the first data set")
            continue
        seen = (size, augment)
        data["augment"] = augment
        if size is not None:
            data["image_size"] = size
    return data


def _datasets(official: OfficialTree) -> Iterator[_Place]:
    """Every ``VOSDataset`` below the loader's list, through the wrappers that repeat and concatenate."""

    def below(path: str, loader: int) -> Iterator[_Place]:
        official.get(f"{path}._target_")
        if official.length(f"{path}.datasets"):
            for number in range(official.length(f"{path}.datasets")):
                yield from below(f"{path}.datasets.{number}", loader)
        elif official.peek(f"{path}.dataset") is not None:
            yield from below(f"{path}.dataset", loader)
        elif official.peek(f"{path}.video_dataset") is not None:
            yield _Place(path, loader)
        else:
            official.refuse(path, _DATASETS)

    for number in range(official.length(f"{_TRAIN}.datasets")):
        yield from below(f"{_TRAIN}.datasets.{number}", number)


def _source(official: OfficialTree, place: _Place) -> dict[str, Any]:
    """A source: folders, list of names, length of clips, and how often it is gone through."""
    raw = f"{place.path}.video_dataset"
    target = str(official.get(f"{raw}._target_", ""))
    official.get(f"{place.path}.training")
    format = _FORMATS.get(target.rpartition(".")[2])
    if format is None:
        official.refuse(f"{raw}._target_", "the format is told by the files")
    masks, images = official.get(f"{raw}.gt_folder"), official.get(f"{raw}.img_folder")
    if not masks and not images:
        official.refuse(f"{raw}.gt_folder", "no folder is named: write data.train's path, or give --data")
    source: dict[str, Any] = {"path": str(masks or images or NO_FOLDER), "format": format or "auto"}
    if masks and images and masks != images:
        source["images"] = str(images)
    names = official.get(f"{raw}.file_list_txt")
    source["split"] = str(names) if names else "all"
    multiplier = official.number(f"{place.path}.multiplier", 1)
    if multiplier != 1:
        source["weight"] = float(multiplier)
    if format == "sav":
        official.expect(f"{raw}.ann_every", 4, default=1, why="masks of SA-V say themselves which frames they are of")
        official.expect(f"{raw}.rm_unannotated", True, default=True, why="only frames with masks are drawn")
    if format == "davis":
        for key in ("is_palette", "single_object_mode"):
            official.get(f"{raw}.{key}")  # the reader tells either layout by its files
    return source


def _sampling(official: OfficialTree, places: list[_Place], data: dict[str, Any]) -> None:
    """Lengths of clips, objects, and the share that runs backwards."""
    objects, reverse = [], []
    for place, source in zip(places, data["train"], strict=True):
        sampler = f"{place.path}.sampler"
        official.get(f"{sampler}._target_")
        source["frames"] = int(official.number(f"{sampler}.num_frames", 8))
        objects.append(int(official.number(f"{sampler}.max_num_objects", 3)))
        reverse.append(float(official.number(f"{sampler}.reverse_time_prob", 0.0)))
    if not places:
        return
    data["frames"] = max(source["frames"] for source in data["train"])
    data["max_objects"], data["reverse"] = max(objects), max(reverse)
    for place, count, share in zip(places, objects, reverse, strict=True):
        if count != data["max_objects"]:
            why = f"one number of objects serves all data: {data['max_objects']}"
            official.refuse(f"{place.path}.sampler.max_num_objects", why)
        if share != data["reverse"]:
            official.refuse(f"{place.path}.sampler.reverse_time_prob", f"one share serves all data: {data['reverse']}")


def _batch_sizes(official: OfficialTree, places: list[_Place], data: dict[str, Any]) -> None:
    """Clips and stills of a step and process."""
    for place, source in zip(places, data["train"], strict=True):
        path = f"{_TRAIN}.batch_sizes.{place.loader}"
        if official.peek(path) is None:
            continue
        size = int(official.number(path, 1))
        name = "batch_size" if source["frames"] > 1 else "still_batch_size"
        if data.setdefault(name, size) != size:
            official.refuse(path, f"one size serves all of a kind: {data[name]}")
    if "still_batch_size" in data:
        data.setdefault("batch_size", data["still_batch_size"])


def _transforms(official: OfficialTree, path: str) -> tuple[int | None, dict[str, Any]]:
    """The side of frames, and what varies them; what is not in the list is off."""
    size: int | None = None
    augment: dict[str, Any] = dict.fromkeys(_OFF, 0.0)
    for step in _steps(official, path):
        kind = str(official.get(f"{step}._target_", "")).rpartition(".")[2]
        reader = _READERS.get(kind)
        if kind in ("ToTensorAPI", "NormalizeAPI"):
            official.take(step)
        elif kind == "RandomResizeAPI":
            size = _size(official, step)
        elif reader is None:
            official.refuse(step, "there is no such augmentation: see data.augment")
        else:
            reader(official, step, augment)
    return size, augment


def _steps(official: OfficialTree, path: str) -> Iterator[str]:
    """Every transform, through those that compose others."""
    for number in range(official.length(path)):
        step = f"{path}.{number}"
        if official.length(f"{step}.transforms"):
            official.get(f"{step}._target_")
            yield from _steps(official, f"{step}.transforms")
        else:
            yield step


def _size(official: OfficialTree, step: str) -> int:
    sizes = official.get(f"{step}.sizes")
    first = sizes[0] if isinstance(sizes, list) and sizes else sizes
    if not isinstance(first, int):
        raise ValueError(f"{step}.sizes must be a number of pixels, got {sizes!r}")
    if isinstance(sizes, list) and len(sizes) > 1:
        official.refuse(f"{step}.sizes", f"frames have one size: {first}")
    official.expect(f"{step}.square", True, default=False, why="frames are brought to squares, as models take them")
    official.get(f"{step}.consistent_transform")
    return first


def _flip(official: OfficialTree, step: str, augment: dict[str, Any]) -> None:
    augment["flip"] = official.number(f"{step}.p", 0.5)
    _shared(official, step)


def _affine(official: OfficialTree, step: str, augment: dict[str, Any]) -> None:
    augment |= {"affine": 1.0, "degrees": _most(official, f"{step}.degrees", 0.0)}
    augment["shear"] = _most(official, f"{step}.shear", 0.0)
    augment["shift"] = _most(official, f"{step}.translate", 0.0)
    zoom = official.get(f"{step}.scale")
    if isinstance(zoom, list) and len(zoom) == 2:
        augment["zoom"] = [float(value) for value in zoom]
    for key in ("image_interpolation", "num_tentatives", "log_warning"):
        official.get(f"{step}.{key}")
    _shared(official, step)


def _colours(official: OfficialTree, step: str, augment: dict[str, Any]) -> None:
    """Jitter of colours: of the whole clip, or of each of its frames."""
    prefix = "" if official.flag(f"{step}.consistent_transform", True) else "frame_"
    for name in ("brightness", "contrast", "saturation"):
        augment[f"{prefix}{name}"] = _most(official, f"{step}.{name}", 0.0)
    hue = _most(official, f"{step}.hue", 0.0)
    if not prefix:
        augment["hue"] = hue
    elif hue:
        official.refuse(f"{step}.hue", "colours of a clip are turned together")


def _grey(official: OfficialTree, step: str, augment: dict[str, Any]) -> None:
    augment["grey"] = official.number(f"{step}.p", 0.5)
    _shared(official, step)


def _mosaic(official: OfficialTree, step: str, augment: dict[str, Any]) -> None:
    augment["mosaic"] = official.number(f"{step}.prob", 0.15)
    for key in ("grid_h", "grid_w"):
        official.expect(f"{step}.{key}", 2, default=2, why="mosaics are of two by two")
    official.expect(f"{step}.use_random_hflip", False, default=False, why="all four clips are alike")


def _shared(official: OfficialTree, step: str) -> None:
    why = "the frames of a clip are moved together"
    official.expect(f"{step}.consistent_transform", True, default=True, why=why)


def _most(official: OfficialTree, path: str, default: float) -> float:
    """A range given by its most, or as (least, most); null is none."""
    value = official.get(path, default)
    if isinstance(value, list) and value and all(isinstance(one, (int, float)) for one in value):
        return float(max(abs(one) for one in value))
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{path} must be a number or a list of them, got {value!r}")
    return float(value)


_READERS = {
    "RandomHorizontalFlip": _flip,
    "RandomAffine": _affine,
    "ColorJitter": _colours,
    "RandomGrayscale": _grey,
    "RandomMosaicVideoAPI": _mosaic,
}
