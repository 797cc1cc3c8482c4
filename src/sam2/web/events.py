"""News for the pages that look at a project: jobs, live masks, objects. A slow page gets the newest only."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Literal

from sam2.web.schemas import Schema

Kind = Literal["job", "frame", "project"]

QUIET_SECONDS = 15.0
"""So often a line is sent where nothing happens: it shows both sides that the other is there."""
FRAME_SECONDS = 0.08
"""Live masks come so often at most."""


class _Page:
    """One page that listens: of each kind the newest news that it has not got yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: dict[Kind, Schema] = {}
        self.closed = False
        self.news = asyncio.Event()


class EventBus:
    """Hands news from any thread to the pages that listen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[str, list[_Page]] = {}
        self._closed = False

    def publish(self, project: str, event: Kind, data: Schema) -> None:
        """Tell the pages of a project; never waits for them."""
        with self._lock:
            for page in self._pages.get(project, []):
                page.waiting[event] = data
                _wake(page)

    def listeners(self, project: str) -> int:
        """How many pages look at a project."""
        with self._lock:
            return len(self._pages.get(project, []))

    async def subscribe(self, project: str) -> AsyncIterator[tuple[Kind, Schema] | None]:
        """News of a project as they come; None now and then where there are none. Ends when the studio closes."""
        page = _Page(asyncio.get_running_loop())
        with self._lock:
            page.closed = self._closed
            self._pages.setdefault(project, []).append(page)
        try:
            while not page.closed:
                try:
                    await asyncio.wait_for(page.news.wait(), QUIET_SECONDS)
                except (TimeoutError, asyncio.TimeoutError):
                    yield None
                    continue
                with self._lock:
                    page.news.clear()
                    news, page.waiting = page.waiting, {}
                for kind, data in news.items():
                    yield kind, data
                if "frame" in news:
                    await asyncio.sleep(FRAME_SECONDS)
        finally:
            with self._lock:
                self._pages[project].remove(page)
                if not self._pages[project]:
                    del self._pages[project]

    def close(self) -> None:
        """End all subscriptions."""
        with self._lock:
            self._closed = True
            for pages in self._pages.values():
                for page in pages:
                    page.closed = True
                    _wake(page)


def _wake(page: _Page) -> None:
    try:
        page.loop.call_soon_threadsafe(page.news.set)
    except RuntimeError:  # its loop is closed: the page is gone
        page.closed = True
