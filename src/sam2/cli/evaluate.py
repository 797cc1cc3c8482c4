"""``sam2 eval``: scores of a model on data sets with known masks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sam2.cli.options import Device, Dtype, Model

if TYPE_CHECKING:  # imports torch
    from sam2.eval.layouts import Counting

JsonPath = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all scores, object by object.")]
Plots = Annotated[Path | None, typer.Option("--plots", metavar="FOLDER", help="Draw the scores there.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that share the work; GPUs take turns.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on behind what an earlier run with the same --json has finished.")
]

app = typer.Typer(name="eval", help="Measure a model on data sets with known masks.", no_args_is_help=True)


@app.command()
def clicks(
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="FOLDER", help="Holds one folder per data set; with --format, any.", show_default=False
        ),
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="LIST", help="Data sets, separated by commas.")
    ] = "grabcut,berkeley,davis2016_part",
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="FOLDER is training data: its format (coco, sav, ...), or auto."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Of training data, which part, or all.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Of training data, pictures that are measured at most.")
    ] = None,
    min_area: Annotated[
        int, typer.Option("--min-area", min=1, help="Of training data, pixels of the smallest object.")
    ] = 1,
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="sam: three masks for the first click; ritm: one, and no pixel is clicked on twice.",
        ),
    ] = "sam",
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Of the three masks, take the one that is best by the truth.")
    ] = False,
    max_clicks: Annotated[int, typer.Option("--clicks", min=1, help="Clicks per object; 20 for NoC.")] = 5,
    frame_step: Annotated[
        int, typer.Option("--frame-step", min=1, help="Of clips, every how many frames are measured.")
    ] = 10,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out pictures that cannot be read.")] = False,
    workers: Workers = 1,
    resume: Resume = False,
    json_path: JsonPath = None,
    plots: Plots = None,
) -> None:
    """Mean IoU with a box, after one click and after several, each in the middle of the largest error.

    The first click is the point of the object furthest from its border; of its three masks the one with the best
    predicted IoU counts. Boxes are the tight ones of the true masks.
    """
    names = tuple(name.strip() for name in dataset.split(",") if name.strip())
    if not names:
        raise ValueError("--dataset must name at least one data set")
    _check(data, (json_path, plots), resume=resume)

    from dataclasses import replace

    from sam2.cli.eval.clicks import ClickRequest, run_clicks
    from sam2.eval.clicks import PROTOCOLS
    from sam2.eval.loading import ModelSetup

    if protocol not in PROTOCOLS:
        raise ValueError(f"--protocol must be {' or '.join(PROTOCOLS)}, got {protocol!r}")
    request = ClickRequest(
        data=data,
        names=names if format is None else (),
        source={} if format is None else {"format": format, "split": split, "min_area": min_area},
        setup=ModelSetup(model, device, dtype),
        protocol=replace(PROTOCOLS[protocol], oracle=oracle),
        protocol_name=protocol,
        clicks=max_clicks,
        frame_step=frame_step,
        limit=limit,
        partial=partial,
        json=json_path,
        plots=plots,
        workers=workers,
        resume=resume,
    )
    run_clicks(request)


@app.command()
def vos(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FOLDER", help="Holds JPEGImages and Annotations.", show_default=False),
    ],
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    clips: Annotated[
        str | None, typer.Option("--clips", metavar="LIST", help="Clips, separated by commas; all by default.")
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="NAME",
            help="davis2016, davis2017, mose, sav, lvos or youtube; told by the files by default.",
        ),
    ] = "auto",
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="List of clips: a text file, or a name in ImageSets, as in val."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Go on where clips, images or predictions are missing.")
    ] = False,
    counting: Annotated[
        str | None,
        typer.Option(
            "--count",
            metavar="RULE",
            help="Frames that count: between (the first and the last annotated one), after_prompt or all; by layout.",
        ),
    ] = None,
    postprocessing: Annotated[
        bool,
        typer.Option("--postprocessing/--no-postprocessing", help="Fill holes in masks; published scores are without."),
    ] = True,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FOLDER", help="Score the masks that lie there, without a model."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", metavar="FOLDER", help="Write the masks of all frames, as the annotations lie."),
    ] = None,
    workers: Workers = 1,
    resume: Resume = False,
    json_path: JsonPath = None,
    plots: Plots = None,
) -> None:
    """J and F when tracking from the true mask of each object's first frame, as DAVIS defines them.

    Means are over the objects; the first and the last annotated frame of a clip do not count (of YouTube-VOS: the
    frame on which an object is given), or as --count says.
    """
    names = [name.strip() for name in clips.split(",") if name.strip()] if clips is not None else None
    if names is not None and not names:
        raise ValueError("--clips must name at least one clip")
    if masks is not None and predictions is not None:
        raise ValueError("--masks writes what a model finds: it cannot go with --predictions")
    if predictions is not None and not predictions.is_dir():
        raise FileNotFoundError(f"--predictions {predictions}: no such folder")
    _check(data, (json_path, plots), resume=resume)

    from sam2.cli.eval.vos import VosRequest, run_vos
    from sam2.cli.outputs import prepare_folder
    from sam2.eval.loading import ModelSetup
    from sam2.eval.vos import VosChoice

    rule = cast("Counting | None", counting)
    choice = VosChoice(layout=layout, clips=names, split=split, partial=partial, counting=rule)
    if masks is not None:
        prepare_folder(masks)
    request = VosRequest(
        data=data,
        choice=choice,
        setup=ModelSetup(model, device, dtype, postprocessing),
        predictions=predictions,
        masks=masks,
        json=json_path,
        plots=plots,
        workers=workers,
        resume=resume,
    )
    run_vos(request)


def _check(data: Path, results: tuple[Path | None, Path | None], *, resume: bool) -> None:
    """The data has to be there, the files of results to be writable, and plots to be possible."""
    json_path, plots = results
    if not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder")
    if resume and json_path is None:
        raise ValueError("--resume needs --json FILE: what is finished is kept beside it")
    from sam2.cli.outputs import prepare_folder

    if json_path is not None:
        prepare_folder(json_path.parent)
    if plots is not None:
        from sam2.eval.plots import check_plots

        check_plots()
        prepare_folder(plots)
