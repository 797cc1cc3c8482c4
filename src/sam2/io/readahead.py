"""Decode ahead: a thread that works on the next items while the caller uses the present one."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_DEPTH = 4
_POLL_SECONDS = 0.1


def ahead(items: Iterator[T], *, depth: int = _DEPTH) -> Generator[T, None, None]:
    """The same items in the same order, up to ``depth`` of them made early by a thread.

    An error of ``items`` is raised where its item would have come. Closing the generator ends the thread and closes
    ``items``.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def offer(entry: tuple[str, Any]) -> bool:
        while not stop.is_set():
            with suppress(queue.Full):
                made.put(entry, timeout=_POLL_SECONDS)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:  # whatever it is, it belongs to the caller
            offer(("error", error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="sam2-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stop.set()
        thread.join()
