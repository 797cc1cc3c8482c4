"""The application: routes, guards, and what errors look like from outside."""

import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sam2 import __version__
from sam2.modeling.sam2_base import SAM2Base
from sam2.web.errors import StudioError
from sam2.web.routes import ROUTERS, page
from sam2.web.security.guard import Guard
from sam2.web.settings import StudioSettings
from sam2.web.studio import open_studio

_log = logging.getLogger(__name__)


def create_app(settings: StudioSettings, *, model: SAM2Base | None = None) -> FastAPI:
    """The studio as an ASGI application; its parts are in ``app.state.studio``.

    Args:
        settings: see there.
        model: in evaluation mode; loaded as ``settings`` say if None.

    Raises:
        ValueError, FileNotFoundError, OSError: as :func:`sam2.web.studio.open_studio`.
    """
    studio = open_studio(settings, model)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()

    # the pages that FastAPI makes of the OpenAPI document load scripts from elsewhere: nothing here leaves the machine
    app = FastAPI(title="sam2 studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.studio = studio
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(page.router)
    app.add_exception_handler(StudioError, _on_studio_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in (ValueError, TypeError, KeyError, OSError):
        app.add_exception_handler(kind, _on_expected)
    app.add_middleware(Guard, settings=settings)
    return app


def _problem(status: int, detail: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)


async def _on_studio_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StudioError)
    return _problem(error.status, error.detail)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    """All that is wrong with a body, in one sentence."""
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(str(part) for part in item['loc'][1:]) or 'body'}: {item['msg']}" for item in error.errors()]
    return _problem(422, "; ".join(parts[:5])[:1000])


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, str(error.detail), error.headers)


async def _on_expected(_: Request, error: Exception) -> JSONResponse:
    """Errors that the input or the machine is to blame for. Of files no name is given: it is nobody's business."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _problem(507, "the disk is full")
        if isinstance(error, FileNotFoundError):
            return _problem(404, "a file that is needed is gone")
        return _problem(409, f"a file cannot be read or written: {error.strerror or 'it is damaged'}")
    if isinstance(error, KeyError):
        return _problem(404, str(error.args[0]) if error.args else "there is no such thing")
    if isinstance(error, UnicodeError):
        return _problem(422, "the text cannot be read as Unicode")
    return _problem(422, " ".join(str(error).split())[:1000])
