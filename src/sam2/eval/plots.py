"""Scores as pictures: bars of sequences, J&F over time, IoU over clicks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sam2.eval.clicks import ClickScores
from sam2.eval.vos_scores import VosScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

BLUE, ORANGE, GREEN, GREY = "#2874b8", "#d97706", "#2f855a", "#6b7280"
COLOURS = (BLUE, ORANGE, GREEN, "#9b2c8a", "#b83232", "#5b6abf")
PER_SEQUENCE, OVER_TIME, OVER_CLICKS = "per_sequence.png", "over_time.png", "iou_over_clicks.png"
MOST_LINES = 12
"""Sequences with a line of their own; where there are more, the mean and its spread are drawn."""

MOST_BARS = 60
"""Sequences with a bar; where there are more, those with the lowest J&F have one."""

BINS = 50
"""Parts of a clip's length that are averaged over clips."""


def check_plots() -> None:
    """Make sure that plots can be drawn.

    Raises:
        ImportError: without matplotlib; the message says what to install.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'sam2[train]'") from error


def plot_vos(scores: VosScores, folder: Path) -> None:
    """Draw ``per_sequence.png`` and ``over_time.png`` into ``folder``, which is made if need be.

    Raises:
        ImportError: without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips = list(dict.fromkeys(item.clip for item in scores.objects))
    _bars(scores, clips).savefig(folder / PER_SEQUENCE, dpi=120)
    _courses(scores, clips).savefig(folder / OVER_TIME, dpi=120)


def plot_clicks(scores: Mapping[str, ClickScores], folder: Path) -> None:
    """Draw ``iou_over_clicks.png`` into ``folder``: mean IoU of each data set after each click, and with a box.

    Raises:
        ImportError: without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    lowest = 1.0
    for number, (name, found) in enumerate(scores.items()):
        colour = COLOURS[number % len(COLOURS)]
        means = found.clicks
        places = range(1, len(means) + 1)
        axes.plot(places, means, color=colour, marker="o", markersize=4, linewidth=2, label=f"{name}, clicks")
        axes.axhline(found.box, color=colour, linestyle="--", linewidth=1.2, label=f"{name}, box {found.box:.3f}")
        lowest = min(lowest, found.box, *means)
    most = max(len(found.clicks) for found in scores.values())
    axes.set_xticks(range(1, most + 1, max(1, most // 10)))
    axes.set_xlabel("clicks")
    axes.set_ylabel("mean IoU")
    axes.set_ylim(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1.0)
    _dress(axes)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(folder / OVER_CLICKS, dpi=120)


def _bars(scores: VosScores, clips: Sequence[str]) -> "Figure":
    """A bar a sequence, better ones above worse, with J and F as marks."""
    parts = sorted((scores.of_clip(clip) for clip in clips), key=lambda part: part.j_and_f)[:MOST_BARS]
    figure = _figure(8, 1.2 + 0.28 * len(parts))
    axes = figure.subplots()
    places = np.arange(len(parts))
    axes.barh(places, [part.j_and_f for part in parts], color=BLUE, alpha=0.85, height=0.7, label="J&F")
    axes.plot([part.j for part in parts], places, "o", color=ORANGE, markersize=4, label="J")
    axes.plot([part.f for part in parts], places, "s", color=GREEN, markersize=4, label="F")
    axes.axvline(scores.j_and_f, color=GREY, linestyle="--", linewidth=1.2, label=f"mean J&F {scores.j_and_f:.3f}")
    axes.set_yticks(places, [_short(part.objects[0].clip) for part in parts], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(parts) - 0.4)
    if len(parts) < len(clips):
        axes.set_xlabel(f"the {len(parts)} lowest of {len(clips)} sequences")
    _dress(axes, axis="x")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def _courses(scores: VosScores, clips: Sequence[str]) -> "Figure":
    """J&F over the frames of each clip; of many clips, over the share of their length."""
    figure = _figure(9, 4.5)
    axes = figure.subplots()
    if len(clips) <= MOST_LINES:
        for number, clip in enumerate(clips):
            frames, values = _course(scores.of_clip(clip))
            style = "-" if number < len(COLOURS) else "--"
            colour, mark = COLOURS[number % len(COLOURS)], "." if len(frames) == 1 else ""  # a line needs two points
            axes.plot(frames, values, style, color=colour, marker=mark, linewidth=1.8, label=_short(clip))
        axes.set_xlabel("frame")
        axes.xaxis.set_major_locator(_whole_numbers())
    else:
        table = np.stack([_resampled(*_course(scores.of_clip(clip))) for clip in clips])
        share = np.linspace(0, 100, BINS)
        low, high = np.percentile(table, [25, 75], axis=0)
        axes.fill_between(share, low, high, color=BLUE, alpha=0.18, linewidth=0, label="half of the sequences")
        axes.plot(share, table.mean(0), color=BLUE, linewidth=2, label=f"mean of {len(clips)} sequences")
        axes.set_xlabel("share of the sequence, %")
    axes.set_ylabel("J&F")
    axes.set_ylim(0, 1)
    _dress(axes)
    figure.legend(loc="outside upper center", ncols=min(6, max(2, len(clips))), frameon=False, fontsize=9)
    return figure


def _course(part: VosScores) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a clip, and the mean J&F of its objects on each."""
    values: dict[int, list[float]] = {}
    for item in part.objects:
        for index, j, f in zip(item.indices, item.j_values, item.f_values, strict=True):
            values.setdefault(index, []).append((j + f) / 2)
    frames = sorted(values)
    return np.array(frames), np.array([np.mean(values[index]) for index in frames])


def _resampled(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    places = np.linspace(frames[0], frames[-1], BINS)
    return np.interp(places, frames, values)


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _whole_numbers() -> "Locator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator("auto", integer=True)


def _figure(width: float, height: float) -> "Figure":
    check_plots()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _dress(axes: "Axes", *, axis: str = "both") -> None:
    axes.grid(alpha=0.25, axis=axis)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
