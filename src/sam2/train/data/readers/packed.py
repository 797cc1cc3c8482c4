"""Masks as polygons or run lengths, packed into bytes: those of a picture stand together and take a few kilobytes."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam2.interop.entries import as_kind
from sam2.interop.polygons import check_polygon, outlines_to_mask, polygons_to_mask
from sam2.interop.rle import check_rle
from sam2.train.data.readers.base import FoundObject

_HEAD = struct.Struct("<cii")
_POLYGONS, _RUNS = b"P", b"R"


@dataclass(frozen=True, slots=True)
class Outline:
    """One object of a picture as its annotations have it.

    Attributes:
        number: of the object in its record.
        category: place of its class among the names of classes; -1 if it has none.
        segmentation: list of polygons [x, y, x, y, ...] or run-length encoding, as in COCO.
    """

    number: int
    category: int
    segmentation: Any


def pack(outlines: Iterable[Outline]) -> bytes:
    """Outlines as bytes; what is wrong with one is found out when it is unpacked."""
    parts = bytearray()
    for outline in outlines:
        kind, content = _encoded(outline.segmentation)
        parts += _HEAD.pack(kind, outline.number, outline.category) + struct.pack("<I", len(content)) + content
    return bytes(parts)


def _encoded(segmentation: Any) -> tuple[bytes, bytes]:
    if isinstance(segmentation, list):
        flat = segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation]
        try:
            arrays = [np.asarray(polygon, np.float32) for polygon in flat]
            lengths = struct.pack(f"<{len(arrays) + 1}I", len(arrays), *(array.size for array in arrays))
            return _POLYGONS, lengths + b"".join(array.tobytes() for array in arrays)
        except (TypeError, ValueError):
            pass  # kept as it is, to be complained of when it is used
    return _RUNS, json.dumps(segmentation, separators=(",", ":")).encode()


def unpack(packed: bytes, size: tuple[int, int], labels: tuple[str, ...]) -> list[FoundObject]:
    """The objects of a picture of ``size`` = (height, width).

    Args:
        labels: names of classes, in the order of ``Outline.category``.

    Raises:
        ValueError: a mask is malformed, or has another size.
    """
    found: list[FoundObject] = []
    place = 0
    while place < len(packed):
        kind, number, category = _HEAD.unpack_from(packed, place)
        (length,) = struct.unpack_from("<I", packed, place + _HEAD.size)
        start = place + _HEAD.size + 4
        content = packed[start : start + length]
        place = start + length
        label: str | None = labels[category] if category >= 0 else None
        try:
            found.append(_decoded(kind, content, number, label, size=size))
        except ValueError as error:
            raise ValueError(f"object {number}: {error}") from None
    return found


def _decoded(kind: bytes, content: bytes, number: int, label: str | None, *, size: tuple[int, int]) -> FoundObject:
    if kind == _POLYGONS:
        return _from_polygons(content, number, label, size=size)
    value: Any = json.loads(content)
    record = as_kind(value, dict)
    if record.get("size") != list(size):
        raise ValueError(f"its mask has the size {record.get('size')}, the picture {list(size)} (height, width)")
    check_rle(record)
    return FoundObject.of_rle(number, label, record)


def _from_polygons(content: bytes, number: int, label: str | None, *, size: tuple[int, int]) -> FoundObject:
    (count,) = struct.unpack_from("<I", content)
    lengths = struct.unpack_from(f"<{count}I", content, 4)
    values = np.frombuffer(content, np.float32, offset=4 + 4 * count).astype(np.float64)
    polygons = []
    for flat in np.split(values, np.cumsum(lengths)[:-1]) if count else []:
        if flat.size < 6 or flat.size % 2:
            raise ValueError(f"a polygon must be three pairs of numbers at least, got {flat.size} numbers")
        polygons.append(check_polygon(flat.reshape(-1, 2)))
    mask = polygons_to_mask(polygons, size)
    if not mask.any() and polygons:
        mask = outlines_to_mask(polygons, size)  # what is thinner than a pixel is still there
    return FoundObject.of_mask(number, label, mask)
