"""The learning curve of training runs, from their log files.

    python benchmarks/plot_training.py RUN/log.jsonl [MORE ...] --out docs/images/nano-learning-curve.png

Draws the IoU of first prompts on training batches, averaged over neighbouring lines, and scores on held-out objects.
Needs matplotlib (``pip install matplotlib``), which nothing else here does.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

CURVES = {"iou_box": ("box", "tab:blue"), "iou_click": ("one click", "tab:orange")}
SCORES = {
    "box": ("box, held out", "tab:blue", "s"),
    "one_click": ("one click, held out", "tab:orange", "o"),
    "five_clicks": ("five clicks, held out", "tab:green", "^"),
}
NEIGHBOURS = 9


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of one log; where a run was taken up again from an earlier step, what it had done since is left out."""
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry.get("event") == "start":
            entries = [kept for kept in entries if kept["step"] <= entry["step"]]
        entries.append(entry)
    return entries


def smoothed(values: Sequence[float], neighbours: int = NEIGHBOURS) -> list[float]:
    """Means over ``neighbours`` values, fewer at the ends."""
    half = neighbours // 2
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def draw(logs: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """Draw the runs ``logs`` (name to lines) to the image file ``out``."""
    try:
        import matplotlib  # pyright: ignore[reportMissingImports]  (an extra)
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot  # pyright: ignore[reportMissingImports]  (an extra)

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for number, (name, entries) in enumerate(logs.items()):
        prefix = f"{name}: " if len(logs) > 1 else ""
        strength = 1 - 0.6 * number / len(logs)
        steps = [entry for entry in entries if "size" in entry]
        for key, (label, colour) in CURVES.items():
            points = [(entry["images"], entry[key]) for entry in steps if key in entry]
            if points:
                images, values = zip(*points, strict=True)
                axes.plot(images, smoothed(values), color=colour, alpha=strength, label=f"{prefix}{label}, training")
        for key, (label, colour, marker) in SCORES.items():
            points = [(entry["images"], entry[key]) for entry in entries if entry.get("event") == "validation"]
            if points:
                axes.scatter(
                    *zip(*points, strict=True), color=colour, marker=marker, alpha=strength, label=prefix + label
                )
        for before, after in pairwise(steps):
            if after["size"] != before["size"] and not number:
                axes.axvline(after["images"], color="lightgrey", zorder=0)
                axes.text(after["images"], 0.96, f" {after['size']} px", color="grey")
    axes.set(xlabel="images seen", ylabel="mean IoU", ylim=(0, 1), title="nano: IoU while training")
    axes.legend(loc="lower right", fontsize="small")
    axes.grid(alpha=0.3)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> int:
    """Parse the command line and draw."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw({path.parent.name: read_log(path) for path in options.logs}, options.out)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
