"""How often a client may call, and how many calls may last at a time."""

import threading
import time
from collections import Counter, OrderedDict

CLIENTS = 4096
"""So many are remembered; who has not called for longest is forgotten first."""


class Rate:
    """A bucket a client: it holds ``burst`` calls and is filled by ``per_second``.

    Args:
        per_second: calls that are allowed in the long run.
        burst: calls that are allowed at once.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str, *, now: float | None = None) -> bool:
        """Whether the client may call (which counts)."""
        now = time.monotonic() if now is None else now
        with self._lock:
            left = self._left(client, now)
            allowed = left >= 1
            self._buckets.pop(client, None)
            self._buckets[client] = (left - 1 if allowed else left, now)
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
        return allowed

    def spent(self, client: str) -> bool:
        """Whether the client may not call now (asking does not count)."""
        with self._lock:
            return self._left(client, time.monotonic()) < 1

    def _left(self, client: str, now: float) -> float:
        left, seen = self._buckets.get(client, (self.burst, now))
        return min(self.burst, left + (now - seen) * self.per_second)


class Slots:
    """Calls that last: so many of one client, and so many of all, at a time.

    Args:
        each: of one client.
        all_: of all of them.
    """

    def __init__(self, each: int, all_: int) -> None:
        self.each, self.all = each, all_
        self._held: Counter[str] = Counter()  # one event loop takes and gives them all

    def take(self, client: str) -> bool:
        """Take a place, if there is one; it must be given back."""
        if self._held[client] >= self.each or self._held.total() >= self.all:
            return False
        self._held[client] += 1
        return True

    def give(self, client: str) -> None:
        """Give a place back."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
