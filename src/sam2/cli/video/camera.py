"""``sam2 camera``: track what a camera sees, as it sees it."""

from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.image import Device, Dtype, Model
from sam2.cli.video.prompts import parse_video_prompts

DEFAULT_FPS = 24.0

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A camera's number, the URL of a stream, or a video file.")
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point", "-p", metavar="[N@]X,Y[,LABEL]", help="A click on object N (1 by default) in the first frame."
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", "-b", metavar="[N@]X0,Y0,X1,Y1", help="A box around object N in the first frame."),
]
Film = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the overlay to this mp4; without it a window opens."),
]
Count = Annotated[int | None, typer.Option("--frames", metavar="N", min=1, help="Stop after so many frames.")]
Fps = Annotated[
    float, typer.Option("--fps", metavar="N", help="Speed of the written video; a camera's frames keep their time.")
]
Show = Annotated[bool, typer.Option("--window", help="Open a window as well where a file is written.")]


def camera(
    source: Source = "0",
    point: Points = None,
    box: Boxes = None,
    output: Film = None,
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    count: Count = None,
    fps: Fps = DEFAULT_FPS,
    show: Show = False,
) -> None:
    """Track what you point at in what a camera sees, until Ctrl-C.

    --point and --box are about the first frame. In the window: left button on an object, right button on what is not
    part of it, n for the next object, r to start over, q to end.
    """
    prompts = parse_video_prompts(point or [], box or [], [])
    late = [prompt.frame for prompt in prompts if prompt.frame]
    if late:
        raise ValueError(f"a camera is prompted on its first frame, number 0, got a prompt on frame {late[0]}")
    if not 0 < fps < 1000:
        raise ValueError(f"--fps must be above 0 and below 1000, got {fps:g}")
    if output is not None and output.suffix.lower() not in (".mp4", ".mov", ".mkv", ".avi"):
        raise ValueError(f"-o {output}: expected the name of an .mp4 file")
    window = show or output is None
    if not prompts and not window:
        raise ValueError("nothing to track: give --point x,y or --box x0,y0,x1,y1, or --window to click")

    from sam2.cli.outputs import prepare_folder
    from sam2.cli.video.live import Live, open_source, track_live
    from sam2.cli.video.window import Window

    if output is not None:
        prepare_folder(output.parent)
    screen = Window("sam2 camera") if window else None
    try:
        from sam2.cli.loading import load_model
        from sam2.sam2_video_predictor import SAM2VideoPredictor
        from sam2.tracking import VideoSession

        frames, is_camera = open_source(source)
        session = VideoSession(SAM2VideoPredictor(load_model(model, device=device, dtype=dtype)))
        live = Live(
            session=session,
            prompts=prompts,
            output=output,
            fps=fps,
            screen=screen,
            keep_time=is_camera,
            count=count,
        )
        typer.echo(track_live(live, frames, source))
    finally:
        if screen is not None:
            screen.close()
