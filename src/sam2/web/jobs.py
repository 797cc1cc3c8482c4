"""Work in the background: tracking, finding everything, exporting. One job a project, each on a thread of its own."""

import errno
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from sam2.web.errors import StudioError
from sam2.web.schemas import JobState, Schema

Kind = Literal["track", "everything", "export"]
Publish = Callable[[str, Literal["job", "frame", "project"], Schema], Any]
"""What tells the pages that look at a project: name, kind of event, data."""

EVENT_SECONDS = 0.2
"""Progress is told so often at most."""
STOP_SECONDS = 5.0
"""How long stopping waits for a job to end: it ends with the frame that it is at."""
SPEED_SECONDS = 3.0
"""Frames per second are those of this last while."""

_log = logging.getLogger(__name__)


class Job:
    """What the work of a job reports to, and asks whether it is to go on.

    Attributes:
        id: of this job.
        message: one sentence for the page.
        url: where the result is, of exports.
    """

    def __init__(self, project: str, kind: Kind, *, total: int, publish: Publish) -> None:
        self.id = secrets.token_urlsafe(9)
        self.project = project
        self.kind: Kind = kind
        self.message = ""
        self.url: str | None = None
        self._state: Literal["running", "paused", "done", "failed"] = "running"
        self._publish = publish
        self._cancelled, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._done, self._total, self._frame = 0, total, None
        self._told = 0.0
        self._pace: deque[tuple[float, int]] = deque(maxlen=256)

    @property
    def cancelled(self) -> bool:
        """Whether the work is to end: what is done is kept."""
        return self._cancelled.is_set()

    @property
    def running(self) -> bool:
        """Whether the work goes on."""
        return not self._ended.is_set()

    def cancel(self) -> None:
        """Ask the work to end; returns at once."""
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work; whether it came."""
        return self._ended.wait(seconds)

    def advance(self, done: int, *, total: int | None = None, frame: int | None = None) -> None:
        """Say how far the work is; the pages are told a few times a second."""
        now = time.monotonic()
        with self._lock:
            self._done = done
            self._total = self._total if total is None else total
            self._frame = self._frame if frame is None else frame
            self._pace.append((now, done))
            while len(self._pace) > 2 and now - self._pace[0][0] > SPEED_SECONDS:
                self._pace.popleft()
            due = now - self._told >= EVENT_SECONDS
            self._told = now if due else self._told
        if due:
            self.tell()

    def state(self) -> JobState:
        """The job as the pages see it."""
        with self._lock:
            return JobState(
                id=self.id,
                kind=self.kind,
                state=self._state,
                done=self._done,
                total=self._total,
                frame=self._frame,
                per_second=self._speed(),
                message=self.message,
                url=self.url,
            )

    def tell(self) -> None:
        """Tell the pages now."""
        self._publish(self.project, "job", self.state())

    def work(self, work: "Callable[[Job], None]") -> None:
        """Do ``work`` to its end, whatever that is."""
        try:
            work(self)
        except Exception as error:
            if not is_expected(error):
                _log.exception("a job (%s) failed", self.kind)
            self.message = sentence(error)
            self._state = "failed"
        else:
            self._state = "paused" if self.cancelled and not self._complete() else "done"
        finally:
            self._ended.set()
            self.tell()

    def _complete(self) -> bool:
        with self._lock:
            return 0 < self._total <= self._done

    def _speed(self) -> float | None:
        if len(self._pace) < 2 or self._pace[-1][0] <= self._pace[0][0]:
            return None
        (start, first), (end, last) = self._pace[0], self._pace[-1]
        return round((last - first) / (end - start), 2) if last > first else None


class Jobs:
    """The jobs of all projects; of each the last one is remembered.

    Args:
        publish: is told of every job; see :class:`sam2.web.events.EventBus`.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._closed = False

    def start(self, project: str, kind: Kind, work: Callable[[Job], None], *, total: int = 0) -> JobState:
        """Begin ``work`` on a thread of its own.

        A job that is about to stop is waited for.

        Args:
            project: its name.
            kind: what is done.
            work: is given the job; asks ``job.cancelled`` now and then, and calls ``job.advance``.
            total: steps in all, where known.

        Raises:
            StudioError: 409, the project has a job that runs.
        """
        before = self._jobs.get(project)
        if before is not None and before.cancelled:
            before.wait(STOP_SECONDS)
        with self._lock:
            if self._closed:
                raise StudioError(409, "the studio is closing")
            running = self._jobs.get(project)
            if running is not None and running.running:
                raise StudioError(409, f"this project is busy: {_DOING[running.kind]}; stop that first, or wait")
            job = Job(project, kind, total=total, publish=self._publish)
            self._jobs[project] = job
            thread = threading.Thread(target=job.work, args=(work,), name=f"sam2-{kind}", daemon=True)
        state = job.state()
        job.tell()
        thread.start()
        return state

    def stop(self, project: str) -> JobState:
        """Stop the job of a project, if it runs, and wait for that, a few seconds at most.

        Raises:
            StudioError: 404, the project has had no job.
        """
        job = self._jobs.get(project)
        if job is None:
            raise StudioError(404, "this project has no job")
        if job.running:
            job.cancel()
            job.wait(STOP_SECONDS)
        return job.state()

    def state(self, project: str) -> JobState | None:
        """The job of a project, or the last one it had."""
        job = self._jobs.get(project)
        return None if job is None else job.state()

    def running(self, project: str) -> bool:
        """Whether a job of a project runs."""
        job = self._jobs.get(project)
        return job is not None and job.running

    def forget(self, project: str) -> None:
        """Stop the job of a project that is to be deleted, and remember nothing of it."""
        job = self._jobs.get(project)
        if job is not None:
            job.cancel()
            job.wait(STOP_SECONDS)
        with self._lock:
            self._jobs.pop(project, None)

    def close(self) -> None:
        """Stop all jobs and wait for them; no other can begin."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.wait(STOP_SECONDS)


_DOING = {"track": "it is being tracked", "everything": "everything is being looked for", "export": "it is exported"}


def is_expected(error: BaseException) -> bool:
    """Whether the input or the machine is at fault rather than the program."""
    return isinstance(error, StudioError | ValueError | OSError | MemoryError)


def sentence(error: BaseException) -> str:
    """An error in one sentence, without the name of a file: that may be a place nobody may know of."""
    if isinstance(error, StudioError):
        return error.detail
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was done so far is kept"
    if isinstance(error, OSError) and error.strerror:
        return f"a file cannot be read or written: {error.strerror}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: try a smaller model, or fewer objects at a time"
    if not is_expected(error):
        return f"this should not have happened ({type(error).__name__}); what was done so far is kept"
    return " ".join(str(error).split()) or type(error).__name__
