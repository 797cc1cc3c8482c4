"""``sam2 eval``: scores of a model on data sets with known masks."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sam2.cli.image import Device, Dtype, Model
from sam2.cli.progress import progress

if TYPE_CHECKING:  # these import torch
    from sam2.eval.clicks import ClickScores
    from sam2.eval.vos import ClipScore, VosScores

NOC_IOUS = (0.85, 0.90)
"""IoUs whose number of clicks (NoC) the literature reports."""

T = TypeVar("T")

JsonPath = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all scores, object by object.")]

app = typer.Typer(name="eval", help="Measure a model on data sets with known masks.", no_args_is_help=True)


@app.command()
def clicks(
    data: Annotated[
        Path, typer.Option("--data", metavar="FOLDER", help="Holds one folder per data set.", show_default=False)
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="LIST", help="Data sets, separated by commas.")
    ] = "grabcut,berkeley,davis2016_part",
    model: Model = "nano",
    device: Device = None,
    dtype: Dtype = "auto",
    max_clicks: Annotated[int, typer.Option("--clicks", min=1, help="Clicks per object.")] = 5,
    frame_step: Annotated[
        int, typer.Option("--frame-step", min=1, help="Of clips, every how many frames are measured.")
    ] = 10,
    json_path: JsonPath = None,
) -> None:
    """Mean IoU with a box, after one click and after several, each in the middle of the largest error.

    The first click is the point of the object furthest from its border; of its three masks the one with the best
    predicted IoU counts. Boxes are the tight ones of the true masks.
    """
    names = [name.strip() for name in dataset.split(",") if name.strip()]
    if not names:
        raise ValueError("--dataset must name at least one data set")
    _check_folders(data, json_path)

    from sam2.cli.loading import load_model
    from sam2.eval.clicks import evaluate_clicks
    from sam2.eval.datasets import open_dataset

    examples = {name: open_dataset(name, data, frame_step=frame_step) for name in names}
    loaded = load_model(model, device=device, dtype=dtype)
    setup = {
        "model": model,
        "device": str(loaded.device),
        "dtype": str(loaded.compute_dtype).removeprefix("torch."),
        "frame_step": frame_step,
    }
    typer.echo(f"{model} on {setup['device']}, {setup['dtype']}: mean IoU")
    typer.echo(_row(["data set", "objects", "box", *_click_titles(max_clicks), *_noc_titles()]))
    scores: dict[str, ClickScores] = {}
    for name, images in examples.items():
        with progress(name) as advance:
            scores[name] = evaluate_clicks(loaded, _counted(images, advance), clicks=max_clicks)
        typer.echo(_score_row(name, scores[name], max_clicks))
    if json_path is not None:
        from sam2.cli.outputs import json_bytes, write_whole

        results = {name: _record(found) for name, found in scores.items()}
        write_whole(json_path, json_bytes({**setup, "data_sets": results}))


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
    json_path: JsonPath = None,
) -> None:
    """J and F when tracking from the true mask of each clip's first frame, as DAVIS defines them.

    Means are over the objects; the first and the last annotated frame of a clip do not count.
    """
    names = [name.strip() for name in clips.split(",") if name.strip()] if clips is not None else None
    if names is not None and not names:
        raise ValueError("--clips must name at least one clip")
    _check_folders(data, json_path)

    from sam2.cli.loading import load_model
    from sam2.eval.vos import VosScores, open_vos, track_clip
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    found = open_vos(data, clips=names)
    loaded = SAM2VideoPredictor(load_model(model, device=device, dtype=dtype))
    setup = {"model": model, "device": str(loaded.device), "dtype": str(loaded.compute_dtype).removeprefix("torch.")}
    typer.echo(f"{model} on {setup['device']}, {setup['dtype']}: J and F from the mask of the first frame")
    typer.echo(_row(["clip", "object", "frames", "J&F", "J", "F"]))
    objects: list[ClipScore] = []
    for clip in found:
        with progress(clip.name, len(clip.stems), speed="frames") as advance:
            scores = track_clip(loaded, clip, progress=lambda *_, advance=advance: advance())
        for item in scores:
            typer.echo(_row([item.clip, str(item.obj_id), str(item.frames), *_marks(item)]))
        objects += scores
    total = VosScores(tuple(objects))
    typer.echo(_row(["mean", "", str(sum(item.frames for item in objects)), *_marks(total)]))
    if json_path is not None:
        from sam2.cli.outputs import json_bytes, write_whole

        rows = [{"clip": item.clip, "object": item.obj_id, "frames": item.frames, **_marked(item)} for item in objects]
        write_whole(json_path, json_bytes({**setup, **_marked(total), "per_object": rows}))


def _marked(score: "ClipScore | VosScores") -> dict[str, float]:
    return {"j_and_f": score.j_and_f, "j": score.j, "f": score.f}


def _marks(score: "ClipScore | VosScores") -> list[str]:
    return [f"{value:.3f}" for value in _marked(score).values()]


def _check_folders(data: Path, json_path: Path | None) -> None:
    """The one has to be there, the other to be writable."""
    if not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder")
    if json_path is not None:
        from sam2.cli.outputs import prepare_folder

        prepare_folder(json_path.parent)


def _click_titles(count: int) -> list[str]:
    return ["1 click"] if count == 1 else ["1 click", f"{count} clicks"]


def _noc_titles() -> list[str]:
    return [f"NoC@{round(100 * level)}" for level in NOC_IOUS]


def _score_row(name: str, scores: "ClickScores", count: int) -> str:
    after = [scores.clicks[0]] if count == 1 else [scores.clicks[0], scores.clicks[-1]]
    means = [f"{value:.3f}" for value in (scores.box, *after)]
    needed = [f"{scores.clicks_needed(level):.2f}" for level in NOC_IOUS]
    return _row([name, str(len(scores.objects)), *means, *needed])


def _row(cells: list[str]) -> str:
    return cells[0].ljust(16) + "".join(cell.rjust(10) for cell in cells[1:])


def _record(scores: "ClickScores") -> dict[str, Any]:
    return {
        "objects": len(scores.objects),
        "box": scores.box,
        "clicks": list(scores.clicks),
        "clicks_needed": {f"{level:.2f}": scores.clicks_needed(level) for level in NOC_IOUS},
        "per_object": [{"name": item.name, "box": item.box, "clicks": list(item.clicks)} for item in scores.objects],
    }


def _counted(items: Iterable[T], advance: Callable[[], None]) -> Iterator[T]:
    """``items``; each is counted when the next one is asked for."""
    for item in items:
        yield item
        advance()
