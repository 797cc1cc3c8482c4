"""Which pictures of a folder are photos, which are masks, and which belong together, by their names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

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

Key = tuple[str, str]
"""Folder without the words for roles, and name."""


def role_of_folder(path: str) -> str | None:
    """ "image" or "mask" by the names of the folders above a file, from the nearest on; None where they say nothing."""
    for folder in reversed(PurePosixPath(path).parts[:-1]):
        words = set(words_of(folder))
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
    pure = PurePosixPath(path)
    folders = [" ".join(w for w in words_of(f) if w not in MASK_WORDS | IMAGE_WORDS) for f in pure.parts[:-1]]
    return "/".join(folder for folder in folders if folder), pure.stem


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
    beside: dict[str, set[str]] = {}
    jpegs: set[tuple[str, str]] = set()
    for path in paths:
        pure = PurePosixPath(path)
        folder = str(pure.parent)
        beside.setdefault(folder, set()).add(pure.stem)
        beside[folder].add(without_ending(pure.stem, IMAGE_WORDS) or pure.stem)
        if pure.suffix.lower() in _JPEG:
            jpegs.add((folder, pure.stem))
    roles = Roles()
    for path in paths:
        pure = PurePosixPath(path)
        folder, role = str(pure.parent), role_of_folder(path)
        base = without_ending(pure.stem, MASK_WORDS)
        named = role != "mask" and base is not None and base in beside[folder]
        twin = role is None and pure.suffix.lower() not in _JPEG and (folder, pure.stem) in jpegs
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
        parent = PurePosixPath(mask).parent.name
        above = key_of(str(PurePosixPath(mask).parent))[0]
        if (place := self._by_key.get((above, parent))) is not None:
            return place
        if folder and (place := self._alone.get(folder)) is not None:
            return place
        return next((self._by_stem[each] for each in stems if each in self._by_stem), None)


def _single(pairs: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    """What has one value only, by key."""
    unique = dict.fromkeys(pairs)
    counts = Counter(key for key, _ in unique)
    return {key: value for key, value in unique if counts[key] == 1}
