"""Jobs: one a project, told to the pages, stopped between steps; errors become one sentence."""

import threading
from collections.abc import Iterator

import pytest

from sam2.web.errors import StudioError
from sam2.web.jobs import Job, Jobs
from sam2.web.schemas import JobState, Schema

WAIT = 10.0


class Told:
    """What the pages would see."""

    def __init__(self) -> None:
        self.states: list[JobState] = []
        self.ended = threading.Event()

    def __call__(self, project: str, event: str, data: Schema) -> None:
        assert (project, event) == ("clip", "job")
        assert isinstance(data, JobState)
        self.states.append(data)
        if data.state != "running":
            self.ended.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def jobs(told: Told) -> Iterator[Jobs]:
    jobs = Jobs(told)
    yield jobs
    jobs.close()


def until_cancelled(job: Job) -> None:
    """Work without end."""
    job.advance(1, total=10)
    while not job.cancelled:
        job._cancelled.wait(WAIT)


def test_a_job_is_told_from_start_to_end(jobs: Jobs, told: Told) -> None:
    def work(job: Job) -> None:
        for step in range(3):
            job.advance(step + 1, frame=step + 5)
        job.message, job.url = "three frames", "/v1/x"

    started = jobs.start("clip", "export", work, total=3)
    assert told.ended.wait(WAIT)

    assert (started.state, started.done, started.total) == ("running", 0, 3)
    last = told.states[-1]
    assert (last.state, last.done, last.frame, last.message, last.url) == ("done", 3, 7, "three frames", "/v1/x")
    assert {state.id for state in told.states} == {started.id}
    assert jobs.state("clip") == last
    assert not jobs.running("clip")


def test_one_job_a_project(jobs: Jobs) -> None:
    jobs.start("clip", "track", until_cancelled)

    with pytest.raises(StudioError, match="tracked") as caught:
        jobs.start("clip", "export", until_cancelled)

    assert caught.value.status == 409
    assert jobs.running("clip")


def test_stopping_is_pausing_and_another_job_may_begin(jobs: Jobs) -> None:
    first = jobs.start("clip", "track", until_cancelled)

    assert jobs.stop("clip").state == "paused"
    assert jobs.stop("clip").id == first.id  # once more does no harm
    assert jobs.start("clip", "track", until_cancelled).state == "running"


def test_a_job_that_is_about_to_stop_is_waited_for(jobs: Jobs) -> None:
    leave = threading.Event()
    running: list[Job] = []

    def work(job: Job) -> None:
        running.append(job)
        leave.wait(WAIT)

    jobs.start("clip", "track", work)
    while not running:
        leave.wait(0.01)
    running[0].cancel()
    threading.Timer(0.1, leave.set).start()

    assert jobs.start("clip", "track", until_cancelled).state == "running"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("clip.mp4 cannot be decoded\nat frame 7"), "clip.mp4 cannot be decoded at frame 7"),
        (OSError(28, "No space left on device", "/secret/place"), "the disk is full: what was done so far is kept"),
        (
            PermissionError(13, "Permission denied", "/secret/place"),
            "a file cannot be read or written: Permission denied",
        ),
        (StudioError(422, "no such object"), "no such object"),
    ],
)
def test_an_error_becomes_a_sentence(jobs: Jobs, told: Told, error: Exception, sentence: str) -> None:
    def work(job: Job) -> None:
        job.advance(2, total=5)
        raise error

    jobs.start("clip", "track", work)
    assert told.ended.wait(WAIT)

    last = told.states[-1]
    assert (last.state, last.message, last.done) == ("failed", sentence, 2)


def test_a_bug_is_logged_and_named(jobs: Jobs, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Job) -> None:
        raise RuntimeError("inner workings")

    jobs.start("clip", "track", work)
    assert told.ended.wait(WAIT)

    assert "inner workings" not in told.states[-1].message
    assert "RuntimeError" in told.states[-1].message
    assert "inner workings" in caplog.text


def test_progress_is_not_told_more_often_than_eyes_follow(jobs: Jobs, told: Told) -> None:
    def work(job: Job) -> None:
        for step in range(2000):
            job.advance(step, total=1999)

    jobs.start("clip", "track", work)
    assert told.ended.wait(WAIT)

    assert len(told.states) < 100
    assert told.states[-1].done == 1999


def test_no_job_yet(jobs: Jobs) -> None:
    assert jobs.state("clip") is None
    with pytest.raises(StudioError) as caught:
        jobs.stop("clip")
    assert caught.value.status == 404


def test_closing_stops_everything(jobs: Jobs) -> None:
    jobs.start("clip", "track", until_cancelled)

    jobs.close()

    assert not jobs.running("clip")
    with pytest.raises(StudioError):
        jobs.start("clip", "track", until_cancelled)
