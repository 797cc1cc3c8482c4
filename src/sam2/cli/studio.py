"""``sam2 studio``: the options, checked before anything heavy is imported."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.options import Device, Model

Media = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH", help="A photo, a video, or a folder: what is in it may be opened.", show_default=False
    ),
]
Video = Annotated[bool, typer.Option("--video", help="PATH is a folder of frames: open it as a video, to track in it.")]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", help="Where to listen; 7263, or the next one that is free, by default."),
]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="0.0.0.0 lets other machines in, who must know the token.")
]
Token = Annotated[
    str | None, typer.Option("--token", metavar="TEXT", help="What clients must know; made up where one is needed.")
]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")]
Projects = Annotated[
    Path | None, typer.Option("--projects", metavar="FOLDER", help="Where projects are kept.", show_default=False)
]
Idle = Annotated[
    float, typer.Option("--idle-minutes", metavar="N", help="Close projects that nobody has looked at for so long.")
]
Memory = Annotated[int, typer.Option("--memory", metavar="MB", help="For what was computed of frames.")]


def studio(
    path: Media = None,
    video: Video = False,
    port: Port = None,
    host: Host = "127.0.0.1",
    token: Token = None,
    browser: Browser = True,
    model: Model = "nano",
    device: Device = None,
    projects: Projects = None,
    idle_minutes: Idle = 30.0,
    memory: Memory = 512,
) -> None:
    """Click, track, correct and export in a browser, on this machine. Ctrl-C ends it; everything is saved."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ImportError(f"the studio needs {' and '.join(missing)}: pip install 'sam2[studio]'")
    if path is not None and not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if video and (path is None or not path.is_dir()):
        raise ValueError(f"--video needs a folder of frames, got {'nothing' if path is None else path}")
    from sam2.web.serve import Wanted, serve

    serve(
        Wanted(
            path=path,
            as_video=video,
            port=port,
            host=host,
            token=token,
            browser=browser,
            model=model,
            device=device,
            projects=default_projects() if projects is None else projects,
            idle_minutes=idle_minutes,
            memory_mb=memory,
        ),
        say=typer.echo,
    )


def default_projects() -> Path:
    """Where programs of this system keep what belongs to a user: ``SAM2_PROJECTS``, or a folder of the user's data."""
    if given := os.environ.get("SAM2_PROJECTS"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
    return base / "sam2" / "projects"
