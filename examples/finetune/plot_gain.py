"""What a training gained, as a picture: scores in its course, and what one click finds before and after.

python plot_gain.py RUN VALIDATION [--before MODEL]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import sam2
from sam2.train.data.sources import ClipRecord, SourceConfig, open_records
from sam2.train.log import read_log
from sam2.viz import DrawnPrompts, draw_overlay

CURVES = {
    "box_iou": "box",
    "click_iou_1": "1 click",
    "click_iou_3": "3 clicks",
    "click_iou_5": "5 clicks",
}
COLOURS = ("#2874b8", "#d97706", "#4d7c0f", "#6b7280")
PICTURES = (0, 7, 13)


def plot_gain(run: Path, validation: Path, *, before: str, path: Path | None = None) -> Path:
    """Draw the training in ``run`` and some records of ``validation``; ``gain.png`` in ``run`` without ``path``."""
    records = open_records(SourceConfig(path=str(validation)))
    shown = [records[number % len(records)] for number in PICTURES]
    predictors = [sam2.SAM2ImagePredictor(sam2.load(name)) for name in (before, run / "best.pt")]
    figure = Figure(figsize=(11, 6), layout="constrained")
    columns = figure.add_gridspec(1, 2, width_ratios=(1, 1.45))
    _plot_curves(figure.add_subplot(columns[0]), run)
    cells = columns[1].subgridspec(3, len(shown))
    axes = np.array([[figure.add_subplot(cells[row, column]) for column in range(len(shown))] for row in range(3)])
    for column, record in enumerate(shown):
        rows = [_truth(record), *(_found(predictor, record) for predictor in predictors)]
        for axis, (picture, words) in zip(axes[:, column], rows, strict=True):
            axis.imshow(picture)
            axis.set_title(words, fontsize=9)
            axis.set_axis_off()
    for axis, name in zip(axes[:, 0], ("truth", "before", "after"), strict=True):
        axis.text(-0.06, 0.5, name, rotation=90, va="center", ha="right", transform=axis.transAxes)
    path = path or run / "gain.png"
    figure.savefig(path, dpi=100)
    return path


def _plot_curves(axis: Axes, run: Path) -> None:
    entries = [entry for entry in read_log(run) if entry.get("event") == "validation"]
    steps = [entry["step"] for entry in entries]
    for (key, name), colour in zip(CURVES.items(), COLOURS, strict=True):
        values = [entry[key] for entry in entries]
        label = f"{name}: {values[0]:.2f} to {values[-1]:.2f}"
        axis.plot(steps, values, color=colour, marker="o", markersize=4, label=label)
    axis.set_ylim(top=1)
    axis.legend(loc="lower right")
    axis.set_xlabel("step")
    axis.set_ylabel("mean IoU on pictures it does not learn from")
    axis.grid(alpha=0.25)


def _truth(record: ClipRecord) -> tuple[NDArray[np.uint8], str]:
    masks = record.masks(0)
    return draw_overlay(record.image(0), list(masks.values()), ids=list(masks), show_ids=False), f"{len(masks)} cells"


def _found(predictor: sam2.SAM2ImagePredictor, record: ClipRecord) -> tuple[NDArray[np.uint8], str]:
    """One click in the middle of every cell: the masks drawn, and how well they fit."""
    image, truth = record.image(0), record.masks(0)
    predictor.set_image(image)
    masks, prompts, overlaps = [], [], []
    for mask in truth.values():
        point = _middle(mask)
        found, ious, _ = predictor.predict(np.array([point]), np.array([1]))
        best = found[int(ious.argmax())] > 0
        masks.append(best)
        prompts.append(DrawnPrompts(points=[point], labels=[1]))
        overlaps.append((best & mask).sum() / (best | mask).sum())
    picture = draw_overlay(image, masks, ids=list(truth), prompts=prompts, show_ids=False)
    return picture, f"IoU {np.mean(overlaps):.2f}"


def _middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """x, y of the pixel that is furthest from the outline."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training")
    parser.add_argument("validation", type=Path, help="data set of which pictures are shown")
    parser.add_argument("--before", default="nano", help="the model that the training started from")
    parser.add_argument("--path", type=Path, help="where to write; RUN/gain.png if left out")
    asked = parser.parse_args(arguments)
    print(plot_gain(asked.run, asked.validation, before=asked.before, path=asked.path))


if __name__ == "__main__":
    main()
