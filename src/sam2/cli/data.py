"""``sam2 data``: what a data set for training or evaluation holds, before it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam2.cli.errors import SOME_FAILED
from sam2.cli.progress import progress

if TYPE_CHECKING:  # these import torch
    from sam2.train.data.check import DataReport, Drawn

SHEET = "samples.png"

app = typer.Typer(name="data", help="Look at data sets for training and evaluation.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at data sets for training and evaluation."""


@app.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="The data set: a folder or a file of annotations.", show_default=False),
    ],
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="What it is; told by its files by default.")
    ] = "auto",
    samples: Annotated[int, typer.Option("--samples", min=0, help="Frames on the sheet.")] = 12,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help=f"Draw a sheet of samples there: {SHEET}.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Read every sample; 200, and 3 frames of each video, by default.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as JSON.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="FOLDER", help="The pictures or videos, if they are elsewhere.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Which part, of a data set that has several, or all.")
    ] = None,
    classes: Annotated[
        str, typer.Option("--classes", metavar="LIST", help="Classes to use, separated by commas; all by default.")
    ] = "",
    exclude: Annotated[str, typer.Option("--exclude", metavar="LIST", help="Classes to leave out.")] = "",
    min_area: Annotated[int, typer.Option("--min-area", min=0, help="Pixels of the smallest object of a still.")] = 1,
    instances: Annotated[
        str, typer.Option("--instances", metavar="KIND", help="What an object of a label map is: labels or components.")
    ] = "labels",
    values: Annotated[
        str, typer.Option("--values", metavar="KIND", help="What masks hold: auto, binary, numbers or colours.")
    ] = "auto",
    ignore: Annotated[
        str | None, typer.Option("--ignore", metavar="LIST", help="Values of masks that are nothing, besides 0.")
    ] = None,
) -> None:
    """Say what a data set holds, what is odd about it, and which samples cannot be read; draw some of them.

    The options are the fields of a source of training data (docs/training-data.md). Exit status 1: there are bad
    samples; 2: the data set cannot be used.
    """
    _check_path(path, output, json_path)

    from sam2.train.data.check import LOOKED_AT, check_records, to_json, to_lines
    from sam2.train.data.sources import SourceConfig, open_records

    config = SourceConfig(
        path=str(path),
        format=format,
        images=images,
        split=split,
        classes=_listed(classes),
        exclude=_listed(exclude),
        min_area=min_area,
        instances=instances,  # type: ignore[arg-type]  # the record checks it
        values=values,  # type: ignore[arg-type]
        ignore=None if ignore is None else _numbers(ignore),
    )
    records = open_records(config)
    total = len(records) if everything else min(len(records), LOOKED_AT)
    with progress("reading", total, speed="records") as advance:
        report, drawn = check_records(
            records,
            title=config.title,
            everything=everything,
            samples=samples if output is not None else 0,
            advance=advance,
        )
    for line in to_lines(report):
        typer.echo(line)
    if json_path is not None:
        from sam2.cli.outputs import json_bytes, write_whole

        write_whole(json_path, json_bytes(to_json(report)))
    if output is not None:
        _draw(output, report, drawn)
    if report.bad:
        raise typer.Exit(SOME_FAILED)


def _check_path(path: Path, output: Path | None, json_path: Path | None) -> None:
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
