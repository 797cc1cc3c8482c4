"""News of a project as server-sent events."""

from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from sam2.web.schemas import Problem
from sam2.web.studio import StudioDep

router = APIRouter(prefix="/v1/projects/{name}", tags=["events"], responses={404: {"model": Problem}})


@router.get("/events", summary="News of a project", response_class=StreamingResponse)
async def events(name: str, studio: StudioDep) -> StreamingResponse:
    """A stream of ``job``, ``frame`` and ``project`` events, whose data are JobState, FrameState and ProjectState.

    It begins with the project as it is: who connects again, as after a crash, is in step at once.
    """
    project = await run_in_threadpool(studio.projects.get, name)
    state = await run_in_threadpool(project.state)

    async def lines() -> AsyncIterator[str]:
        yield f"event: project\ndata: {state.model_dump_json()}\n\n"
        async for news in studio.events.subscribe(name):
            yield ": still here\n\n" if news is None else f"event: {news[0]}\ndata: {news[1].model_dump_json()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
