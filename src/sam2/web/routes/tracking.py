"""Tracking, finding everything, and what came of it over time."""

from typing import Annotated

from fastapi import APIRouter, Query

from sam2.web.errors import StudioError
from sam2.web.jobs import Job
from sam2.web.projects.everything import find_everything
from sam2.web.projects.video import VideoProject
from sam2.web.schemas import (
    EverythingRequest,
    FrameNumber,
    FrameState,
    JobState,
    Problem,
    Timeline,
    TrackRequest,
)
from sam2.web.studio import Studio, StudioDep

MOST_FRAMES = 200
"""Frames whose masks are given at once."""

router = APIRouter(
    prefix="/v1/projects/{name}",
    tags=["tracking"],
    responses={status: {"model": Problem} for status in (400, 404, 409, 422)},
)


@router.post("/track", status_code=202)
def track(name: str, request: TrackRequest, studio: StudioDep) -> JobState:
    """Begin tracking from the frame shown. Progress comes as events; a click pauses it."""
    project = _video(studio, name)
    project.check_track(request)
    return studio.jobs.start(name, "track", lambda job: project.track(request, job))


@router.post("/frames/{frame}/everything", status_code=202)
def everything(name: str, frame: FrameNumber, request: EverythingRequest, studio: StudioDep) -> JobState:
    """Begin to look for all objects of a frame that are not known there yet."""
    project = studio.projects.get(name)
    project.frame(frame)  # 404 if there is none

    def work(job: Job) -> None:
        find_everything(project, frame, request, runner=studio.runner, job=job)
        studio.events.publish(name, "project", project.state())
        studio.events.publish(name, "frame", project.frame(frame))

    return studio.jobs.start(name, "everything", work)


@router.delete("/job")
def stop(name: str, studio: StudioDep) -> JobState:
    """Stop what runs, at the next frame; what was done is kept, and tracking again goes on."""
    studio.projects.get(name)
    return studio.jobs.stop(name)


@router.get("/masks")
def masks(
    name: str, studio: StudioDep, start: FrameNumber = 0, stop: Annotated[FrameNumber | None, Query()] = None
) -> list[FrameState]:
    """The frames of ``start`` to before ``stop`` (200 at most) that have masks, for scrubbing."""
    project = studio.projects.get(name)
    last = start + MOST_FRAMES if stop is None else stop
    if not 0 <= last - start <= MOST_FRAMES:
        raise StudioError(422, f"stop must be start to start + {MOST_FRAMES}, got {stop} for start {start}")
    if isinstance(project, VideoProject):
        return project.masks(start, last)
    states = (project.frame(index) for index in range(start, min(last, project.num_frames)))
    return [state for state in states if state.objects]


@router.get("/timeline")
def timeline(name: str, studio: StudioDep) -> Timeline:
    """Every object over time."""
    return _video(studio, name).timeline()


def _video(studio: Studio, name: str) -> VideoProject:
    project = studio.projects.get(name)
    if not isinstance(project, VideoProject):
        raise StudioError(422, "this project is a set of photos: only videos are tracked")
    return project
