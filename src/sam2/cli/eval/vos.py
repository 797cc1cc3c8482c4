"""``sam2 eval vos``: tracking or reading the clips of a benchmark, and what comes of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from sam2.cli.eval.keeping import Kept, identity
from sam2.cli.eval.tables import marks, row
from sam2.cli.outputs import json_bytes, write_whole
from sam2.cli.progress import progress
from sam2.eval.layouts import VosData, incomplete
from sam2.eval.loading import ModelSetup
from sam2.eval.vos import (
    ClipResult,
    TrackOptions,
    VosChoice,
    VosClip,
    VosScores,
    nothing_to_score,
    open_vos,
    score_predictions,
    track_clip,
)
from sam2.eval.workers import Tell, run_items


@dataclass(frozen=True, slots=True, kw_only=True)
class VosRequest:
    """What was asked for.

    Attributes:
        data: the benchmark's folder.
        choice: what is taken from it.
        setup: the model.
        predictions: masks to be scored in place of the model's.
        masks, json, plots: where results go; None writes none.
        workers: processes.
        resume: go on behind what is finished.
    """

    data: Path
    choice: VosChoice
    setup: ModelSetup
    predictions: Path | None = None
    masks: Path | None = None
    json: Path | None = None
    plots: Path | None = None
    workers: int = 1
    resume: bool = False


@dataclass(frozen=True, slots=True)
class _Tracking:
    """Makes a worker that tracks clips."""

    setup: ModelSetup
    options: TrackOptions

    def __call__(self, worker: int, workers: int) -> "_Tracker":
        del workers
        return _Tracker(self, worker)


class _Tracker:
    def __init__(self, work: _Tracking, worker: int) -> None:
        self.model, self.options = work.setup.load(worker), work.options

    def __call__(self, clip: VosClip, tell: Tell) -> ClipResult:
        return track_clip(self.model, clip, self.options, progress=lambda *_: tell(1))


@dataclass(frozen=True, slots=True)
class _Reading:
    """Makes a worker that reads masks, and is one."""

    predictions: Path
    options: TrackOptions
    partial: bool

    def __call__(self, worker: int, workers: int) -> "_Reader":
        del worker, workers
        return _Reader(self)


@dataclass(frozen=True, slots=True)
class _Reader:
    work: _Reading

    def __call__(self, clip: VosClip, tell: Tell) -> ClipResult:
        work = self.work
        result = score_predictions(clip, work.predictions, work.options, partial=work.partial)
        tell(len(clip.stems))
        return result


def run_vos(request: VosRequest) -> None:
    """Evaluate, print a table, and write what was asked for."""
    data = open_vos(request.data, request.choice)
    if request.predictions is not None:
        data = _with_predictions(data, request.predictions, partial=request.choice.partial)
    options = TrackOptions(counting=data.counting, masks=request.masks)
    setup = _setup(request)
    typer.echo(_title(request, setup))
    typer.echo(row(["clip", "object", "frames", "J&F", "J", "F"]))
    began = time.perf_counter()
    with Kept(request.json, _settings(request, data), resume=request.resume) as kept:
        results = _results(request, data, options, kept)
    objects = [score for clip in data.clips for score in results[clip.name].objects]
    if not objects and request.masks is None:
        raise ValueError(nothing_to_score(data.clips))
    report = _Report(data, VosScores(tuple(objects)), results, request.workers, time.perf_counter() - began)
    for line in report.lines():
        typer.echo(line)
    if request.json is not None:
        write_whole(request.json, json_bytes({**setup, **report.record()}))
    if request.plots is not None and objects:
        from sam2.eval.plots import plot_vos

        plot_vos(report.scores, request.plots)


def _results(request: VosRequest, data: VosData, options: TrackOptions, kept: Kept) -> dict[str, ClipResult]:
    """What came of every clip, printed as it comes."""
    results = {clip.name: ClipResult.of_row(kept.rows[clip.name]) for clip in data.clips if _finished(clip, kept)}
    for name in results:
        _print(results[name])
    items = [clip for clip in data.clips if clip.name not in results]
    start = _Tracking(request.setup, options)
    if request.predictions is not None:
        start = _Reading(request.predictions, options, request.choice.partial)
    total = sum(len(clip.stems) for clip in items)
    with progress(data.root.name, total, speed="frames") as advance:
        for place, result in run_items(start, items, workers=request.workers, tell=advance):
            results[items[place].name] = result
            kept.add(items[place].name, {**result.to_row(), "extent": _extent(items[place])})
            _print(result)
    return results


def _finished(clip: VosClip, kept: Kept) -> bool:
    """Whether an earlier run has measured all that is there of a clip: what was missing may have come since."""
    before = kept.rows.get(clip.name)
    return before is not None and not before["left_out"] and before.get("extent") == _extent(clip)


def _extent(clip: VosClip) -> list[int]:
    """How many frames and annotated frames a clip has."""
    return [len(clip.stems), len(clip.annotated)]


def _print(result: ClipResult) -> None:
    for item in result.objects:
        typer.echo(row([item.clip, str(item.obj_id), str(item.frames), *marks(item)]))
    if len(result.objects) > 1:
        together = VosScores(result.objects)
        typer.echo(row([result.clip, "all", str(sum(o.frames for o in result.objects)), *marks(together)]))


def _with_predictions(data: VosData, folder: Path, *, partial: bool) -> VosData:
    """``data`` with the clips that ``folder`` has masks of.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it does not have all, and a part was not asked for.
    """
    there = tuple(clip for clip in data.clips if (folder / clip.name).is_dir())
    lacking = [f"{clip.name}: no masks" for clip in data.clips if clip not in there]
    if not there:
        raise FileNotFoundError(f"--predictions {folder}: no folder is called as one of the {len(data.clips)} clips")
    if lacking and not partial:
        raise ValueError(incomplete(f"--predictions {folder}", lacking))
    return replace(data, clips=there, left_out=(*data.left_out, *lacking))


def _setup(request: VosRequest) -> dict[str, Any]:
    if request.predictions is not None:
        return {"predictions": str(request.predictions)}
    return {**request.setup.settled(), "postprocessing": request.setup.postprocessing}


def _settings(request: VosRequest, data: VosData) -> dict[str, Any]:
    """What results depend on."""
    made_by: dict[str, Any] = {"predictions": str(request.predictions)}
    if request.predictions is None:
        settled = request.setup.settled()
        made_by = {"model": identity(request.setup.name), "dtype": settled["dtype"]}
        made_by["postprocessing"] = request.setup.postprocessing
    masks = None if request.masks is None else str(request.masks)
    measured = {"data": str(data.root), "layout": data.layout, "counting": data.counting}
    return {"command": "eval vos", **made_by, **measured, "masks": masks}


def _title(request: VosRequest, setup: Mapping[str, str]) -> str:
    if request.predictions is not None:
        return f"masks in {request.predictions}: J and F"
    return f"{setup['model']} on {setup['device']}, {setup['dtype']}: J and F from the mask of the first frame"


@dataclass(frozen=True, slots=True)
class _Report:
    """What is said at the end."""

    data: VosData
    scores: VosScores
    results: Mapping[str, ClipResult]
    workers: int
    elapsed: float

    def lines(self) -> list[str]:
        lines = [f"not there: {problem}" for problem in self.data.left_out]
        if missing := sum(result.left_out for result in self.results.values()):
            lines.append(f"not there: {missing} frames of predictions")
        if self.scores.objects:
            frames = sum(item.frames for item in self.scores.objects)
            lines.append(row(["mean", "", str(frames), *marks(self.scores)]))
            for name, value in self._split().items():
                lines.append(row([name.replace("_", " "), "", "", f"{value:.3f}"]))
        else:
            lines.append("no annotated frames to be scored")
        speed = self.speed()
        if speed["frames_per_second"] is not None:
            each = f" in each of {self.workers} processes" if self.workers > 1 else ""
            lines.append(
                f"{speed['frames']} frames tracked, {speed['frames_per_second']:.1f} a second{each}{_memory(speed)}"
            )
        return lines

    def speed(self) -> dict[str, Any]:
        frames = sum(result.tracked for result in self.results.values())
        seconds = sum(result.seconds for result in self.results.values())
        memory = [result.memory for result in self.results.values() if result.memory is not None]
        return {
            "frames": frames,
            "seconds": seconds,
            "frames_per_second": frames / seconds if seconds else None,
            "workers": self.workers,
            "elapsed": self.elapsed,
            "peak_memory_mb": max(memory, default=None),
        }

    def record(self) -> dict[str, Any]:
        import sam2

        means: dict[str, Any] = {"j_and_f": None, "j": None, "f": None}
        if self.scores.objects:
            means = {"j_and_f": self.scores.j_and_f, "j": self.scores.j, "f": self.scores.f}
            means.update(self.scores.statistics())
        sequences = []
        for clip in self.data.clips:
            part = self.scores.of_clip(clip.name)
            if part.objects:
                found = {"j_and_f": part.j_and_f, "j": part.j, "f": part.f}
                sequences.append({"clip": clip.name, "objects": len(part.objects), **found})
        return {
            "version": sam2.__version__,
            "data": str(self.data.root),
            "layout": self.data.layout,
            "counting": self.data.counting,
            **means,
            **self._split(),
            "left_out": list(self.data.left_out),
            "speed": self.speed(),
            "per_sequence": sequences,
            "per_object": [item.to_row() for item in self.scores.objects],
        }

    def _split(self) -> dict[str, float]:
        if self.data.categories is None or self.data.seen is None:
            return {}
        return self.scores.seen_and_unseen(self.data.categories, self.data.seen)


def _memory(speed: Mapping[str, Any]) -> str:
    peak = speed["peak_memory_mb"]
    return "" if peak is None else f", {peak:.0f} MB at most"
