"""The page itself."""

import re
from importlib.resources import files

from fastapi import APIRouter, Response

from sam2.web.errors import StudioError

router = APIRouter(include_in_schema=False)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,60}")


@router.get("/")
def index() -> Response:
    """The page."""
    return static("index.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file of the page."""
    kind = _TYPES.get(name.rpartition(".")[2])
    file = files("sam2.web") / "static" / name
    if kind is None or not _NAME.fullmatch(name) or not file.is_file():
        raise StudioError(404, "there is no such file")
    return Response(file.read_bytes(), media_type=kind)


@router.get("/favicon.ico")
def icon() -> Response:
    """What browsers ask for by themselves."""
    return static("icon.svg")
