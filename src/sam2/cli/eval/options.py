"""Options of ``sam2 eval``."""

from pathlib import Path
from typing import Annotated

import typer

JsonPath = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all scores, object by object.")]
Plots = Annotated[Path | None, typer.Option("--plots", metavar="FOLDER", help="Draw the scores there.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that share the work; GPUs take turns.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on behind what an earlier run with the same --json has finished.")
]

ClickFolder = Annotated[
    Path,
    typer.Option(
        "--data", metavar="FOLDER", help="Holds one folder per data set; with --format, any.", show_default=False
    ),
]
DataSets = Annotated[str, typer.Option("--dataset", metavar="LIST", help="Data sets, separated by commas.")]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="FOLDER is training data: its format (coco, sav, ...), or auto."),
]
Part = Annotated[str | None, typer.Option("--split", metavar="NAME", help="Of training data, which part, or all.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Of training data, pictures that are measured at most.")
]
MinArea = Annotated[int, typer.Option("--min-area", min=1, help="Of training data, pixels of the smallest object.")]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="sam: three masks for the first click; ritm: one, and no pixel is clicked on twice.",
    ),
]
Oracle = Annotated[bool, typer.Option("--oracle", help="Of the three masks, take the one that is best by the truth.")]
Clicks = Annotated[int, typer.Option("--clicks", min=1, help="Clicks per object; 20 for NoC.")]
FrameStep = Annotated[int, typer.Option("--frame-step", min=1, help="Of clips, every how many frames are measured.")]
PartialPictures = Annotated[bool, typer.Option("--partial", help="Leave out pictures that cannot be read.")]
VosFolder = Annotated[
    Path,
    typer.Option("--data", metavar="FOLDER", help="Holds JPEGImages and Annotations.", show_default=False),
]
Clips = Annotated[
    str | None, typer.Option("--clips", metavar="LIST", help="Clips, separated by commas; all by default.")
]
Layout = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="NAME",
        help="davis2016, davis2017, mose, sav, lvos or youtube; told by the files by default.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="List of clips: a text file, or a name in ImageSets, as in val."),
]
PartialClips = Annotated[bool, typer.Option("--partial", help="Go on where clips, images or predictions are missing.")]
Count = Annotated[
    str | None,
    typer.Option(
        "--count",
        metavar="RULE",
        help="Frames that count: between (the first and the last annotated one), after_prompt or all; by layout.",
    ),
]
Postprocessing = Annotated[
    bool,
    typer.Option("--postprocessing/--no-postprocessing", help="Fill holes in masks; published scores are without."),
]
Predictions = Annotated[
    Path | None,
    typer.Option("--predictions", metavar="FOLDER", help="Score the masks that lie there, without a model."),
]
Masks = Annotated[
    Path | None,
    typer.Option("--masks", metavar="FOLDER", help="Write the masks of all frames, as the annotations lie."),
]
