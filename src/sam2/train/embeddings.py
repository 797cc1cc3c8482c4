"""What an image encoder said of frames, on disk: a few large files that are mapped into memory."""

import json
import shutil
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2.interop.files import write_json

FILE_BYTES = 2**32
"""A file of embeddings is not longer."""

INDEX, MARKS = "index.json", "marks.u8"
_DONE, _BAD = 1, 2

Maps = tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float16]]
"""Of frames: [T, c, h, w] at stride 16, then at strides 4 and 8."""


class EmbeddingStore:
    """Maps of frames in a folder: a few files of half-precision rows, and a byte a row that says whether it is there.

    Processes may write different rows at once. Files are mapped into memory, and can be handed to worker processes.

    Args:
        folder: where; made and filled with blank files by :meth:`prepare`.
        rows: frames.
        shapes: of the three maps of a frame, [c, h, w] each.
    """

    def __init__(self, folder: Path, rows: int, shapes: Sequence[tuple[int, ...]]) -> None:
        self.folder, self.rows, self.shapes = folder, rows, tuple(shapes)
        self.row_size = sum(prod(shape) for shape in shapes)
        self.rows_per_file = max(1, FILE_BYTES // (2 * self.row_size))
        self._open: dict[str, np.memmap] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    @property
    def num_bytes(self) -> int:
        """On disk."""
        return self.rows * (2 * self.row_size + 1)

    def prepare(self, origin: Mapping[str, Any]) -> None:
        """Make the files, or check that those that are there are of the same ``origin``.

        Raises:
            ValueError: they are not.
            OSError: there is no room for them.
        """
        path = self.folder / INDEX
        if path.is_file():
            _check_origin(path, origin)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if self.num_bytes > free:
            raise OSError(
                f"{self.folder} has {free / 1e9:.1f} GB left, embeddings of {self.rows} frames take"
                f" {self.num_bytes / 1e9:.1f} GB"
            )
        sizes = {MARKS: self.rows}
        for first in range(0, self.rows, self.rows_per_file):
            sizes[self._name(first)] = min(self.rows_per_file, self.rows - first) * self.row_size * 2
        for name, size in sizes.items():
            with open(self.folder / name, "wb") as file:
                file.truncate(size)
        write_json(path, dict(origin))

    def write(self, row: int, maps: Maps) -> None:
        """Keep the maps of one frame."""
        place = self._rows(row)
        place[:] = np.concatenate([part.reshape(-1) for part in maps])

    def read(self, row: int, count: int) -> Maps:
        """The maps of ``count`` frames from ``row`` on, [count, c, h, w] each."""
        flat = np.stack([self._rows(number) for number in range(row, row + count)])
        ends = np.cumsum([prod(shape) for shape in self.shapes])[:-1]
        embed, fine, middle = (
            part.reshape(count, *shape) for part, shape in zip(np.split(flat, ends, axis=1), self.shapes, strict=True)
        )
        return embed, fine, middle

    def mark(self, row: int, count: int, *, good: bool) -> None:
        """Say that rows are there, or never will be. What was written is on the disk before."""
        if good:
            for name in {self._name(number) for number in range(row, row + count)}:
                self._open[name].flush()
        self._marks()[row : row + count] = _DONE if good else _BAD

    def has(self, row: int, count: int) -> bool:
        """Whether all of these rows are there."""
        return bool((self._marks()[row : row + count] == _DONE).all())

    def _name(self, row: int) -> str:
        return f"embeddings-{row // self.rows_per_file:04d}.f16"

    def _marks(self) -> np.memmap:
        return self._mapped(MARKS, np.uint8)

    def _rows(self, row: int) -> NDArray[np.float16]:
        flat = self._mapped(self._name(row), np.float16)
        start = row % self.rows_per_file * self.row_size
        return flat[start : start + self.row_size]

    def _mapped(self, name: str, dtype: type) -> np.memmap:
        if name not in self._open:
            self._open[name] = np.memmap(self.folder / name, dtype, mode="r+")
        return self._open[name]


def _check_origin(path: Path, origin: Mapping[str, Any]) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    for name, value in origin.items():
        if kept.get(name) != value:
            raise ValueError(
                f"{path.parent} holds embeddings of another {name} ({kept.get(name)}, here {value}):"
                " name another folder as run.cache_embeddings, or delete that one"
            )
