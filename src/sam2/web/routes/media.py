"""Files that may be opened, and uploads."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from sam2.web.schemas import MediaListing, Problem, UploadState
from sam2.web.studio import StudioDep

router = APIRouter(prefix="/v1", tags=["media"])


@router.get("/files", summary="What is in a folder", responses={s: {"model": Problem} for s in (403, 404, 422)})
def files(studio: StudioDep, folder: Annotated[str, Query(max_length=4096)] = "") -> MediaListing:
    """Folders, photos and videos of the folder that the studio was started with, or of one in it."""
    return studio.library.listing(folder)


@router.post(
    "/uploads",
    summary="Upload a file",
    responses={status: {"model": Problem} for status in (404, 409, 413, 415, 422, 507)},
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"format": "binary"}}}}},
)
async def upload(
    request: Request,
    studio: StudioDep,
    name: Annotated[str, Query(min_length=1, max_length=1000)],
    upload: Annotated[str | None, Query(max_length=100)] = None,
) -> UploadState:
    """The body is a photo, a video or a .zip of photos, its bytes as they are. More photos join by ``upload``."""
    return await studio.library.uploads.receive(name, upload, request.stream())


@router.delete("/uploads/{upload}", summary="Drop an upload", status_code=204, responses={404: {"model": Problem}})
def drop(upload: str, studio: StudioDep) -> None:
    """Its files are removed."""
    studio.library.uploads.drop(upload)
