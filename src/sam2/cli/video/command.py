"""``sam2 video``: the options, checked before anything heavy is imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.image import Device, Dtype, Model, Output
from sam2.cli.video.legs import Span
from sam2.cli.video.prompts import VideoPrompt, merge, parse_video_prompts, read_prompts_file

FORMATS = ("overlay", "masks", "json", "cutout", "cutout-png", "sheet")

Clip = Annotated[Path, typer.Argument(metavar="CLIP", help="A video file, or a folder of frames.", show_default=False)]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        "-p",
        metavar="[N@]FRAME:X,Y[,LABEL]",
        help="A click on object N (1 by default): label 1 on it, 0 not on it.",
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", "-b", metavar="[N@]FRAME:X0,Y0,X1,Y1", help="A box around object N."),
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask", metavar="[N@]FRAME:FILE", help="Object N's mask: an image of the frame's size, bright inside."
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="FILE", help="Prompts as JSON, such as the JSON of an earlier run."),
]
Start = Annotated[int | None, typer.Option("--start", metavar="FRAME", help="First frame, from 0.")]
End = Annotated[int | None, typer.Option("--end", metavar="FRAME", help="Last frame, itself included.")]
Reverse = Annotated[bool, typer.Option("--reverse", help="Track backward, from the last prompt.")]
Both = Annotated[bool, typer.Option("--both", help="Track forward, then backward from each object's first prompt.")]
Formats = Annotated[str, typer.Option("--format", metavar="LIST", help=f"What to write, of {', '.join(FORMATS)}.")]
Fps = Annotated[
    float | None,
    typer.Option("--fps", metavar="N", help="Speed of written videos; the clip's own by default, 24 for folders."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run; prompts need not be repeated.")]

_BOUND = ("model", "start", "end", "reverse", "both", "formats", "fps")
"""Options that an interrupted run has settled."""


def video(
    context: typer.Context,
    clip: Clip,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    prompts_file: PromptsFile = None,
    output: Output = Path("out"),
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    start: Start = None,
    end: End = None,
    reverse: Reverse = False,
    both: Both = False,
    formats: Formats = "overlay,masks,json",
    fps: Fps = None,
    resume: Resume = False,
) -> None:
    """Track what you point at through a video.

    All that is said of one object on one frame belongs together: points, one box, one mask. Later prompts correct.
    Frames count from 0, coordinates are pixels from the top left corner. Ctrl-C keeps what is done.
    """
    if reverse and both:
        raise ValueError("--reverse and --both exclude each other")
    span = Span("both" if both else "reverse" if reverse else "forward", start, end)
    prompts = _all_prompts(point or [], box or [], mask or [], prompts_file)
    chosen = _parse_formats(formats)
    if fps is not None and not 0 < fps < 1000:
        raise ValueError(f"--fps must be above 0 and below 1000, got {fps:g}")
    if not prompts and not resume:
        raise ValueError("nothing to track: give --point FRAME:x,y, --box FRAME:x0,y0,x1,y1, --mask or --prompts FILE")
    if not clip.exists():
        raise FileNotFoundError(f"{clip}: no such file or folder")
    from sam2.cli.outputs import prepare_folder  # from here on packages are imported: wrong usage is said at once

    prepare_folder(output)
    from sam2.cli.video.setup import Asked, open_run

    explicit = frozenset(name for name in _BOUND if _is_explicit(context, name))
    asked = Asked(clip, output, prompts, span, tuple(chosen), model, fps, explicit)
    with open_run(asked, resume=resume, device=device, dtype=dtype) as run:
        typer.echo(run.go())


def _all_prompts(
    points: Sequence[str], boxes: Sequence[str], masks: Sequence[str], file: Path | None
) -> list[VideoPrompt]:
    typed = parse_video_prompts(points, boxes, masks)
    return typed if file is None else merge([*read_prompts_file(file), *typed])


def _parse_formats(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"--format must be a list of {', '.join(FORMATS)}, got {name!r}")
    if not names:
        raise ValueError("nothing to write: --format is empty")
    return [name for name in FORMATS if name in names]


def _is_explicit(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
