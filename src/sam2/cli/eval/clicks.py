"""``sam2 eval clicks``: clicking through data sets, and what comes of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from sam2.cli.errors import describe
from sam2.cli.eval.keeping import Kept, identity
from sam2.cli.eval.tables import row
from sam2.cli.outputs import json_bytes, write_whole
from sam2.cli.progress import progress
from sam2.eval.clicks import ClickProtocol, ClickScores, Cost, ObjectScore, evaluate_picture
from sam2.eval.datasets import ClickExample, ClickPicture, open_pictures
from sam2.eval.layouts import incomplete
from sam2.eval.loading import ModelSetup
from sam2.eval.memory import peak_memory
from sam2.eval.records import record_pictures
from sam2.eval.workers import Tell, run_items

NOC_IOUS = (0.85, 0.90)
"""IoUs whose number of clicks (NoC) the literature reports."""

SHOWN_CLICKS = (1, 3, 5)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickRequest:
    """What was asked for.

    Attributes:
        data: the folder.
        names: data sets of :data:`sam2.eval.datasets.DATASETS` in it; empty where ``source`` says what it is.
        source: how training data in ``data`` is opened: fields of ``SourceConfig``, less its path.
        setup: the model.
        protocol: who clicks.
        protocol_name: what it is called.
        clicks: how many.
        frame_step: of clips, every how many frames are measured.
        limit: pictures of training data that are measured, at most.
        partial: go on where pictures cannot be read.
        json, plots: where results go; None writes none.
        workers: processes.
        resume: go on behind what is finished.
    """

    data: Path
    names: tuple[str, ...]
    source: Mapping[str, Any]
    setup: ModelSetup
    protocol: ClickProtocol
    protocol_name: str
    clicks: int
    frame_step: int
    limit: int | None = None
    partial: bool = False
    json: Path | None = None
    plots: Path | None = None
    workers: int = 1
    resume: bool = False


@dataclass(frozen=True, slots=True)
class _Clicking:
    """Makes a worker that clicks."""

    setup: ModelSetup
    protocol: ClickProtocol
    clicks: int

    def __call__(self, worker: int, workers: int) -> "_Clicker":
        del workers
        return _Clicker(self, worker)


class _Clicker:
    def __init__(self, work: _Clicking, worker: int) -> None:
        self.model, self.work = work.setup.load(worker), work

    def __call__(self, picture: ClickPicture, tell: Tell) -> Row:
        cost = Cost()
        try:
            scores = evaluate_picture(
                self.model, _read(picture), clicks=self.work.clicks, protocol=self.work.protocol, cost=cost
            )
        except _UnreadableError as error:
            return {"problem": str(error)}
        finally:
            tell(1)
        objects = [{"name": item.name, "box": item.box, "clicks": list(item.clicks)} for item in scores]
        return {"objects": objects, "cost": asdict(cost), "memory": peak_memory(self.model.device)}


class _UnreadableError(Exception):
    """A picture or its masks cannot be read."""


def run_clicks(request: ClickRequest) -> None:
    """Evaluate, print a table, and write what was asked for."""
    pictures = _open(request)
    setup = {
        **request.setup.settled(),
        "protocol": request.protocol_name,
        "oracle": request.protocol.oracle,
        "clicks": request.clicks,
        "frame_step": request.frame_step,
    }
    typer.echo(f"{setup['model']} on {setup['device']}, {setup['dtype']}: mean IoU")
    typer.echo(row(["data set", "objects", "box", *_titles(request.clicks), *(f"NoC@{_percent(i)}" for i in NOC_IOUS)]))
    with Kept(request.json, _settings(request, setup), resume=request.resume) as kept:
        scores, problems = _results(request, pictures, kept)
        rows = [kept.rows[key] for key in _keys(pictures)]
    for problem in problems:
        typer.echo(f"left out: {problem}")
    speed = _speed(rows, request.workers)
    typer.echo(_speed_line(speed))
    if request.json is not None:
        import sam2

        results = {name: _record(found) for name, found in scores.items()}
        record = {"version": sam2.__version__, "data": str(request.data), **setup, "speed": speed}
        write_whole(request.json, json_bytes({**record, "left_out": problems, "data_sets": results}))
    if request.plots is not None:
        from sam2.eval.plots import plot_clicks

        plot_clicks(scores, request.plots)


def _open(request: ClickRequest) -> dict[str, Sequence[ClickPicture]]:
    """Pictures by data set."""
    if request.names:
        return {name: open_pictures(name, request.data, frame_step=request.frame_step) for name in request.names}
    from sam2.train.data.sources import BadSampleError, SourceConfig, open_records

    config = SourceConfig(path=str(request.data), **request.source)
    try:
        records = open_records(config)
        return {config.title: record_pictures(records, frame_step=request.frame_step, limit=request.limit)}
    except BadSampleError as error:
        raise ValueError(str(error)) from error


def _read(picture: ClickPicture) -> Iterator[ClickExample]:
    examples: Iterator[ClickExample] | None = None
    while True:
        try:
            examples = iter(picture.examples()) if examples is None else examples  # which may read all there is
            example = next(examples, None)
        except (OSError, ValueError, RuntimeError) as error:  # whatever a reader says of a file
            raise _UnreadableError(f"{picture.name}: {describe(error)}") from error
        if example is None:
            return
        yield example


def _results(
    request: ClickRequest, pictures: Mapping[str, Sequence[ClickPicture]], kept: Kept
) -> tuple[dict[str, ClickScores], list[str]]:
    """Scores of every data set, printed as soon as its last picture is done, and what cannot be read."""
    scores: dict[str, ClickScores] = {}
    of_key = dict(zip(_keys(pictures), (picture for part in pictures.values() for picture in part), strict=True))
    owner = {key: name for name, part in pictures.items() for key in _keys({name: part})}
    for key in [key for key, before in kept.rows.items() if "problem" in before]:
        del kept.rows[key]  # what could not be read may have been mended since
    waiting = {name: sum(key not in kept.rows for key in _keys({name: part})) for name, part in pictures.items()}
    items = [key for key in of_key if key not in kept.rows]

    def show() -> None:
        for name, part in pictures.items():
            if not waiting[name] and name not in scores:
                scores[name] = _scores(name, [kept.rows[key] for key in _keys({name: part})])
                typer.echo(_score_row(name, scores[name], request.clicks))

    show()
    start = _Clicking(request.setup, request.protocol, request.clicks)
    with progress("pictures", len(items), speed="pictures") as advance:
        for place, found in run_items(start, [of_key[key] for key in items], workers=request.workers, tell=advance):
            if "problem" in found and not request.partial:
                raise ValueError(incomplete(str(request.data), [found["problem"]]))
            kept.add(items[place], found)
            waiting[owner[items[place]]] -= 1
            show()
    return scores, [kept.rows[key]["problem"] for key in of_key if "problem" in kept.rows[key]]


def _keys(pictures: Mapping[str, Sequence[ClickPicture]]) -> list[str]:
    """What the pictures are called in the journal: by name, as places change when pictures are added."""
    return [f"{name}:{place}:{picture.name}" for name, part in pictures.items() for place, picture in enumerate(part)]


def _scores(name: str, rows: Sequence[Row]) -> ClickScores:
    found = tuple(
        ObjectScore(item["name"], item["box"], tuple(item["clicks"]))
        for part in rows
        for item in part.get("objects", ())
    )
    if not found:
        raise ValueError(f"{name}: none of {len(rows)} pictures shows an object")
    return ClickScores(found)


def _settings(request: ClickRequest, setup: Mapping[str, Any]) -> dict[str, Any]:
    """What results depend on."""
    chosen = {key: list(value) if isinstance(value, tuple) else value for key, value in request.source.items()}
    kept = {key: setup[key] for key in ("dtype", "protocol", "oracle", "clicks", "frame_step")}
    return {
        "command": "eval clicks",
        "model": identity(request.setup.name),
        **kept,
        "data": str(request.data),
        "data sets": list(request.names),
        "source": chosen,
        "limit": request.limit,
    }


def _titles(count: int) -> list[str]:
    return ["1 click" if number == 1 else f"{number} clicks" for number in _shown(count)]


def _shown(count: int) -> list[int]:
    return sorted({number for number in (*SHOWN_CLICKS, count) if number <= count})


def _percent(share: float) -> int:
    return round(100 * share)


def _score_row(name: str, scores: ClickScores, count: int) -> str:
    means = [f"{value:.3f}" for value in (scores.box, *(scores.clicks[number - 1] for number in _shown(count)))]
    needed = [f"{scores.clicks_needed(level):.2f}" for level in NOC_IOUS]
    return row([name, str(len(scores.objects)), *means, *needed])


def _record(scores: ClickScores) -> Row:
    return {
        "objects": len(scores.objects),
        "box": scores.box,
        "clicks": list(scores.clicks),
        "clicks_needed": {f"{level:.2f}": scores.clicks_needed(level) for level in NOC_IOUS},
        "never_reached": {f"{level:.2f}": scores.failures(level) for level in NOC_IOUS},
        "per_object": [{"name": item.name, "box": item.box, "clicks": list(item.clicks)} for item in scores.objects],
    }


def _speed(rows: Sequence[Row], workers: int) -> Row:
    costs = [found["cost"] for found in rows if "cost" in found]
    sums = {key: sum(cost[key] for cost in costs) for key in asdict(Cost())}
    memory = [found["memory"] for found in rows if found.get("memory") is not None]
    return {
        "pictures": sums["pictures"],
        "ms_a_picture": 1000 * sums["encoding"] / max(1, sums["pictures"]),
        "prompts": sums["prompts"],
        "ms_a_prompt": 1000 * sums["prompting"] / max(1, sums["prompts"]),
        "workers": workers,
        "peak_memory_mb": max(memory, default=None),
    }


def _speed_line(speed: Row) -> str:
    each = f" in each of {speed['workers']} processes" if speed["workers"] > 1 else ""
    memory = "" if speed["peak_memory_mb"] is None else f", {speed['peak_memory_mb']:.0f} MB at most"
    return (
        f"{speed['pictures']} pictures of {speed['ms_a_picture']:.0f} ms, {speed['prompts']} prompts of "
        f"{speed['ms_a_prompt']:.0f} ms{each}{memory}"
    )
