"""A clip of a video benchmark on disk: its frames, and the masks of its objects on some of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.eval.label_images import LabelImage, read_label_image
from sam2.io.listed import images_in, natural_key

Mask = NDArray[np.bool_]
GREY_OBJECT = 255
"""What the object of grey masks is called: by the value that it usually has."""


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """The masks of a frame.

    Attributes:
        objects: [h, w] by object; those that are not to be seen may be missing, or empty.
        void: [h, w], where nothing counts; None where everything does.
        size: (height, width).
    """

    objects: dict[int, Mask]
    void: Mask | None
    size: tuple[int, int]

    def of(self, obj_id: int) -> Mask:
        """The mask of an object, empty where there is none."""
        found = self.objects.get(obj_id)
        return np.zeros(self.size, bool) if found is None else found


@dataclass(frozen=True)
class VosClip:
    """A clip on disk.

    Attributes:
        name: of its folder.
        frames: folder of its images; None where there are only masks.
        stems: names of the frames without suffixes, in order.
        labels: label images by the frame's index; empty where every object has a folder.
        folders: of every object that has a folder of masks (SA-V): the masks by the frame's index.
        merged: all labels are one object (DAVIS 2016).
    """

    name: str
    frames: Path | None
    stems: tuple[str, ...]
    labels: Mapping[int, Path]
    folders: Mapping[str, Mapping[int, Path]]
    merged: bool = False

    @property
    def per_object(self) -> bool:
        """Whether every object has a folder of masks, so that masks may overlap."""
        return bool(self.folders)

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        """Indices of the frames with masks, ascending."""
        return tuple(sorted({*self.labels, *(index for files in self.folders.values() for index in files)}))

    @cached_property
    def is_binary(self) -> bool:
        """Whether its label images show one object only: whatever is not 0."""
        if self.merged or self.per_object:
            return self.merged
        for index in self.annotated:
            image = read_label_image(self.labels[index])
            if image.palette is not None:
                return False
            if image.values.any():
                return set(np.unique(image.values).tolist()) <= {0, GREY_OBJECT}
        return False

    def annotated_of(self, obj_id: int) -> tuple[int, ...]:
        """Indices of the frames on which it is known where an object is, and that it is not there, ascending."""
        if not self.per_object:
            return self.annotated
        return tuple(sorted(next(files for name, files in self.folders.items() if int(name) == obj_id)))

    def masks(self, index: int) -> FrameMasks:
        """What is known of a frame, one of ``annotated``.

        Raises:
            FileNotFoundError, ValueError: a file is missing or broken, or masks differ in size.
        """
        if not self.per_object:
            return self._split(read_label_image(self.labels[index]))
        found: dict[int, Mask] = {}
        for name, files in self.folders.items():
            if index in files:
                found[int(name)] = read_label_image(files[index]).values > 0
        sizes = {mask.shape for mask in found.values()}
        if len(sizes) > 1:
            raise ValueError(f"{self.name}/{self.stems[index]}: the masks of its objects differ in size")
        height, width = sizes.pop()
        return FrameMasks(found, None, (height, width))

    def split_like(self, path: Path) -> FrameMasks:
        """Masks of another label image, told apart as those of this clip are."""
        return self._split(read_label_image(path))

    def appearances(self) -> dict[int, dict[int, Mask]]:
        """Masks by frame and object: each object's on the first frame that shows it."""
        first: dict[int, dict[int, Mask]] = {}
        seen: set[int] = set()
        for index in self.annotated:
            new = {o: m for o, m in self.masks(index).objects.items() if o not in seen and m.any()}
            if new:
                first[index] = new
                seen |= new.keys()
            if self.per_object and len(seen) == len(self.folders):
                break
        return first

    def _split(self, image: LabelImage) -> FrameMasks:
        height, width = image.values.shape
        if self.is_binary:
            return FrameMasks({1 if self.merged else GREY_OBJECT: image.labels > 0}, image.void, (height, width))
        labels = image.labels
        objects = {int(value): labels == value for value in np.unique(labels) if value}
        return FrameMasks(objects, image.void, (height, width))


def open_clip(frames: Path | None, annotations: Path, *, name: str | None = None, merged: bool = False) -> VosClip:
    """The clip with images in ``frames`` and masks in ``annotations``: label images, or folders of masks.

    Args:
        name: that of ``annotations`` by default.
        merged: see :class:`VosClip`.

    Raises:
        FileNotFoundError: no mask belongs to an image.
        ValueError: a folder of masks is not called by a number.
    """
    folders = sorted(folder for folder in annotations.iterdir() if folder.is_dir() and folder.name[0] != ".")
    strange = [folder.name for folder in folders if not folder.name.isdigit()]
    if strange:
        raise ValueError(f"{annotations} holds the folder {strange[0]!r}: folders of objects are called by numbers")
    files = {folder.name: _pngs(folder) for folder in folders} if folders else {"": _pngs(annotations)}
    named: Collection[str] = {stem for pngs in files.values() for stem in pngs}
    if frames is not None:
        named = [path.stem for path in images_in(frames)]
    stems = tuple(sorted(named, key=natural_key)) if frames is None else tuple(named)
    index = {stem: i for i, stem in enumerate(stems)}
    placed = {name: {index[s]: path for s, path in pngs.items() if s in index} for name, pngs in files.items()}
    if not any(placed.values()):
        raise FileNotFoundError(f"no mask in {annotations} belongs to an image in {frames}")
    if folders:
        placed = {name: pngs for name, pngs in placed.items() if pngs}
    labels, objects = ({}, placed) if folders else (placed[""], {})
    return VosClip(name or annotations.name, frames, stems, labels, objects, merged)


def unplaced(clip: VosClip, annotations: Path) -> list[str]:
    """Masks in ``annotations`` that belong to no frame of ``clip``, as OBJECT/FRAME or FRAME."""
    known = set(clip.stems)
    return [
        path.relative_to(annotations).with_suffix("").as_posix()
        for path in sorted(annotations.rglob("*.png"))
        if path.stem not in known
    ]


def _pngs(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.png")) if path.name[0] != "."}
