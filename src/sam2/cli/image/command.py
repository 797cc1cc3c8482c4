"""``sam2 image``: the options, checked before anything heavy is imported."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sam2.cli.errors import DONE, say
from sam2.cli.formats import EFFECTS, parse_names
from sam2.cli.image.asked import FORMATS, SCALES, Asked, Grid
from sam2.cli.inputs import find_images
from sam2.cli.labels import parse_labels
from sam2.cli.options import Device, Dtype, Model, Output
from sam2.cli.outputs import prepare_folder
from sam2.cli.prompts import ObjectPrompt, parse_prompts

Photos = Annotated[
    list[str],
    typer.Argument(metavar="PHOTO", help="Image files, folders, or patterns in quotes.", show_default=False),
]
Points = Annotated[
    list[str] | None,
    typer.Option("--point", "-p", metavar="[N@]X,Y[,LABEL]", help="A click: label 1 on the object, 0 not on it."),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box", "-b", metavar="[N@]X0,Y0,X1,Y1", help="A box around the object. Several are several objects."
    ),
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask", metavar="[N@]FILE", help="A rough mask to refine: an image of the photo's size, bright inside."
    ),
]
Everything = Annotated[bool, typer.Option("--everything", help="Everything in the photo, without prompts.")]
PointsPerSide = Annotated[
    int | None,
    typer.Option(
        "--points-per-side",
        metavar="N",
        help="With --everything: lay N x N clicks over the photo; 32 by default, 16 with nano.",
    ),
]
MinArea = Annotated[
    int | None,
    typer.Option(
        "--min-area",
        metavar="PIXELS",
        help="With --everything: leave out smaller masks, and smaller islands and holes in masks.",
    ),
]
MaxMasks = Annotated[
    int | None,
    typer.Option("--max-masks", metavar="N", help="With --everything: keep the N best masks of a photo."),
]
IouThreshold = Annotated[
    float | None,
    typer.Option(
        "--iou-threshold",
        metavar="0..1",
        help="With --everything: the least predicted IoU; 0.8 by default, 0.5 with nano.",
    ),
]
StabilityThreshold = Annotated[
    float | None,
    typer.Option(
        "--stability-threshold",
        metavar="0..1",
        help="With --everything: the least stability of a mask; 0.95 by default, 0.9 with nano.",
    ),
]
BoxesFile = Annotated[
    Path | None,
    typer.Option(
        "--boxes", metavar="FILE", help="A detector's boxes as prompts: JSON, YOLO's txt, or a folder with one a photo."
    ),
]
LabelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        metavar="[N=]NAME",
        help="The class of object N (with --boxes: of the detector's class N), or of all others.",
    ),
]
Multimask = Annotated[bool, typer.Option("--multimask", help="Write all three candidates of each object, best first.")]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        metavar="LIST",
        help=f"What to write, of {', '.join(FORMATS)}; png,json by default, json with --everything.",
    ),
]
Overlay = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Draw masks and prompts over the photo.")]
Effects = Annotated[
    str | None, typer.Option("--effect", metavar="LIST", help=f"Pictures to make besides, of {', '.join(EFFECTS)}.")
]
Threshold = Annotated[
    float, typer.Option("--threshold", metavar="LOGIT", help="Pixels above it are inside: higher gives smaller masks.")
]
ScaleName = Annotated[
    str,
    typer.Option(
        "--scale", metavar="RULE", help="Values of 16-bit and float images: full range, or minmax to stretch."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Skip photos that are done: go on with an interrupted run, or add new photos.")
]


def image(
    photos: Photos,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    boxes_file: BoxesFile = None,
    everything: Everything = False,
    points_per_side: PointsPerSide = None,
    min_area: MinArea = None,
    max_masks: MaxMasks = None,
    iou_threshold: IouThreshold = None,
    stability_threshold: StabilityThreshold = None,
    label: LabelNames = None,
    output: Output = Path("out"),
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    multimask: Multimask = False,
    formats: Formats = None,
    overlay: Overlay = True,
    effects: Effects = None,
    threshold: Threshold = 0.0,
    scale: ScaleName = "full",
    resume: Resume = False,
) -> None:
    """Segment what you point at in photos, or everything.

    All points and one box are one object. Several boxes are several objects. N@ before a value names the object it
    belongs to: --point 1@320,240 --point 2@40,30. Coordinates are pixels from the top left corner.
    """
    grid = {
        "points_per_side": points_per_side,
        "min_area": min_area,
        "max_masks": max_masks,
        "iou_threshold": iou_threshold,
        "stability_threshold": stability_threshold,
    }
    typed = {"--point": point or [], "--box": box or [], "--mask": mask or [], "--label": label or []}
    asked = Asked(
        output=output,
        model=model,
        device=device,
        dtype=dtype,
        prompts=_parse_prompts(typed, boxes_file, everything=everything),
        boxes=boxes_file,
        everything=_parse_grid(grid, everything=everything),
        labels=parse_labels(label or []),
        formats=parse_names("--format", _default_formats(everything) if formats is None else formats, FORMATS),
        effects=parse_names("--effect", effects or "", EFFECTS),
        overlay=overlay,
        all_candidates=multimask,
        threshold=threshold,
        scale=scale,
        typed=typed,
    )
    _check(asked)
    _go(asked, photos, resume=resume)


def _go(asked: Asked, photos: Sequence[str], *, resume: bool) -> None:
    paths = find_images(photos, output=asked.output)
    prepare_folder(asked.output)
    for prompt in asked.prompts:
        if prompt.labels and not any(prompt.labels) and prompt.box is None and prompt.mask is None:
            say(f"warning: object {prompt.object_id} has background points only")

    from sam2.cli.image.run import run_photos

    status, lines = run_photos(asked, paths, resume=resume)
    for line in lines:
        typer.echo(line)
    if status != DONE:
        raise typer.Exit(status)


def _parse_prompts(typed: dict[str, list[str]], boxes: Path | None, *, everything: bool) -> tuple[ObjectPrompt, ...]:
    ways = [option for option in ("--point", "--box", "--mask") if typed[option]][:1]
    ways += ["--boxes"] if boxes is not None else []
    ways += ["--everything"] if everything else []
    if len(ways) > 1:
        raise ValueError(f"{ways[0]} and {ways[1]} exclude each other")
    if not ways:
        raise ValueError(
            "nothing to segment: give --point x,y[,label], --box x0,y0,x1,y1, --mask FILE, --boxes FILE or --everything"
        )
    if boxes is not None and not boxes.exists():
        raise FileNotFoundError(f"--boxes {boxes}: no such file or folder")
    if boxes is not None or everything:
        return ()
    return tuple(parse_prompts(typed["--point"], typed["--box"], typed["--mask"]))


def _parse_grid(options: dict[str, Any], *, everything: bool) -> Grid | None:
    for name, value in options.items():
        if value is not None and not everything:
            raise ValueError(f"--{name.replace('_', '-')} goes with --everything")
    return Grid(**options) if everything else None


def _default_formats(everything: bool) -> str:
    return "json" if everything else "png,json"


def _check(asked: Asked) -> None:
    """Raise ``ValueError`` for what does not go together, or is not known."""
    if not (asked.formats or asked.effects or asked.overlay):
        raise ValueError("nothing to write: --format is empty and --no-overlay is given")
    if asked.scale not in SCALES:
        raise ValueError(f"--scale must be one of {', '.join(SCALES)}, got {asked.scale!r}")
    if not math.isfinite(asked.threshold):
        raise ValueError(f"--threshold must be a finite number, got {asked.threshold}")
    if asked.everything is not None:
        if asked.all_candidates:
            raise ValueError("--everything and --multimask exclude each other")
        for number, name in asked.labels.by_id.items():
            raise ValueError(
                f"--label {number}={name}: with --everything objects have no numbers yet, give a NAME only"
            )
    elif asked.boxes is None:
        asked.labels.check([prompt.object_id for prompt in asked.prompts])
