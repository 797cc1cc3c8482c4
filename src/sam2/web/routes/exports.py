"""Exports of a project."""

from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse

from sam2.web.exporting.choices import check_request, choices
from sam2.web.exporting.export import check_there_is_something, export_project, find_export
from sam2.web.jobs import Job
from sam2.web.schemas import ExportChoices, ExportRequest, JobState, Problem
from sam2.web.studio import StudioDep

router = APIRouter(
    prefix="/v1/projects/{name}/exports",
    tags=["exports"],
    responses={status: {"model": Problem} for status in (404, 409, 422, 507)},
)


@router.get("/choices", summary="What can be exported")
def export_choices(name: str, studio: StudioDep) -> ExportChoices:
    """Formats of data sets, and effects."""
    return choices(studio.projects.get(name).store.record.kind)


@router.post("", summary="Export", status_code=202)
def export(name: str, request: ExportRequest, studio: StudioDep) -> JobState:
    """Begins a job; when it is done, its ``url`` is where the file is."""
    project = studio.projects.get(name)
    check_request(request, project.store.record.kind)
    check_there_is_something(project, request)

    def work(job: Job) -> None:
        if export_project(project, request, job) is not None:
            job.url = f"/v1/projects/{quote(name)}/exports/{job.id}"
            job.message = "the export is ready"

    return studio.jobs.start(name, "export", work, total=project.num_frames)


@router.get("/{export}", summary="Download an export", response_class=FileResponse)
def download(name: str, export: str, studio: StudioDep) -> FileResponse:
    """The one file, or an archive of all."""
    path = find_export(studio.projects.get(name), export)
    return FileResponse(path, filename=path.name)
