"""``sam2 eval``: scores of a model on data sets with known masks."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from sam2.cli.eval.options import (
    ClickFolder,
    Clicks,
    Clips,
    Count,
    DataSets,
    Format,
    FrameStep,
    JsonPath,
    Layout,
    Limit,
    Masks,
    MinArea,
    Oracle,
    Part,
    PartialClips,
    PartialPictures,
    Plots,
    Postprocessing,
    Predictions,
    Protocol,
    Resume,
    Split,
    VosFolder,
    Workers,
)
from sam2.cli.options import Device, Dtype, Model

if TYPE_CHECKING:  # imports torch
    from sam2.eval.layouts import Counting

app = typer.Typer(name="eval", help="Measure a model on data sets with known masks.", no_args_is_help=True)


@app.command()
def clicks(
    data: ClickFolder,
    dataset: DataSets = "grabcut,berkeley,davis2016_part",
    format: Format = None,
    split: Part = None,
    limit: Limit = None,
    min_area: MinArea = 1,
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    protocol: Protocol = "sam",
    oracle: Oracle = False,
    max_clicks: Clicks = 5,
    frame_step: FrameStep = 10,
    partial: PartialPictures = False,
    workers: Workers = 1,
    resume: Resume = False,
    json_path: JsonPath = None,
    plots: Plots = None,
) -> None:
    """Mean IoU with a box, after one click and after several, each in the middle of the largest error.

    The first click is the point of the object furthest from its border; of its three masks the one with the best
    predicted IoU counts. Boxes are the tight ones of the true masks.
    """
    if format is None and (split is not None or limit is not None or min_area != 1):
        raise ValueError("--split, --limit and --min-area are of training data: say what it is with --format")
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
    data: VosFolder,
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    clips: Clips = None,
    layout: Layout = "auto",
    split: Split = None,
    partial: PartialClips = False,
    counting: Count = None,
    postprocessing: Postprocessing = True,
    predictions: Predictions = None,
    masks: Masks = None,
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
        if json_path.is_dir():
            raise ValueError(f"--json {json_path}: is a folder, expected a file")
        prepare_folder(json_path.parent)
    if plots is not None:
        from sam2.eval.plots import check_plots

        check_plots()
        prepare_folder(plots)
