"""Ctrl-C, once: stop when the frame is done; twice: stop at once."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from sam2.cli.errors import say


class Stop:
    """While this context is open, the first Ctrl-C only sets ``asked``; the next one interrupts as usual."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: Any = None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if sys.stderr.isatty():
            say("stopping after this frame; Ctrl-C again to leave at once")
