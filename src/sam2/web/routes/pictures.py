"""The picture of a frame."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from sam2.web.media.pictures import LARGEST, MOST, STRIP, jpeg
from sam2.web.schemas import FrameNumber, Problem
from sam2.web.studio import StudioDep

router = APIRouter(prefix="/v1/projects/{name}/frames/{frame}", tags=["frames"])


@router.get(
    "/image",
    summary="The picture of a frame",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}},
        304: {"description": "It is what the client has"},
        **{status: {"model": Problem} for status in (404, 409, 415, 422)},
    },
)
def image(
    name: str,
    frame: FrameNumber,
    request: Request,
    studio: StudioDep,
    size: Annotated[int, Query(ge=16, le=MOST)] = LARGEST,
) -> Response:
    """JPEG, upright, its longest side ``size`` pixels at most.

    Where ``size`` is 320, a frame of a very long video may be shown by one near it: ``X-Frame`` says which.
    """
    project = studio.projects.get(name)
    project.check_frame(frame)
    small = project.small_picture(frame) if size == STRIP else None
    if small is not None and small[0] != frame:
        headers = {"cache-control": "no-store", "x-frame": str(small[0])}
        return Response(small[1], media_type="image/jpeg", headers=headers)
    tag = f'"{project.picture_tag(frame)}-{size}"'
    headers = {"etag": tag, "cache-control": "private, max-age=60", "x-frame": str(frame)}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    picture = jpeg(project.picture(frame), size) if small is None else small[1]
    return Response(picture, media_type="image/jpeg", headers=headers)
