"""Safetensors files written and read a tensor at a time, with a checksum: for more than fits into memory."""

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

CHECKSUM = "crc32"
"""Name of the last tensor: the CRC-32 of all bytes before it."""

_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint8: "U8",
}
_SIZES = {name: dtype.itemsize for dtype, name in _DTYPES.items()}
_CHUNK = 2**22


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor to be written: its bytes are asked for when its turn comes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], bytes]

    @staticmethod
    def of(name: str, value: Tensor) -> "TensorEntry":
        """A tensor that is there."""
        return TensorEntry(name, _DTYPES[value.dtype], tuple(value.shape), lambda: _bytes_of(value))

    @property
    def num_bytes(self) -> int:
        """What it takes in the file."""
        return prod(self.shape) * _SIZES[self.dtype]


def write_tensor_file(path: str | Path, entries: Sequence[TensorEntry], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; an existing file is replaced only when the new one is complete.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(file, entries, metadata)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class TensorFile:
    """A safetensors file, open for reading.

    Raises:
        ValueError: the file is no safetensors file, or is cut short.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="pt")
        except SafetensorError as error:
            raise ValueError(f"{self.path} is not a complete safetensors file: {error}") from error
        self.metadata: dict[str, str] = self._file.metadata() or {}
        self._names: set[str] = set(self._file.keys())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU; ``KeyError`` if there is none of this name."""
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)


def pack_bits(mask: Tensor) -> Tensor:
    """A bool tensor as uint8 [ceil(n / 8)], eight to a byte."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def unpack_bits(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bool tensor that :func:`pack_bits` packed."""
    bits = np.unpackbits(packed.numpy(), count=prod(shape))
    return torch.from_numpy(bits.astype(bool)).reshape(shape)


def checksum_holds(path: str | Path) -> bool:
    """Whether the bytes of a file of :func:`write_tensor_file` are those that were written."""
    with open(path, "rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            return False
        (length,) = struct.unpack("<Q", prefix)
        left = os.fstat(file.fileno()).st_size - 8 - 4
        if not 0 < length <= left:
            return False
        crc = 0
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
        return file.read() == struct.pack("<I", crc)


def _write(file: BinaryIO, entries: Sequence[TensorEntry], metadata: Mapping[str, str]) -> None:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for entry in (*entries, TensorEntry(CHECKSUM, "U8", (4,), bytes)):
        start, end = end, end + entry.num_bytes
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    crc = zlib.crc32(text)
    for entry in entries:
        content = entry.read()
        if len(content) != entry.num_bytes:
            raise ValueError(f"{entry.name} must have {entry.num_bytes} bytes, got {len(content)}")
        file.write(content)
        crc = zlib.crc32(content, crc)
    file.write(struct.pack("<I", crc))


def _bytes_of(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
