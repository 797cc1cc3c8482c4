"""``sam2 image``: the options, and the loop over the inputs that survives bad ones."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam2.cli.errors import DONE, FAILED, SOME_FAILED, OutputError, describe, is_expected, say
from sam2.cli.inputs import find_images
from sam2.cli.progress import progress
from sam2.cli.prompts import ObjectPrompt, parse_prompts

if TYPE_CHECKING:  # these import torch
    from sam2.cli.segment import Settings
    from sam2.sam2_image_predictor import SAM2ImagePredictor

FORMATS = ("png", "json")
SCALES = ("full", "minmax")

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
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where results go.")]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME", help="nano (bundled), a name from 'sam2 models', or a checkpoint."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1, mps, xpu; the best there is by default."),
]
Dtype = Annotated[
    str,
    typer.Option("--dtype", metavar="TYPE", help="auto, float32, bfloat16 or float16; auto is the fastest safe one."),
]
Multimask = Annotated[bool, typer.Option("--multimask", help="Write all three candidates of each object, best first.")]
Formats = Annotated[str, typer.Option("--format", metavar="LIST", help="What to write: png (masks), json, or both.")]
Overlay = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Draw masks and prompts over the photo.")]
Threshold = Annotated[
    float, typer.Option("--threshold", metavar="LOGIT", help="Pixels above it are inside: higher gives smaller masks.")
]
ScaleName = Annotated[
    str,
    typer.Option(
        "--scale", metavar="RULE", help="Values of 16-bit and float images: full range, or minmax to stretch."
    ),
]


def image(
    photos: Photos,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    output: Output = Path("out"),
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    multimask: Multimask = False,
    formats: Formats = "png,json",
    overlay: Overlay = True,
    threshold: Threshold = 0.0,
    scale: ScaleName = "full",
) -> None:
    """Segment what you point at in photos.

    All points and one box are one object. Several boxes are several objects. N@ before a value names the object it
    belongs to: --point 1@320,240 --point 2@40,30. Coordinates are pixels from the top left corner.
    """
    prompts = parse_prompts(point or [], box or [], mask or [])
    chosen = _parse_formats(formats)
    if not chosen and not overlay:
        raise ValueError("nothing to write: --format is empty and --no-overlay is given")
    if scale not in SCALES:
        raise ValueError(f"--scale must be one of {', '.join(SCALES)}, got {scale!r}")
    if not math.isfinite(threshold):
        raise ValueError(f"--threshold must be a finite number, got {threshold}")
    paths = find_images(photos, output=output)
    from sam2.cli.outputs import prepare_folder  # from here on packages are imported: wrong usage is said at once

    prepare_folder(output)
    for prompt in prompts:
        if prompt.labels and not any(prompt.labels) and prompt.box is None and prompt.mask is None:
            say(f"warning: object {prompt.object_id} has background points only")

    import sam2
    from sam2.cli.segment import Settings
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(sam2.load(model, device=device, dtype=dtype), mask_threshold=threshold)
    settings = Settings(model, output, chosen, overlay, multimask, scale)  # type: ignore[arg-type]
    status = _segment_all(predictor, paths, prompts, settings)
    if status != DONE:
        raise typer.Exit(status)


def _parse_formats(text: str) -> frozenset[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"--format must be a list of {', '.join(FORMATS)}, got {name!r}")
    return frozenset(names)


def _segment_all(
    predictor: "SAM2ImagePredictor", paths: Sequence[Path], prompts: Sequence[ObjectPrompt], settings: "Settings"
) -> int:
    """Segment file after file, say what came of it, and return the exit status."""
    from sam2.cli.outputs import output_stems
    from sam2.cli.segment import segment_file

    started, failed = time.perf_counter(), 0
    lines: list[str] = []
    with progress("segmenting", len(paths)) if len(paths) > 1 else nullcontext(lambda: None) as advance:
        for path, stem in zip(paths, output_stems(paths), strict=True):
            try:
                found = segment_file(predictor, path, stem, prompts, settings)
                lines.extend(item.describe() for item in found if len(paths) == 1)
            except OutputError:
                raise
            except Exception as error:
                if not is_expected(error):
                    raise
                failed += 1
                text = describe(error)
                say(f"error: {text}" if str(path) in text else f"error: {path}: {text}")
            advance()
    for line in lines:
        typer.echo(line)
    _summarise(len(paths), failed, time.perf_counter() - started, settings.output)
    return DONE if not failed else FAILED if failed == len(paths) else SOME_FAILED


def _summarise(total: int, failed: int, seconds: float, output: Path) -> None:
    done = total - failed
    images = "1 image" if total == 1 else f"{total} images"
    trouble = f", {failed} failed" if failed else ""
    where = f": results in {output}" if done else ""
    typer.echo(f"{images}, {done} done{trouble} in {seconds:.1f} s{where}")
