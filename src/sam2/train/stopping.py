"""Ctrl-C and SIGTERM ask a run to stop after the step at hand; asked twice, it stops where it is."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked."""

    asked: bool = False


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Note signals instead of dying of them. A second one raises ``KeyboardInterrupt``.

    Handlers are set even where they were ignored: shells start background processes deaf to Ctrl-C, and ``kill -INT``
    is how one stops those. Outside the main thread, where Python allows no handlers, nothing is noted.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
