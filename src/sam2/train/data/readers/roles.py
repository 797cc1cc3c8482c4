"""Which pictures of a folder are photos, which are masks, and which belong together, by their names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sam2.train.data.readers.splits import words_of

MASK_WORDS = frozenset(
    (
        *("mask", "masks", "msk", "label", "labels", "lbl", "labelids", "target", "targets", "matte", "mattes"),
        *("annotation", "annotations", "annot", "annots", "ann", "gt", "gts", "gtfine", "groundtruth", "truth"),
        *("seg", "segs", "segm", "segms", "segmentation", "segmentations", "segmentationobject", "segmentationclass"),
        *("instance", "instances", "instanceids", "manual"),
    )
)
IMAGE_WORDS = frozenset(
    (
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpegimages", "leftimg8bit"),
        *("rgb", "input", "inputs", "data", "raw", "orig"),
    )
)
_ENDING = re.compile(r"(.+?)[ _.\-]+([a-z0-9]*?)[ _.\-]?([0-9]*)", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+?)[ _.\-]+[0-9]+")
_JPEG = (".jpg", ".jpeg")

_OF_OBJECTS = frozenset(("segmentationobject", "instanceids"))
_OF_CLASSES = frozenset(("segmentationclass", "labelids"))

Key = tuple[str, str]
"""Folder without the words for roles, and name."""


def split_path(path: str) -> tuple[str, str, str]:
    """Folder, name without extension, and extension in small letters of a path with forward slashes.

    As strings: there are a hundred thousand of them, and ``PurePosixPath`` takes its time.
    """
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return (folder, stem, f".{suffix.lower()}") if dot and stem else (folder, name, "")


@lru_cache(maxsize=4096)
def role_of_folder(folder: str) -> str | None:
    """ "image" or "mask" by the names of a folder and those above it, the nearest first; None where they do not say."""
    for name in reversed(folder.split("/")):
        words = set(words_of(name))
        image, mask = bool(words & IMAGE_WORDS), bool(words & MASK_WORDS)
        if image != mask:
            return "image" if image else "mask"
        if image:
            return None  # data_GT
    return None


def without_ending(stem: str, words: frozenset[str]) -> str | None:
    """``NAME`` of ``NAME_mask``, ``NAME-mask-2``, ``mask_NAME``, ``NAME_gtFine_labelIds``; None of anything else."""
    found: str | None = None
    while (match := _ENDING.fullmatch(stem)) is not None and match[2].lower() in words:
        found = stem = match[1]
    if found is None:
        first, _, rest = stem.partition("_")
        found = rest if rest and first.lower() in words else None
    return found


def key_of(path: str) -> Key:
    """What a picture is found by: its folder less the words that say what is in it, and its name."""
    folder, stem, _ = split_path(path)
    return _plain_folder(folder), stem


@lru_cache(maxsize=4096)
def _plain_folder(folder: str) -> str:
    names = [" ".join(w for w in words_of(f) if w not in MASK_WORDS | IMAGE_WORDS) for f in folder.split("/")]
    return "/".join(name for name in names if name)


@dataclass(slots=True)
class Roles:
    """Pictures by what they are; ``unknown`` where names do not say it."""

    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def tell_roles(paths: Sequence[str]) -> Roles:
    """The roles of pictures (paths with forward slashes) by the names of folders and files.

    A file ``NAME_mask.png`` is a mask if there is a ``NAME`` beside it, wherever it lies, and ``NAME.png`` is one
    beside ``NAME.jpg`` where the folder's name says nothing.
    """
    split = [split_path(path) for path in paths]
    beside: dict[str, set[str]] = {}
    for folder, stem, _ in split:
        beside.setdefault(folder, set()).update((stem, without_ending(stem, IMAGE_WORDS) or stem))
    jpegs = {(folder, stem) for folder, stem, suffix in split if suffix in _JPEG}
    roles = Roles()
    for path, (folder, stem, suffix) in zip(paths, split, strict=True):
        role, base = role_of_folder(folder), without_ending(stem, MASK_WORDS)
        named = role != "mask" and base is not None and base in beside[folder]
        twin = role is None and suffix not in _JPEG and (folder, stem) in jpegs
        kind = "mask" if named or twin else role
        {"image": roles.images, "mask": roles.masks, None: roles.unknown}[kind].append(path)
    return roles


def match_masks(images: Sequence[str], masks: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The masks of each image, and the masks that belong to none."""
    index = _Index(images)
    found: list[list[str]] = [[] for _ in images]
    strays: list[str] = []
    for mask in masks:
        place = index.find(mask)
        if place is None:
            strays.append(mask)
        else:
            found[place].append(mask)
    return found, strays


def best_masks(masks: Sequence[str]) -> list[str]:
    """Of a picture's masks those of objects, where there are others of classes: Pascal VOC and Cityscapes have both."""
    if len(masks) < 2:
        return list(masks)
    of_objects = [mask for mask in masks if set(words_of(mask)) & _OF_OBJECTS]
    of_classes = [mask for mask in masks if set(words_of(mask)) & _OF_CLASSES]
    return of_objects if of_objects and of_classes else list(masks)


class _Index:
    """Images by the names that their masks may have."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_key: dict[Key, int] = {}
        keys = [key_of(path) for path in images]
        for place, key in enumerate(keys):
            self._by_key.setdefault(key, place)
        for place, (folder, stem) in enumerate(keys):
            if (bare := without_ending(stem, IMAGE_WORDS)) is not None:
                self._by_key.setdefault((folder, bare), place)
        self._alone = _single((folder, place) for place, (folder, _) in enumerate(keys))
        self._by_stem = _single((stem, place) for (_, stem), place in self._by_key.items())

    def find(self, mask: str) -> int | None:
        """The image of a mask: of the same name, less ``_mask`` and less numbers; of the name of the mask's folder;
        the only one in the same folder; or the only one of the name anywhere."""
        folder, stem = key_of(mask)
        stems = [stem]
        if (bare := without_ending(stem, MASK_WORDS)) is not None:
            stems.append(bare)
        stems += [match[1] for each in list(stems) if (match := _NUMBERED.fullmatch(each)) is not None]
        for each in stems:
            if (place := self._by_key.get((folder, each))) is not None:
                return place
        above, parent, _ = split_path(split_path(mask)[0])
        if (place := self._by_key.get((_plain_folder(above), parent))) is not None:
            return place
        if folder and (place := self._alone.get(folder)) is not None:
            return place
        return next((self._by_stem[each] for each in stems if each in self._by_stem), None)


def _single(pairs: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    """What has one value only, by key."""
    unique = dict.fromkeys(pairs)
    counts = Counter(key for key, _ in unique)
    return {key: value for key, value in unique if counts[key] == 1}
