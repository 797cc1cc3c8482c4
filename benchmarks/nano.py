"""From a photo to a mask with the bundled model on two CPU cores.

    python benchmarks/nano.py [--image FILE] [--repeats 20] [--threads 2] [--json FILE]

Claim: reading nothing from disk, ``set_image`` and one ``predict`` take less than 0.25 s, with ``dtype="auto"`` and in
float32. Until the weights are in the package, ``--random-weights`` measures the same work.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import Report, interleave, medians

import sam2
from sam2.io.images import read_image
from sam2.loading.devices import DtypeLike, resolve_dtype
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "coffee.png"
LIMIT = 0.25


def make_model(dtype: DtypeLike, *, random_weights: bool) -> SAM2Base:
    """``nano`` on the CPU."""
    if not random_weights:
        return sam2.load("nano", device="cpu", dtype=dtype)
    torch.manual_seed(0)
    return build_model(PRESETS["nano"]).eval().cast_(resolve_dtype(dtype, torch.device("cpu")))


def set_and_predict(predictor: SAM2ImagePredictor, image: np.ndarray) -> None:
    """The whole way: pixels in, masks of the image's size out."""
    predictor.set_image(image)
    click(predictor, image)


def click(predictor: SAM2ImagePredictor, image: np.ndarray) -> None:
    """One more click on the image that is set."""
    middle = np.array([[image.shape[1] / 2, image.shape[0] / 2]])
    predictor.predict(middle, np.array([1]))


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=PHOTO)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU time: for a busy machine")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    image = read_image(arguments.image)
    report = Report(f"nano, {image.shape[1]} x {image.shape[0]} pixels to a mask")
    tasks: dict[str, Callable[[], object]] = {}
    for dtype in ("auto", "float32"):
        predictor = SAM2ImagePredictor(make_model(dtype, random_weights=arguments.random_weights))
        set_and_predict(predictor, image)
        tasks[f"image to mask, {dtype}"] = partial(set_and_predict, predictor, image)
        tasks[f"one more click, {dtype}"] = partial(click, predictor, image)
    times = interleave(tasks, repeats=arguments.repeats, warmup=2, cpu_time=arguments.cpu_time)
    for name, seconds in medians(times).items():
        if name.startswith("image"):
            report.claim(f"{name} (s)", seconds, below=LIMIT)
        else:
            report.figure(name, seconds, f"{1000 * seconds:9.1f} ms")
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
