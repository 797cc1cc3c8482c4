"""What the encoder made of the frames that people look at, within a budget of memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

from sam2.web.engine.runner import Priority, Runner

T = TypeVar("T")
Key = tuple[str, int]

WISHES = 4
"""So many frames are computed ahead at most: of someone who leafs quickly only the last ones are worth it."""


class FeatureCache:
    """Features by (project, frame): those used least recently go first when the budget is spent.

    Args:
        runner: computes them.
        budget: bytes; the features that were made last stay in any case.
    """

    def __init__(self, runner: Runner, budget: int) -> None:
        if budget < 0:
            raise ValueError(f"budget must be at least 0 bytes, got {budget}")
        self._runner, self.budget = runner, budget
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._coming: dict[Key, Future[Any]] = {}
        self._wishes: OrderedDict[Key, Future[Any]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    @property
    def num_bytes(self) -> int:
        """Bytes of all that is kept."""
        return self._bytes

    def get(self, key: Key, make: Callable[[], T]) -> T:
        """The features of a frame; those who ask at the same time share one computation.

        Args:
            key: project and frame.
            make: computes them, on the runner's thread.

        Raises:
            Exception: whatever ``make`` raises.
        """
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0]
            if self._runner.is_current:  # waiting for oneself would last for ever
                self._coming.pop(key, None)
            future = self._coming.get(key)
            wished = key in self._wishes
            if wished and future is not None and future.cancel():
                self._wishes.pop(key)  # it waits behind others, and is wanted now
                self._coming.pop(key, None)
                future = None
            if future is None and not self._runner.is_current:
                future = self._order(key, make, Priority.CLICK)
        return self._make(key, make) if future is None else future.result()

    def peek(self, key: Key) -> Any:
        """The features of a frame if they are there, else None."""
        with self._lock:
            found = self._kept.get(key)
            return None if found is None else found[0]

    def prefetch(self, key: Key, make: Callable[[], Any]) -> None:
        """Compute the features of a frame when there is time; earlier wishes are dropped when there are too many."""
        with self._lock:
            if key in self._kept or key in self._coming:
                return
            self._wishes[key] = self._order(key, make, Priority.SHOWN)
            while len(self._wishes) > WISHES:
                oldest, future = self._wishes.popitem(last=False)
                if future.cancel():
                    self._coming.pop(oldest, None)

    def forget(self, project: str) -> None:
        """Keep nothing of a project."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == project]:
                self._bytes -= self._kept.pop(key)[1]

    def _order(self, key: Key, make: Callable[[], T], priority: Priority) -> "Future[T]":
        """Have features made; the caller holds the lock."""
        future = self._runner.submit(lambda: self._make(key, make), priority=priority)
        self._coming[key] = future
        return future

    def _make(self, key: Key, make: Callable[[], T]) -> T:
        try:
            made = make()
        except BaseException:
            self._settle(key, None)
            raise
        self._settle(key, made)
        return made

    def _settle(self, key: Key, made: Any) -> None:
        with self._lock:
            self._coming.pop(key, None)
            self._wishes.pop(key, None)
            if made is None:
                return
            size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(made))
            former = self._kept.pop(key, None)
            self._bytes += size - (0 if former is None else former[1])
            self._kept[key] = (made, size)
            while self._bytes > self.budget and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= gone


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in records and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif is_dataclass(value):
        for entry in fields(value):
            yield from _tensors(getattr(value, entry.name))
