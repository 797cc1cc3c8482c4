"""What runs here."""

from fastapi import APIRouter

from sam2 import __version__
from sam2.web.schemas import ServerState
from sam2.web.studio import StudioDep

router = APIRouter(prefix="/v1", tags=["server"])


@router.get("/server", summary="What runs here")
def server(studio: StudioDep) -> ServerState:
    """Version, model, device, and the project that is to be opened first."""
    return ServerState(
        version=__version__,
        model=studio.runner.name,
        device=str(studio.runner.device),
        open=studio.settings.open,
        files=studio.settings.files is not None,
        upload_limit=studio.settings.upload_limit,
    )
