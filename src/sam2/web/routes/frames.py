"""Frames: what is known of them, what is said of objects on them."""

from typing import Annotated

from fastapi import APIRouter, Query

from sam2.web.errors import StudioError
from sam2.web.schemas import (
    FrameNumber,
    FrameObject,
    FrameState,
    FrameSummary,
    ObjectNumber,
    Preview,
    Problem,
    Prompts,
    Status,
    StatusChange,
)
from sam2.web.studio import StudioDep

router = APIRouter(
    prefix="/v1/projects/{name}/frames",
    tags=["frames"],
    responses={status: {"model": Problem} for status in (404, 409, 415, 422, 507)},
)


@router.get("", summary="The list of photos or frames")
def frames(
    name: str,
    studio: StudioDep,
    start: FrameNumber = 0,
    stop: FrameNumber | None = None,
    status: Annotated[Status | None, Query()] = None,
) -> list[FrameSummary]:
    """Those from ``start`` to before ``stop``; of one status only if it is given."""
    return studio.projects.get(name).frames(start, stop, status)


@router.get("/{frame}", summary="A frame")
def frame(name: str, frame: FrameNumber, studio: StudioDep) -> FrameState:
    """Its objects, prompts and masks. It is taken as shown: what a click needs is computed ahead."""
    project = studio.projects.get(name)
    state = project.frame(frame)
    project.show(frame)
    return state


@router.patch("/{frame}", summary="Say how far a frame is")
def change(name: str, frame: FrameNumber, wanted: StatusChange, studio: StudioDep) -> FrameSummary:
    """To do, done, to be reviewed, or skipped."""
    return studio.projects.get(name).set_status(frame, wanted.status)


@router.put("/{frame}/objects/{object_id}/prompts", summary="Say what an object is on a frame")
def put_prompts(
    name: str, frame: FrameNumber, object_id: ObjectNumber, prompts: Prompts, studio: StudioDep
) -> FrameObject:
    """All that is said of it there, in the place of what was said before; the mask that comes of it."""
    return studio.projects.get(name).set_prompts(frame, object_id, prompts)


@router.post("/{frame}/preview", summary="What a click would give")
def preview(
    name: str,
    frame: FrameNumber,
    prompts: Prompts,
    studio: StudioDep,
    object_id: Annotated[ObjectNumber | None, Query()] = None,
) -> Preview:
    """The mask of these prompts, beside those that the object has on the frame; nothing is kept."""
    if prompts.empty:
        raise StudioError(422, "prompts must hold a point, a box or a mask")
    return studio.projects.get(name).preview(frame, prompts, object_id=object_id)
