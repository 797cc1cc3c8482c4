"""Byte strings by key in a temporary file that nobody else sees, and that is gone with its owner."""

import tempfile
import weakref
from collections.abc import Hashable
from typing import IO, Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 2**16
"""Bytes of waste that are not worth writing a file anew."""


class ScratchFile(Generic[K]):
    """Written once, read and replaced by key. Less than half of the file is waste, but for a little slack.

    Args:
        folder: where the file is made; the system's choice by default.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._places: dict[K, tuple[int, int]] = {}
        self._file: IO[bytes] | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        self._end = self._live = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._end

    def write(self, key: K, content: bytes) -> None:
        """Keep ``content``, in the place of what ``key`` had; ``OSError`` if the disk is full."""
        if self._file is None:
            self._take(self._open())
        assert self._file is not None
        self._file.seek(self._end)
        self._file.write(content)
        self._file.flush()
        self.delete(key)
        self._places[key] = (self._end, len(content))
        self._end += len(content)
        self._live += len(content)
        if self._end > 2 * self._live + _SLACK:
            self._write_anew()

    def read(self, key: K) -> bytes:
        """What was written; ``KeyError`` if there is nothing."""
        offset, length = self._places[key]
        assert self._file is not None  # there is a place in it
        self._file.seek(offset)
        return self._file.read(length)

    def delete(self, key: K) -> None:
        """Forget ``key``, if it is there."""
        _, length = self._places.pop(key, (0, 0))
        self._live -= length

    def clear(self) -> None:
        """Forget everything and give the file back."""
        self._places.clear()
        self._end = self._live = 0
        self._close()

    def _open(self) -> IO[bytes]:
        return tempfile.TemporaryFile(prefix="sam2-history-", dir=self._folder)

    def _take(self, file: IO[bytes]) -> None:
        """Use ``file`` from now on, and close it with this object at the latest."""
        self._close()
        self._file = file
        self._closing = weakref.finalize(self, file.close)

    def _close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._file = self._closing = None

    def _write_anew(self) -> None:
        fresh = self._open()
        places: dict[K, tuple[int, int]] = {}
        end = 0
        for key in self._places:
            content = self.read(key)
            fresh.write(content)
            places[key] = (end, len(content))
            end += len(content)
        self._take(fresh)
        self._places, self._end = places, end
