"""Pictures with masks beside them: two folders, one folder, or a folder an image, under whatever names.

Files are paired by their names (:mod:`sam2.train.data.readers.roles`); where names do not tell photos from masks,
what is in the files does: neighbouring pixels of masks are equal, those of photos are not.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sam2.interop.entries import at
from sam2.interop.pictures import SUFFIXES
from sam2.interop.rle import Mask
from sam2.train.data.readers.base import Choice, Counts, FoundObject, Groups, Names, Record, check_size, listed
from sam2.train.data.readers.detect import describe_formats
from sam2.train.data.readers.frames import StillFrames
from sam2.train.data.readers.label_images import Reading, found_in, read_label_picture, tell_reading
from sam2.train.data.readers.roles import Roles, best_masks, match_masks, tell_roles
from sam2.train.data.readers.splits import ALL, choose_part, find_list, part_of, read_list
from sam2.train.data.sources import Records, SourceConfig

_ALL_SUFFIXES = (*SUFFIXES, ".gif")
_LOOKED_AT = 3
_EQUAL_NEIGHBOURS, _FEW_VALUES = 0.95, 16


class PairRecord(Record):
    """A picture and its masks, which are files of their own."""

    def __init__(self, name: str, image: str, masks: Sequence[str], *, reading: Reading, choice: Choice) -> None:
        super().__init__(name, StillFrames(image), choice)
        self.mask_files, self.reading_as = tuple(masks), reading

    def _found(self, index: int) -> list[FoundObject]:
        found: list[FoundObject] = []
        for file in self.mask_files:
            picture = read_label_picture(Path(file))
            check_size(file, picture.values.shape, self.frames, index)
            with at(file):
                found += found_in(self.reading_as, picture)
        if len(self.mask_files) == 1:
            return found
        return [FoundObject(place, item.label, item.area, item.decode) for place, item in enumerate(found, start=1)]

    def ignored(self, index: int) -> Mask | None:
        """Pixels of values that are to be ignored, in any of the masks."""
        del index
        with self.reading():
            found = [self.reading_as.ignored(read_label_picture(Path(file))) for file in self.mask_files]
        known = [mask for mask in found if mask is not None]
        return np.logical_or.reduce(known) if known else None


class PairRecords(Records):
    """Pictures that have masks; names are relative to their folders."""

    format = "pairs"
    videos = False

    def __init__(self, roots: tuple[Path, Path], pairs: dict[str, list[str]], config: SourceConfig) -> None:
        self._images_root, self._masks_root = (str(root) for root in roots)
        self._images = Names(pairs)
        self._masks = Names(mask for masks in pairs.values() for mask in masks)
        self._groups = Groups(len(masks) for masks in pairs.values())
        self._choice = Choice.of(config)
        self._reading = tell_reading([roots[1] / self._masks[place] for place in _spread(len(self._masks))], config)

    def __len__(self) -> int:
        return len(self._images)

    def record(self, index: int) -> PairRecord:
        """Picture ``index``, in the order of names."""
        image = self._images[index]
        masks = [os.path.join(self._masks_root, mask) for mask in self._masks[self._groups[index]]]
        path = os.path.join(self._images_root, image)
        return PairRecord(image, path, masks, reading=self._reading, choice=self._choice)


def _spread(count: int) -> range:
    return range(0, count, max(1, count // 256))


def open_records(path: Path, config: SourceConfig, format: str) -> PairRecords:
    """The pictures with masks below ``path``; masks only, where ``images`` says where the pictures are.

    Raises:
        FileNotFoundError: there are masks, but no picture of the same names.
        ValueError: there are no pictures, no masks, or several parts.
    """
    del format
    if not path.is_dir():
        raise ValueError(f"path {path} must be a folder of pictures and masks, it is a file")
    if config.images is None:
        roles, roots = _sorted_out(path, config), (path, path)
    else:
        roots = (Path(config.images), path)
        roles = Roles(_pictures_in(roots[0]), _pictures_in(path))
    for what, there, argument in (("pictures", roles.images, "images"), ("masks", roles.masks, "path")):
        if not there:
            raise ValueError(_nothing(path, config, what, argument))
    images = _of_split(roles, path, config)
    found, strays = match_masks(images, roles.masks)
    pairs = {image: sorted(best_masks(masks)) for image, masks in zip(images, found, strict=True) if masks}
    if not pairs:
        raise FileNotFoundError(
            f"path {path}: none of {len(roles.masks)} masks ({listed(roles.masks)}) belongs to one of {len(images)} "
            f"pictures ({listed(images)}): expected the same names (NAME.jpg and NAME.png, NAME_mask.png or NAME_1.png)"
        )
    records = PairRecords(roots, pairs, config)
    records.notes = _notes(images, pairs, strays, config)
    return records


def _nothing(path: Path, config: SourceConfig, what: str, argument: str) -> str:
    where = config.images if argument == "images" and config.images is not None else path
    expected = (
        f"files that end in {', '.join(SUFFIXES)} in two folders (images and masks, or any names), or in one "
        "(NAME.jpg and NAME_mask.png)"
    )
    other = f"; nor is it {describe_formats()}" if config.format == "auto" else ""
    return f"path {where}: no {what} found; looked for {expected}{other}"


def _notes(
    images: Sequence[str], pairs: dict[str, list[str]], strays: Sequence[str], config: SourceConfig
) -> tuple[str, ...]:
    notes = Counts()
    for image in images:
        if image not in pairs:
            notes.add("pictures without masks left out", image)
    for mask in strays if config.split in (None, ALL) else ():
        notes.add("masks without pictures left out", mask)
    return notes.sentences()


def _pictures_in(folder: Path) -> list[str]:
    """Pictures below a folder, relative to it, with forward slashes, sorted; hidden ones left out."""
    found: list[str] = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = Path(root).relative_to(folder).as_posix()
        prefix = "" if inner == "." else f"{inner}/"
        names = (name for name in files if not name.startswith("."))
        found += [prefix + name for name in names if os.path.splitext(name)[1].lower() in _ALL_SUFFIXES]
    return sorted(found)


def _sorted_out(path: Path, config: SourceConfig) -> Roles:
    pictures = _pictures_in(path)
    if not pictures:
        raise ValueError(_nothing(path, config, "pictures", "path"))
    roles = tell_roles(pictures)
    if roles.images and roles.masks:
        return roles
    # by folders, as they are made in one go
    by_folder: dict[str, list[str]] = {}
    for name in roles.unknown:
        by_folder.setdefault(str(PurePosixPath(name).parent), []).append(name)
    for names in by_folder.values():
        is_mask = not roles.masks and all(looks_like_mask(path / name) for name in names[:_LOOKED_AT])
        (roles.masks if is_mask else roles.images).extend(names)
    return Roles(sorted(roles.images), sorted(roles.masks))


def looks_like_mask(path: Path) -> bool:
    """Whether a picture is a mask rather than a photo, by its pixels. False for what cannot be read."""
    try:
        picture = read_label_picture(path)
    except (OSError, ValueError):
        return False
    values = picture.values
    equal = float((values[:, 1:] == values[:, :-1]).mean()) if values.shape[1] > 1 else 1.0
    return picture.mode == "palette" or equal >= _EQUAL_NEIGHBOURS or len(np.unique(values)) <= _FEW_VALUES


def _of_split(roles: Roles, path: Path, config: SourceConfig) -> list[str]:
    """The images of the part that is asked for."""
    names = find_list(config.split, path)
    if names is not None:
        lines = [PurePosixPath(line) for line in read_list(names)]
        wanted = {line.stem if line.suffix.lower() in _ALL_SUFFIXES else line.name for line in lines}
        chosen = [image for image in roles.images if PurePosixPath(image).stem in wanted]
        if not chosen:
            raise ValueError(f"split {names}: none of its {len(wanted)} names ({listed(sorted(wanted))}) is a picture")
        return chosen
    # a part without masks, such as a test set, is none
    parts = {part_of(mask) for mask in roles.masks}
    takes = choose_part(parts, config.split, f"path {path}")
    return [image for image in roles.images if takes(part_of(image))]
