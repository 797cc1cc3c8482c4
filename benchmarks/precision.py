"""Masks of the bundled model in bfloat16 against those in float32, on the click benchmarks.

    python benchmarks/precision.py --data FOLDER [--model nano] [--limit N] [--json FILE]

FOLDER holds ``grabcut``, ``berkeley`` and ``davis2016_part``. Claim: on each the mean IoU between the masks of the two
precisions is at least 0.99, with the object's box and with a click in its middle as prompt (1 for two empty masks).
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from measure import Report

import sam2
from sam2.eval.clicks import iou, next_click, tight_box
from sam2.eval.datasets import DATASETS, ClickExample, open_dataset
from sam2.sam2_image_predictor import SAM2ImagePredictor

LIMIT = 0.99


def masks_of(predictor: SAM2ImagePredictor, example: ClickExample) -> list[np.ndarray]:
    """One mask by the box, and the best of three by a click."""
    predictor.set_image(example.image)
    by_box, _, _ = predictor.predict(box=np.array(tight_box(example.mask)), multimask_output=False)
    x, y, label = next_click(example.mask, np.zeros_like(example.mask), example.ignore)
    by_click, scores, _ = predictor.predict(np.array([[x, y]]), np.array([label]))
    return [by_box[0] > 0, by_click[scores.argmax()] > 0]


def agreement(model: str, folder: Path, name: str, limit: int | None) -> np.ndarray:
    """IoU between the precisions, [examples, 2]: by box, by click."""
    exact, rounded = (SAM2ImagePredictor(sam2.load(model, device="cpu", dtype=d)) for d in ("float32", "bfloat16"))
    rows = []
    for example in islice(open_dataset(name, folder), limit):
        pairs = zip(masks_of(exact, example), masks_of(rounded, example), strict=True)
        rows.append([iou(a, b) for a, b in pairs])
    return np.array(rows)


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--model", default="nano", help="a name or a checkpoint")
    parser.add_argument("--limit", type=int, help="examples of each set; all by default")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    report = Report(f"{arguments.model}: float32 against bfloat16")
    for name in DATASETS:
        rows = agreement(arguments.model, arguments.data, name, arguments.limit)
        for column, prompt in enumerate(("box", "click")):
            report.claim(f"{name}, {prompt}: mean IoU", float(rows[:, column].mean()), at_least=LIMIT)
            report.figure(
                f"{name}, {prompt}: lowest of {len(rows)}",
                float(rows[:, column].min()),
                f"{rows[:, column].min():8.3f}",
            )
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
