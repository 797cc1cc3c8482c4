"""Running the studio until Ctrl-C."""

import contextlib
import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from sam2.io.listed import images_in
from sam2.web.app import create_app
from sam2.web.errors import StudioError
from sam2.web.settings import StudioSettings
from sam2.web.studio import Studio

PORT = 7263
TRIED = 20
"""So many ports are tried where none is asked for."""
SHUTDOWN_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``sam2 studio`` was asked for.

    ``path`` is opened, a folder of photos ``as_video`` as the frames of one; ``port`` None takes the first free one.
    """

    path: Path | None
    as_video: bool = False
    port: int | None
    host: str
    token: str | None
    browser: bool
    model: str
    device: str | None
    projects: Path
    idle_minutes: float
    memory_mb: int


def serve(wanted: Wanted, *, say: Callable[[str], object]) -> None:
    """Serve the studio until Ctrl-C or SIGTERM.

    Args:
        wanted: see there.
        say: is given lines for the user.

    Raises:
        ValueError: a setting is out of range, or the path is nothing that can be opened.
        OSError: the port is taken, or a folder cannot be made.
    """
    listening = listen(wanted.host, wanted.port)
    try:
        settings = settings_of(wanted, port=listening.getsockname()[1])
        app = create_app(settings)
        studio: Studio = app.state.studio
        address = f"{address_of(settings)}{_first_project(studio, wanted.path, as_video=wanted.as_video)}"
        say(f"the studio is at {address}")
        say("projects are kept in " + str(settings.projects) + "; Ctrl-C ends, everything is saved")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="on",
            proxy_headers=False,  # a client of this machine could give itself another address with each call
            server_header=False,
        )
        server = _Server(config, studio)
        if wanted.browser:
            threading.Thread(target=_open_browser, args=(server, address), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has ended in good order
            server.run(sockets=[listening])
    finally:
        listening.close()


class _Server(uvicorn.Server):
    """A server that tells pages which listen for news that it ends; it would wait for them for ever."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._studio.events.close()
        await super().shutdown(sockets)


def settings_of(wanted: Wanted, *, port: int) -> StudioSettings:
    """The settings; a token is made up where others can reach the server."""
    path = None if wanted.path is None else wanted.path.resolve()
    token = wanted.token
    if token is None and not _is_loopback(wanted.host):
        token = secrets.token_urlsafe(16)
    return StudioSettings(
        projects=wanted.projects.resolve(),
        files=path if path is None or path.is_dir() else path.parent,
        host=wanted.host,
        port=port,
        token=token,
        model=wanted.model,
        device=wanted.device,
        idle_minutes=wanted.idle_minutes,
        memory_mb=wanted.memory_mb,
    )


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at the port, or at the first one from 7263 that is free.

    Raises:
        ValueError: no port has such a number.
        OSError: it is taken, or the address is none of this machine's.
    """
    if port is not None and not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, got {port}")
    tried = [port] if port is not None else [*range(PORT, PORT + TRIED), 0]
    for number in tried:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            found = socket.create_server((host, number), family=family)
            found.set_inheritable(True)
            return found
        except OSError as error:
            if number == tried[-1]:
                raise OSError(f"cannot listen at {host} port {number}: {error.strerror or error}") from None
    raise AssertionError("unreachable")


def address_of(settings: StudioSettings) -> str:
    """What to type into a browser, the token included."""
    host = settings.host
    if host in ("0.0.0.0", "::", ""):
        host = _own_address()
    host = f"[{host}]" if ":" in host else host
    token = "" if settings.token is None else f"?token={settings.token}"
    return f"http://{host}:{settings.port}/{token}"


def _first_project(studio: Studio, path: Path | None, *, as_video: bool) -> str:
    """Open what the studio was started with; the part of the address that shows it."""
    if path is None or (path.is_dir() and not images_in(path)):
        return ""
    try:
        project, _ = studio.projects.open_path(path, kind="video" if as_video else None)
    except StudioError as error:
        studio.close()
        raise ValueError(f"{path}: {error.detail}") from error
    except BaseException:
        studio.close()
        raise
    return f"#project={project.name}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address() -> str:
    """The address by which other machines reach this one; nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "localhost"


def _open_browser(server: uvicorn.Server, address: str) -> None:
    while not server.started and not server.should_exit:
        threading.Event().wait(0.05)
    if server.started:
        webbrowser.open(address)
