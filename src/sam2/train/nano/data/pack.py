"""A cache that training reads without decoding: all pixels in one memory-mapped file, all masks in another."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.nano.data.records import KINDS, ImageRecord, ObjectMask, read_photo

MAX_SIDE = 640
HELD_OUT_SHARE = 0.1
MIN_CUTOUT_SHARE = 0.02
_VERSION = 3
_WHOLE = ("thing", "whole", "group", "salient")

IMAGE_FIELDS = np.dtype("i8, i4, i4, i4, i4, ?, U20, U80")
IMAGE_FIELDS.names = ("offset", "height", "width", "first_mask", "masks", "held_out", "source", "name")
MASK_FIELDS = np.dtype("i8, i4, i4, i4, i4, i4, i4, i1, ?, f4")
MASK_FIELDS.names = ("offset", "x", "y", "height", "width", "area", "image", "kind", "cutout", "crowding")


def is_held_out(name: str) -> bool:
    """Whether the photo of this name belongs to the validation tenth (by hash: the same on every machine)."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


@dataclass(frozen=True, slots=True)
class PackedData:
    """The opened cache.

    Attributes:
        images: one row of ``IMAGE_FIELDS`` a photo.
        masks: one row of ``MASK_FIELDS`` an object, those of a photo next to each other.
        pixels, bits: uint8 memory maps that the offsets point into.
    """

    images: NDArray[np.void]
    masks: NDArray[np.void]
    pixels: NDArray[np.uint8]
    bits: NDArray[np.uint8]

    def image(self, index: int) -> NDArray[np.uint8]:
        """[h, w, 3] RGB, a view of the file."""
        row = self.images[index]
        start, height, width = int(row["offset"]), int(row["height"]), int(row["width"])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """[h, w] 0 or 1, the crop described by row ``index`` of ``masks``; a view of the file."""
        row = self.masks[index]
        start, height, width = int(row["offset"]), int(row["height"]), int(row["width"])
        return self.bits[start : start + height * width].reshape(height, width)

    def masks_of(self, image: int) -> range:
        """Rows of ``masks`` that belong to photo ``image``."""
        first = int(self.images[image]["first_mask"])
        return range(first, first + int(self.images[image]["masks"]))


def pack(records: Iterable[ImageRecord], folder: str | Path) -> None:
    """Write the cache of ``records`` to ``folder``. The index is written last: a cache without one is unfinished."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, masks = [], []
    with open(folder / "pixels.bin", "wb") as pixels, open(folder / "masks.bin", "wb") as bits:
        for number, record in enumerate(records):
            photo = read_photo(record.path)
            scale = min(1.0, MAX_SIDE / max(photo.shape[:2]))
            photo = _resize(photo, scale)
            height, width = photo.shape[:2]
            objects = [_scaled(item, scale) for item in record.objects]
            held_out = is_held_out(record.name)
            size = (height, width, len(masks), len(objects))
            images.append((pixels.tell(), *size, held_out, record.source, record.name))
            pixels.write(photo.tobytes())
            for item in objects:
                where = (item.x, item.y, *item.mask.shape)
                cutout, crowding = _can_be_cut_out(item, height, width), crowding_of(item, objects)
                masks.append((bits.tell(), *where, item.area, number, KINDS.index(item.kind), cutout, crowding))
                bits.write(item.mask.astype(np.uint8).tobytes())
    unfinished = folder / "index.partial.npz"
    np.savez(unfinished, images=np.array(images, IMAGE_FIELDS), masks=np.array(masks, MASK_FIELDS), version=_VERSION)
    os.replace(unfinished, folder / "index.npz")


def open_packed(folder: str | Path) -> PackedData:
    """Open a cache that :func:`pack` wrote; ``FileNotFoundError`` if there is none, ``ValueError`` if it is old."""
    folder = Path(folder)
    with np.load(folder / "index.npz") as index:
        if int(index["version"]) != _VERSION:
            raise ValueError(f"{folder} was packed by another version: remove it, it is packed again")
        images, masks = index["images"], index["masks"]
    pixels = np.memmap(folder / "pixels.bin", np.uint8, mode="r")
    bits = np.memmap(folder / "masks.bin", np.uint8, mode="r")
    return PackedData(images, masks, pixels, bits)


def crowding_of(item: ObjectMask, objects: Sequence[ObjectMask]) -> float:
    """The area of other whole objects in the box of ``item``, as a multiple of its own: 0 where it is alone.

    A table that is laid has a high one: a box around it says little about what is meant. What covers most of another
    object's mask is a part of that, or the same once more, and does not count; nor do parts and stuff.
    """
    if item.kind not in _WHOLE:
        return 0.0
    others = (other for other in objects if other is not item and other.kind in _WHOLE)
    return sum(_intruding(item, other) for other in others) / max(item.area, 1)


def _intruding(item: ObjectMask, other: ObjectMask) -> int:
    """Pixels of ``other`` in the box of ``item`` that are not its own."""
    x0, y0 = max(item.x, other.x), max(item.y, other.y)
    x1 = min(item.x + item.mask.shape[1], other.x + other.mask.shape[1])
    y1 = min(item.y + item.mask.shape[0], other.y + other.mask.shape[0])
    if x0 >= x1 or y0 >= y1:
        return 0
    inside = other.mask[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x].astype(bool)
    common = inside & item.mask[y0 - item.y : y1 - item.y, x0 - item.x : x1 - item.x].astype(bool)
    return 0 if common.sum() > 0.5 * other.area else int((inside & ~common).sum())


def _resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _scaled(item: ObjectMask, scale: float) -> ObjectMask:
    if scale == 1:
        return item
    mask = _resize(item.mask.astype(np.uint8) * 255, scale) > 127
    return ObjectMask(mask, round(item.x * scale), round(item.y * scale), item.kind)


def _can_be_cut_out(item: ObjectMask, height: int, width: int) -> bool:
    """Whether the object is large and, as far as the frame shows, whole."""
    rows, columns = item.mask.shape
    borders = (item.x <= 1) + (item.y <= 1) + (item.x + columns >= width - 1) + (item.y + rows >= height - 1)
    return bool(item.kind in _WHOLE and borders == 0 and item.area >= MIN_CUTOUT_SHARE * height * width)
