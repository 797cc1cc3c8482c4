"""Objects: add, rename, hide, delete, bring back."""

from fastapi import APIRouter

from sam2.web.schemas import NewObject, ObjectChange, ObjectNumber, Problem, StudioObject
from sam2.web.studio import StudioDep

router = APIRouter(
    prefix="/v1/projects/{name}/objects",
    tags=["objects"],
    responses={status: {"model": Problem} for status in (404, 409, 422, 507)},
)


@router.post("", summary="Add an object", status_code=201)
def add(name: str, new: NewObject, studio: StudioDep) -> StudioObject:
    """It has a number, a name and a colour from then on, and no mask yet."""
    return studio.projects.get(name).add_object(new)


@router.patch("/{object_id}", summary="Change an object")
def change(name: str, object_id: ObjectNumber, wanted: ObjectChange, studio: StudioDep) -> StudioObject:
    """Name, class, colour, visibility; ``deleted: false`` brings it back."""
    return studio.projects.get(name).change_object(object_id, wanted)


@router.delete("/{object_id}", summary="Delete an object", status_code=204)
def delete(name: str, object_id: ObjectNumber, studio: StudioDep) -> None:
    """It can be brought back with all that is known of it."""
    studio.projects.get(name).change_object(object_id, ObjectChange(deleted=True))
