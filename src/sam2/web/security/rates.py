"""How often a client may call."""

import threading
import time
from collections import OrderedDict

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
            left, seen = self._buckets.pop(client, (self.burst, now))
            left = min(self.burst, left + (now - seen) * self.per_second)
            allowed = left >= 1
            self._buckets[client] = (left - 1 if allowed else left, now)
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
        return allowed
