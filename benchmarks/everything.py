"""``SAM2AutomaticMaskGenerator`` against the mask-generation pipeline of ``transformers``, with the same weights.

    python benchmarks/everything.py [--points-per-side 32] [--size 1500 2000] [--dtype float32 auto] [--json FILE]

Each side runs in a process of its own, so that its memory can be told. Claims: in float32 the records are the same
(one to one, IoU of at least 0.99), and with ``dtype="auto"`` ours takes at most a third of their time in float32,
where the CPU has bfloat16. Needs the ``dev`` extra and ``pip install --no-deps torchvision`` (of the version that goes
with torch), which the pipeline imports.

What is done to compare like with like:

- Weights are random, so every score is arbitrary: thresholds are set so that of the candidates a tenth stays, each in
  the widest gap nearby, lest rounding decide. Their boxes are the whole picture mostly: non-maximum suppression runs,
  but removes nothing. Upscaling is smoothed and masks so have outlines about as long as those of trained models.
- The pipeline squeezes its grid, as if pictures were padded to squares and not resized to squares: on 1500 x 2000 it
  never clicks on the lowest quarter. Ours is given the points that it does click on.
- It resizes pictures in 8 bits; here its resizer is given floats, as the official one is.
- Both give bool masks of the picture's size.
"""

import argparse
import multiprocessing
import runpy
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measure import Report, peak_megabytes, resident_megabytes
from PIL import Image

from sam2 import SAM2ImagePredictor
from sam2.automatic.nms import box_nms, mask_iou
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.interop.rle import Rle, encode_mask
from sam2.loading.devices import resolve_dtype
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.amg import build_point_grid

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "coffee.png"
SURE, STABLE = 0.2, 0.5
"""Shares of candidates that pass the two thresholds: a tenth passes both."""

OFFSET = 0.2
"""For the stability score: what the logits of random weights call for."""


@dataclass(frozen=True)
class Job:
    """What both sides do.

    Attributes:
        model: preset.
        side: clicks a side.
        size: (height, width) of the picture.
        threads: of the CPU.
        repeats: how often the picture is done.
        sure, stable: thresholds of predicted IoU and stability.
    """

    model: str
    side: int
    size: tuple[int, int]
    threads: int
    repeats: int
    sure: float = 0.0
    stable: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What one side has to say.

    Attributes:
        seconds: of each repetition.
        before, peak: megabytes resident before the first one, and at most.
        masks: encodings, in the order in which they came.
    """

    seconds: list[float]
    before: float
    peak: float
    masks: list[Rle] = field(repr=False)


def make_model(name: str) -> SAM2Base:
    """The stand-in weights of the conformance suite, with upscaling that is smooth."""
    config = PRESETS[name]
    model = build_model(config, with_postprocessing(default_behaviour(config), video=False)).eval()
    runpy.run_path(str(PARITY / "conformance" / "seeded.py"))["seed_weights"](model, 5)
    decoder: Any = model.sam_mask_decoder
    with torch.no_grad():
        for layer in (decoder.output_upscaling[0], decoder.output_upscaling[3]):
            layer.weight.copy_(2 * layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
        for layer in (decoder.conv_s0, decoder.conv_s1):
            layer.weight.mul_(0.1)
    return model


def make_photo(size: tuple[int, int]) -> Image.Image:
    """A photo of (height, width) ``size``."""
    height, width = size
    return Image.open(PHOTO).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def clicked_grid(job: Job) -> np.ndarray:
    """The points in 0..1, [p, 2], that the pipeline clicks on: in the model's square, shares of the longer side."""
    height, width = job.size
    square = PRESETS[job.model].image_size
    reach = np.array([int(side * square / max(job.size) + 0.5) for side in (width, height)]) / square
    return build_point_grid(job.side) * reach


def run_ours(job: Job, dtype: torch.dtype) -> Answer:
    """Ours, in a process of its own."""
    torch.set_num_threads(job.threads)
    model = make_model(job.model).cast_(dtype)
    photo, grid = np.array(make_photo(job.size)), clicked_grid(job)

    def generate(points: np.ndarray) -> list[dict[str, Any]]:
        generator = SAM2AutomaticMaskGenerator(
            model,
            None,
            point_grids=[points],
            pred_iou_thresh=job.sure,
            stability_score_thresh=job.stable,
            stability_score_offset=OFFSET,
            box_nms_thresh=1.0,
        )
        return generator.generate(photo)

    generate(grid[:4])
    before, seconds, records = resident_megabytes(), [], []
    for _ in range(job.repeats):
        del records
        start = time.perf_counter()
        records = generate(grid)
        seconds.append(time.perf_counter() - start)
    peak = peak_megabytes()
    return Answer(seconds, before, peak, [encode_mask(record["segmentation"]) for record in records])


def run_theirs(job: Job, dtype: torch.dtype) -> Answer:
    """The pipeline of transformers, in a process of its own."""
    supply_torchvision()
    from transformers import pipeline
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

    class FloatResizer(Sam2ImageProcessor):
        def resize(self, image: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            return super().resize(image.float(), *args, **options)

    torch.set_num_threads(job.threads)
    sys.path.insert(0, str(PARITY))
    oracle = runpy.run_path(str(PARITY / "transformers_weights.py"))["image_oracle"]
    config = PRESETS[job.model]
    model = oracle(config, make_model(job.model).state_dict()).to(dtype)
    square = {"height": config.image_size, "width": config.image_size}
    generator: Any = pipeline("mask-generation", model=model, image_processor=FloatResizer(size=square))
    options = {
        "pred_iou_thresh": job.sure,
        "stability_score_thresh": job.stable,
        "stability_score_offset": OFFSET,
        "crops_nms_thresh": 1.0,
    }
    photo = make_photo(job.size)
    generator(photo, points_per_crop=2, **options)
    before, seconds, found = resident_megabytes(), [], {}
    for _ in range(job.repeats):
        del found
        start = time.perf_counter()
        found = generator(photo, points_per_crop=job.side, **options)
        seconds.append(time.perf_counter() - start)
    peak = peak_megabytes()
    return Answer(seconds, before, peak, [encode_mask(mask.numpy()) for mask in found["masks"]])


def choose_thresholds(job: Job) -> tuple[float, float]:
    """Of predicted IoU and of stability, so that ``SURE`` and then ``STABLE`` of the candidates pass."""
    torch.set_num_threads(job.threads)
    model = make_model(job.model)
    photo, grid = np.array(make_photo(job.size)), clicked_grid(job)
    predictor = SAM2ImagePredictor(model)
    features = predictor.encode(photo)
    clicks = grid[:, None] * job.size[::-1]
    parts = [clicks[start : start + 64] for start in range(0, len(clicks), 64)]
    answers = [predictor.decode(features, points=part, labels=np.ones(part.shape[:2], int)) for part in parts]
    sure = in_gap(np.concatenate([answer.ious.flatten().numpy() for answer in answers]), SURE)
    generator = SAM2AutomaticMaskGenerator(
        model,
        None,
        point_grids=[grid],
        pred_iou_thresh=sure,
        stability_score_thresh=0.0,
        stability_score_offset=OFFSET,
        box_nms_thresh=1.0,
    )
    stability = np.array([proposal.stability_score for proposal in generator.propose(photo, features=features)])
    return sure, in_gap(stability, STABLE)


def in_gap(values: np.ndarray, share: float) -> float:
    """A threshold that about ``share`` of the values pass, in the middle of the widest gap nearby."""
    values = np.sort(values)
    place, around = round((1 - share) * len(values)), max(2, len(values) // 50)
    nearby = values[max(place - around, 0) : place + around]
    widest = int(np.argmax(np.diff(nearby)))
    return float(nearby[widest] + nearby[widest + 1]) / 2


def supply_torchvision() -> None:
    """Let torchvision be imported where its operators are built for another torch, as the wheel on PyPI is for CUDA.

    Of its operators the pipeline needs non-maximum suppression alone, on a few thousand boxes at most: ours is given.
    """
    spec = find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("the pipeline imports torchvision: pip install --no-deps torchvision")
    try:
        torch.ops.load_library(str(Path(spec.submodule_search_locations[0]) / "_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        boxes: Any = import_module("torchvision.ops.boxes")

        def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
            return torch.from_numpy(box_nms(dets.numpy(), scores.float().numpy(), iou_threshold))

        boxes.nms = nms


def alone(function: Any, *arguments: Any) -> Any:
    """What ``function`` returns, in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def matched(ours: list[Rle], theirs: list[Rle]) -> int:
    """How many of ours have one of theirs with IoU of at least 0.99, each of theirs used once; near ranks first."""
    free = dict(enumerate(theirs))
    for rank, mask in enumerate(ours):
        near = sorted(free, key=lambda other, rank=rank: abs(other - rank))
        partner = next((other for other in near if mask_iou(mask, free[other]) >= 0.99), None)
        if partner is not None:
            del free[partner]
    return len(theirs) - len(free)


def report_answers(report: Report, answers: dict[str, Answer]) -> None:
    """Times, memory and claims."""
    for label, answer in answers.items():
        seconds = median(answer.seconds)
        report.figure(f"{label}: time", seconds, f"{seconds:9.2f} s")
        report.figure(f"{label}: peak", answer.peak, f"{answer.peak:9.0f} MB, {answer.peak - answer.before:.0f} new")
        report.figure(f"{label}: masks", len(answer.masks), f"{len(answer.masks):9d}")
    base, same = answers["transformers float32"], answers.get("sam2 float32")
    if same is not None:
        most = max(len(base.masks), len(same.masks))
        report.claim("share of records that are the same", matched(same.masks, base.masks) / most, at_least=1.0)
    for label, answer in answers.items():
        if not label.startswith("sam2"):
            continue
        name = label.removeprefix("sam2 ")
        faster = median(base.seconds) / median(answer.seconds)
        report.claim(f"times faster, {name}", faster, at_least=1.0 if name == "float32" else 3.0)
        report.claim(f"times less memory, {name}", base.peak / answer.peak, at_least=1.0)
        report.figure(
            f"times less new memory, {name}",
            (base.peak - base.before) / (answer.peak - answer.before),
            f"{(base.peak - base.before) / (answer.peak - answer.before):9.1f}",
        )


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam2.1_hiera_tiny", choices=[n for n in PRESETS if n != "nano"])
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--size", type=int, nargs=2, default=[1500, 2000], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--dtype", nargs="+", default=["float32", "auto"], choices=["float32", "auto"], help="of ours")
    parser.add_argument("--theirs-too", action="store_true", help='theirs also in what "auto" picks')
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    height, width = arguments.size
    job = Job(arguments.model, arguments.points_per_side, (height, width), arguments.threads, arguments.repeats)
    side = arguments.points_per_side
    report = Report(f"{job.model}: everything in {width} x {height}, {side} x {side} clicks, against transformers")
    sure, stable = alone(choose_thresholds, job)
    job = replace(job, sure=sure, stable=stable)
    report.figure("thresholds", [sure, stable], f"predicted IoU {sure:.4f}, stability {stable:.4f}")
    auto = resolve_dtype("auto", torch.device("cpu"))
    answers = {"transformers float32": alone(run_theirs, job, torch.float32)}
    for dtype in dict.fromkeys(torch.float32 if name == "float32" else auto for name in arguments.dtype):
        answers[f"sam2 {str(dtype).removeprefix('torch.')}"] = alone(run_ours, job, dtype)
    if arguments.theirs_too and auto != torch.float32:
        answers[f"transformers {str(auto).removeprefix('torch.')}"] = alone(run_theirs, job, auto)
    report_answers(report, answers)
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
