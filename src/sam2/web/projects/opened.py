"""Projects that are open. Opening a long video takes seconds, closing one saves: nobody waits for another project's."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from sam2.web.errors import StudioError
from sam2.web.projects.project import Project


class OpenProjects:
    """Open projects by name. One that is being opened or closed is waited for by those who want that one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Project] = {}
        self._used: dict[str, float] = {}
        self._moving: dict[str, Future[None]] = {}
        self._ended = False

    def get(self, name: str, make: Callable[[], Project]) -> Project:
        """The project, made if it is not open. Of those who ask at the same time one makes it.

        Raises:
            StudioError: 409, the studio is closing.
            Exception: whatever ``make`` raises; whoever asks next tries again.
        """
        while True:
            with self._lock:
                self._check()
                project = self._open.get(name)
                if project is not None:
                    self._used[name] = time.monotonic()
                    return project
                others = self._moving.get(name)
                if others is None:
                    self._moving[name] = Future()
                    break
            wait([others])
        return self.enter(name, make)

    def reserve(self, name: str) -> None:
        """Keep everybody from opening a project of this new name before :meth:`enter` does."""
        with self._lock:
            self._check()
            self._moving[name] = Future()

    def release(self, name: str) -> None:
        """Give up a reserved name."""
        self._moved(name)

    def enter(self, name: str, make: Callable[[], Project]) -> Project:
        """Make the project of a name that was reserved."""
        try:
            project = make()
            with self._lock:
                ended = self._ended
                if not ended:
                    self._open[name], self._used[name] = project, time.monotonic()
            if ended:
                project.close()
                raise StudioError(409, "the studio is closing")
            return project
        finally:
            self._moved(name)

    def close(self, name: str, *, then: Callable[[], None] | None = None) -> None:
        """Close a project, if it is open, and do something before it can be opened again."""
        while True:
            with self._lock:
                others = self._moving.get(name)
                if others is None:
                    self._moving[name] = Future()
                    project = self._open.pop(name, None)
                    self._used.pop(name, None)
                    break
            wait([others])
        try:
            if project is not None:
                project.close()
            if then is not None:
                then()
        finally:
            self._moved(name)

    def end(self) -> None:
        """Close all; none is opened any more."""
        with self._lock:
            self._ended = True
        for name in self.names:
            self.close(name)

    @property
    def ended(self) -> bool:
        """Whether no project is opened any more."""
        return self._ended

    @property
    def names(self) -> list[str]:
        """Projects that are open, those used longest ago first."""
        with self._lock:
            return sorted(self._open, key=lambda name: self._used[name])

    def used(self, name: str) -> float:
        """When a project was asked for last, by ``time.monotonic``; now, if it is not open."""
        with self._lock:
            return self._used.get(name, time.monotonic())

    def peek(self, name: str) -> Project | None:
        """A project if it is open; this is no use of it."""
        with self._lock:
            return self._open.get(name)

    def _check(self) -> None:
        if self._ended:
            raise StudioError(409, "the studio is closing")

    def _moved(self, name: str) -> None:
        with self._lock:
            done = self._moving.pop(name)
        done.set_result(None)
