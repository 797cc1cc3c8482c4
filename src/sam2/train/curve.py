"""The course of a training as a picture: loss, overlaps in training, and the scores of its validations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BLUE, _ORANGE, _GREY = "#2874b8", "#d97706", "#6b7280"


def draw_curve(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot the entries of a log: loss, IoU of the training prompts, and validation scores. Nothing without entries.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("curves need matplotlib: pip install 'sam2[train]'") from error

    trained = [entry for entry in entries if entry.get("loss") is not None]
    validated = [entry for entry in entries if entry.get("event") == "validation" and entry.get("score") is not None]
    if not trained:
        return
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    steps, losses = [entry["step"] for entry in trained], [entry["loss"] for entry in trained]
    axes.plot(steps, losses, color=_BLUE, alpha=0.3, linewidth=1)
    axes.plot(steps, _smoothed(losses), color=_BLUE, linewidth=2)
    axes.set_xlabel("step")
    axes.set_ylabel("loss", color=_BLUE)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    scores = axes.twinx()
    scores.set_ylabel("IoU, score", color=_ORANGE)
    scores.set_ylim(0, 1)
    overlaps = [(entry["step"], entry["last_iou"]) for entry in trained if entry.get("last_iou") is not None]
    if overlaps:
        scores.plot(*zip(*overlaps, strict=True), color=_GREY, linewidth=1, label="IoU in training")
    if validated:
        points = [(entry["step"], entry["score"]) for entry in validated]
        scores.plot(
            *zip(*points, strict=True), color=_ORANGE, marker="o", markersize=4, linewidth=2, label="validation"
        )
        best = max(points, key=lambda point: point[1])
        scores.annotate(f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, 7), ha="center", color=_ORANGE)
    if overlaps or validated:
        scores.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running mean that leaves a tenth of the curve's length behind."""
    weight = 1 - 1 / max(1.0, len(values) / 10)
    smoothed, total, share = [], 0.0, 0.0
    for value in values:
        total, share = weight * total + value, weight * share + 1
        smoothed.append(total / share)
    return smoothed
