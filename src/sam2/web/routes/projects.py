"""Projects: list, open, delete."""

from fastapi import APIRouter, Response

from sam2.web.schemas import NewProject, Problem, ProjectState, ProjectSummary
from sam2.web.studio import StudioDep

router = APIRouter(
    prefix="/v1/projects",
    tags=["projects"],
    responses={status: {"model": Problem} for status in (403, 404, 409, 415, 422, 507)},
)


@router.get("", summary="All projects")
def projects(studio: StudioDep) -> list[ProjectSummary]:
    """Those changed last come first."""
    return studio.projects.summaries()


@router.post("", summary="Open a path or an upload", status_code=201, responses={200: {"model": ProjectState}})
def create(new: NewProject, studio: StudioDep, response: Response) -> ProjectState:
    """201 for a new project, 200 for one that is resumed."""
    project, is_new = studio.projects.create(new)
    response.status_code = 201 if is_new else 200
    return project.state()


@router.get("/{name}", summary="A project")
def project(name: str, studio: StudioDep) -> ProjectState:
    """Its objects, its frames by status, the job that runs."""
    return studio.projects.get(name).state()


@router.delete("/{name}", summary="Delete a project", status_code=204)
def delete(name: str, studio: StudioDep) -> None:
    """Its masks, prompts and uploads are gone; a photo, folder or video that was opened in its place stays."""
    studio.projects.delete(name)
