"""``sam2 data``: what a data set for training or evaluation holds, before it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sam2.cli.errors import SOME_FAILED
from sam2.cli.progress import progress

if TYPE_CHECKING:  # these import torch
    from sam2.train.data.check import DataReport, Drawn

SHEET = "samples.png"

Source = Annotated[
    Path, typer.Argument(metavar="PATH", help="The data set: a folder or a file of annotations.", show_default=False)
]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="What it is; told by its files by default.")]
Samples = Annotated[int, typer.Option("--samples", min=0, help="Frames on the sheet.")]
Sheet = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help=f"Draw a sheet of samples there: {SHEET}.")
]
Everything = Annotated[
    bool, typer.Option("--all", help="Read every sample; 200, and 3 frames of each video, by default.")
]
JsonPath = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as JSON.")]
Images = Annotated[
    str | None, typer.Option("--images", metavar="FOLDER", help="The pictures or videos, if they are elsewhere.")
]
Split = Annotated[
    str | None, typer.Option("--split", metavar="NAME", help="Which part, of a data set that has several, or all.")
]
Classes = Annotated[
    str, typer.Option("--classes", metavar="LIST", help="Classes to use, separated by commas; all by default.")
]
Exclude = Annotated[str, typer.Option("--exclude", metavar="LIST", help="Classes to leave out.")]
MinArea = Annotated[int, typer.Option("--min-area", min=0, help="Pixels of the smallest object of a still.")]
Instances = Annotated[
    str, typer.Option("--instances", metavar="KIND", help="What an object of a label map is: labels or components.")
]
Values = Annotated[
    str, typer.Option("--values", metavar="KIND", help="What masks hold: auto, binary, numbers or colours.")
]
Ignore = Annotated[
    str | None, typer.Option("--ignore", metavar="LIST", help="Values of masks that are nothing, besides 0.")
]
Scale = Annotated[
    str, typer.Option("--scale", metavar="RULE", help="Values of 16-bit and float images: full range, or minmax.")
]
Masklets = Annotated[str, typer.Option("--masklets", metavar="KIND", help="Of SA-V: manual, auto or both.")]

app = typer.Typer(name="data", help="Look at data sets for training and evaluation.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at data sets for training and evaluation."""


@app.command()
def check(
    path: Source,
    format: Format = "auto",
    samples: Samples = 12,
    output: Sheet = None,
    everything: Everything = False,
    json_path: JsonPath = None,
    images: Images = None,
    split: Split = None,
    classes: Classes = "",
    exclude: Exclude = "",
    min_area: MinArea = 1,
    instances: Instances = "labels",
    values: Values = "auto",
    ignore: Ignore = None,
    scale: Scale = "full",
    masklets: Masklets = "both",
) -> None:
    """Say what a data set holds, what is odd about it, and which samples cannot be read; draw some of them.

    The options are the fields of a source of training data (docs/training-data.md). Exit status 1: there are bad
    samples; 2: the data set cannot be used.
    """
    _check_paths(path, output, json_path)

    from sam2.train.data.check import LOOKED_AT, check_records
    from sam2.train.data.sources import SourceConfig, open_records

    given: dict[str, Any] = {"instances": instances, "values": values, "masklets": masklets, "min_area": min_area}
    given |= {"scale": scale, "classes": _listed(classes), "exclude": _listed(exclude)}
    given |= {"ignore": None if ignore is None else _numbers(ignore)}
    config = SourceConfig(path=str(path), format=format, images=images, split=split, **given)
    records = open_records(config)
    total = len(records) if everything else min(len(records), LOOKED_AT)
    drawn = samples if output is not None else 0
    with progress("reading", total, speed="records") as advance:
        found = check_records(records, title=config.title, everything=everything, samples=drawn, advance=advance)
    _tell(*found, output=output, json_path=json_path)
    if found[0].bad:
        raise typer.Exit(SOME_FAILED)


def _tell(report: "DataReport", drawn: "list[Drawn]", *, output: Path | None, json_path: Path | None) -> None:
    """Print the report, write it, draw the sheet."""
    from sam2.cli.outputs import json_bytes, write_whole
    from sam2.train.data.check import to_json, to_lines

    for line in to_lines(report):
        typer.echo(line)
    if json_path is not None:
        write_whole(json_path, json_bytes(to_json(report)))
    if output is not None:
        _draw(output, report, drawn)


def _check_paths(path: Path, output: Path | None, json_path: Path | None) -> None:
    """The one has to be there, the others to be writable."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    from sam2.cli.outputs import prepare_folder

    for folder in (output, None if json_path is None else json_path.parent):
        if folder is not None:
            prepare_folder(folder)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _listed(text))
    except ValueError:
        raise ValueError(f"--ignore must be whole numbers separated by commas, got {text!r}") from None


def _draw(folder: Path, report: "DataReport", drawn: "list[Drawn]") -> None:
    """The sheet, if there is anything to be drawn."""
    if not drawn:
        typer.echo(f"no sheet: none of the {report.looked_at} records that were read can be drawn")
        return
    import io

    from PIL import Image

    from sam2.cli.outputs import write_whole
    from sam2.viz import contact_sheet

    sheet = contact_sheet([item.picture for item in drawn], captions=[item.caption for item in drawn])
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    write_whole(folder / SHEET, buffer.getvalue())
    typer.echo(str(folder / SHEET))
