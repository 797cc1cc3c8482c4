"""``sam2 video``: the options, checked before anything heavy is imported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.formats import parse_names
from sam2.cli.options import Device, Dtype, Model, Output
from sam2.cli.video.asked import EFFECTS, FORMATS, Asked, Search
from sam2.cli.video.legs import Span
from sam2.cli.video.prompts import VideoPrompt, merge, parse_video_prompts, read_prompts_file

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
Everything = Annotated[bool, typer.Option("--everything", help="Everything in the video, without prompts.")]
PointsPerSide = Annotated[
    int | None,
    typer.Option(
        "--points-per-side", metavar="N", help="With --everything: lay N x N clicks over a frame; 16 by default."
    ),
]
Every = Annotated[
    int | None,
    typer.Option("--every", metavar="FRAMES", help="With --everything: look for new objects so often; 10 by default."),
]
MaxObjects = Annotated[
    int | None,
    typer.Option(
        "--max-objects", metavar="N", help="With --everything: follow so many objects at a time; 50 by default."
    ),
]
LabelNames = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="[N=]NAME", help="The class of object N, or of all others."),
]
Start = Annotated[int | None, typer.Option("--start", metavar="FRAME", help="First frame, from 0.")]
End = Annotated[int | None, typer.Option("--end", metavar="FRAME", help="Last frame, itself included.")]
Reverse = Annotated[bool, typer.Option("--reverse", help="Track backward, from the last prompt.")]
Both = Annotated[bool, typer.Option("--both", help="Track forward, then backward from each object's first prompt.")]
Formats = Annotated[
    str, typer.Option("--format", "-f", metavar="LIST", help=f"What to write, of {', '.join(FORMATS)}.")
]
Effects = Annotated[
    str | None, typer.Option("--effect", metavar="LIST", help=f"Films to make besides, of {', '.join(EFFECTS)}.")
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", metavar="N", help="Speed of written videos; the clip's own by default, 24 for folders."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run; prompts need not be repeated.")]

_BOUND = ("model", "start", "end", "reverse", "both", "formats", "effects", "labels", "fps")
"""Options that an interrupted run has settled."""


def video(
    context: typer.Context,
    clip: Clip,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    prompts_file: PromptsFile = None,
    everything: Everything = False,
    points_per_side: PointsPerSide = None,
    every: Every = None,
    max_objects: MaxObjects = None,
    labels: LabelNames = None,
    output: Output = Path("out"),
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    start: Start = None,
    end: End = None,
    reverse: Reverse = False,
    both: Both = False,
    formats: Formats = "overlay,masks,json",
    effects: Effects = None,
    fps: Fps = None,
    resume: Resume = False,
) -> None:
    """Track what you point at through a video, or everything.

    All that is said of one object on one frame belongs together: points, one box, one mask. Later prompts correct.
    Frames count from 0, coordinates are pixels from the top left corner. Ctrl-C keeps what is done.
    """
    if reverse and both:
        raise ValueError("--reverse and --both exclude each other")
    typed = {"--point": point or [], "--box": box or [], "--mask": mask or []}
    search = {"points_per_side": points_per_side, "keyframe_every": every, "max_objects": max_objects}
    asked = Asked(
        clip=clip,
        output=output,
        prompts=_all_prompts(typed, prompts_file, everything=everything),
        search=_parse_search(search, everything=everything),
        span=Span("both" if both else "reverse" if reverse else "forward", start, end),
        formats=parse_names("--format", formats, FORMATS),
        effects=parse_names("--effect", effects or "", EFFECTS),
        labels=tuple(labels or ()),
        model=model,
        fps=fps,
        explicit=frozenset(name for name in _BOUND if _is_explicit(context, name)),
    )
    _check(asked, resume=resume)
    from sam2.cli.outputs import prepare_folder  # from here on packages are imported: wrong usage is said at once

    prepare_folder(output)
    from sam2.cli.video.setup import open_run

    with open_run(asked, resume=resume, device=device, dtype=dtype) as run:
        typer.echo(run.go())


def _all_prompts(typed: Mapping[str, Sequence[str]], file: Path | None, *, everything: bool) -> list[VideoPrompt]:
    ways = [option for option, values in typed.items() if values] + (["--prompts"] if file is not None else [])
    if everything and ways:
        raise ValueError(f"{ways[0]} and --everything exclude each other")
    prompts = parse_video_prompts(typed["--point"], typed["--box"], typed["--mask"])
    return prompts if file is None else merge([*read_prompts_file(file), *prompts])


def _parse_search(options: Mapping[str, int | None], *, everything: bool) -> Search | None:
    given = {name: value for name, value in options.items() if value is not None}
    for name in given if not everything else ():
        option = "--every" if name == "keyframe_every" else f"--{name.replace('_', '-')}"
        raise ValueError(f"{option} goes with --everything")
    return Search(**given) if everything else None


def _check(asked: Asked, *, resume: bool) -> None:
    if asked.search is not None and resume:
        raise ValueError("--resume: a run of --everything cannot go on, leave --resume out to start anew")
    if not asked.prompts and asked.search is None and not resume:
        raise ValueError(
            "nothing to track: give --point FRAME:x,y, --box FRAME:x0,y0,x1,y1, --mask, --prompts FILE or --everything"
        )
    if not asked.clip.exists():
        raise FileNotFoundError(f"{asked.clip}: no such file or folder")


def _is_explicit(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
