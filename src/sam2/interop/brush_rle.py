"""The run-length encoding of Label Studio's brush: a stream of bits that holds an RGBA picture of the mask.

A header says how many words there are (32 bits), how many bits a word has, less one (5 bits), and how many bits each
of four sizes of lengths has, less one (4 bits each). Blocks follow: a bit (1: one word repeated, 0: words as they are),
the number of the size of the length (2 bits), the length less one, the word or words. Words are the channels of the
pixels, row by row; what is brushed has alpha.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2.interop.rle import Mask, Runs, mask_to_runs

_COUNT_BITS, _WORD_BITS, _SIZE_BITS, _SIZES = 32, 5, 4, 4
_OUR_WORD, _OUR_SIZES = 8, (3, 4, 8, 16)
_CHANNELS, _ALPHA, _OPAQUE = 4, 3, 255
_LONGEST = 1 << _OUR_SIZES[-1]


def encode_brush(mask: npt.NDArray[Any]) -> list[int]:
    """The bytes 0..255 of a mask [h, w], true where not zero: white and opaque there, black and clear elsewhere."""
    height, width = mask.shape
    runs = mask_to_runs(np.transpose(mask)) * _CHANNELS  # rows, one after the other
    values = np.arange(len(runs)) % 2 * _OPAQUE
    lengths, values = _split(runs, values)
    size = np.searchsorted(np.left_shift(1, _OUR_SIZES), lengths)
    length_bits = np.asarray(_OUR_SIZES)[size]
    block = ((1 << 2 | size) << length_bits | (lengths - 1)) << _OUR_WORD | values
    head: list[tuple[int, int]] = [(height * width * _CHANNELS, _COUNT_BITS), (_OUR_WORD - 1, _WORD_BITS)]
    head += [(bits - 1, _SIZE_BITS) for bits in _OUR_SIZES]
    numbers = np.concatenate(([value for value, _ in head], block)).astype(np.int64)
    widths = np.concatenate(([bits for _, bits in head], 1 + 2 + length_bits + _OUR_WORD)).astype(np.int64)
    return _pack(numbers, widths).tolist()


def decode_brush(data: Sequence[int], size: tuple[int, int]) -> Mask:
    """The mask of ``size`` = (height, width), set where the picture that ``data`` (bytes 0..255) holds has alpha.

    Raises:
        ValueError: ``data`` are no bytes, end too soon, or hold a picture of another size.
    """
    try:
        stream = _Bits(bytes(data))
    except (TypeError, ValueError):
        raise ValueError("rle must be a list of whole numbers from 0 to 255") from None
    height, width = size
    count, word = stream.read(_COUNT_BITS), stream.read(_WORD_BITS) + 1
    if count != height * width * _CHANNELS:
        raise ValueError(f"rle holds {count} values, expected {height} x {width} x {_CHANNELS}")
    sizes = [stream.read(_SIZE_BITS) + 1 for _ in range(_SIZES)]
    values: list[npt.NDArray[Any]] = []
    lengths: list[npt.NDArray[Any]] = []
    done = 0
    while done < count:
        repeated = stream.read(1)
        length = min(stream.read(sizes[stream.read(2)]) + 1, count - done)
        values.append(np.array([stream.read(word)]) if repeated else stream.read_words(length, word))
        lengths.append(np.array([length]) if repeated else np.ones(length, np.int64))
        done += length
    if not count:
        return np.zeros(size, bool)
    channels = np.repeat(np.concatenate(values) > 0, np.concatenate(lengths))
    mask: Mask = np.reshape(channels, (height, width, _CHANNELS))[..., _ALPHA]
    return np.ascontiguousarray(mask)


def _split(runs: Runs, values: Runs) -> tuple[Runs, Runs]:
    """Runs without empty ones, and those that no length can hold in several."""
    kept = runs > 0
    runs, values = runs[kept], values[kept]
    pieces = -(-runs // _LONGEST)
    last = np.cumsum(pieces) - 1
    lengths = np.full(int(pieces.sum()), _LONGEST, np.int64)
    lengths[last] = runs - (pieces - 1) * _LONGEST
    return lengths, np.repeat(values, pieces)


def _pack(numbers: Runs, widths: Runs) -> npt.NDArray[np.uint8]:
    """Numbers of so many bits each, one after the other, the highest bit first."""
    owner = np.repeat(np.arange(len(numbers)), widths)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(widths) - widths, widths)
    return np.packbits((numbers[owner] >> (widths[owner] - 1 - place) & 1).astype(np.uint8))


class _Bits:
    """Bits that are read one after the other, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, count: int) -> int:
        """The number in the next ``count`` bits, at most 32."""
        first, skipped = divmod(self._place, 8)
        self._place += count
        if self._place > 8 * len(self._data):
            raise ValueError("rle ends too soon")
        window = int.from_bytes(self._data[first : first + 5].ljust(5, b"\0"), "big")
        return window >> (40 - skipped - count) & ((1 << count) - 1)

    def read_words(self, count: int, word: int) -> Runs:
        """The next ``count`` numbers of ``word`` bits each."""
        first, skipped = divmod(self._place, 8)
        self._place += count * word
        if self._place > 8 * len(self._data):
            raise ValueError("rle ends too soon")
        data = np.frombuffer(self._data[first : -(-self._place // 8)], np.uint8)
        bits: Runs = np.reshape(np.unpackbits(data)[skipped : skipped + count * word], (count, word)).astype(np.int64)
        return np.matmul(bits, np.left_shift(1, np.arange(word - 1, -1, -1)))
