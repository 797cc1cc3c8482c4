"""Tracking against ``transformers``' Sam2VideoModel, with the same random weights, once the memory is full.

    python benchmarks/video.py [--model sam2.1_hiera_tiny] [--objects 1 4] [--frames 5] [--threads N] [--json FILE]

Each side runs in a process of its own, so that its memory can be told, and the processes take turns, a frame each.
Claims: in float32 we are not slower and the masks agree; with ``dtype="auto"`` a frame takes at most 1 / 1.5 of their
time in float32 for one object and half of it for four, where the CPU has bfloat16. Theirs is given frames that are
already resized and normalised, ours prepares them. Needs the ``dev`` extra and, for four objects, some 10 GB.
"""

import argparse
import multiprocessing
import runpy
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Report, peak_megabytes
from torch import Tensor

from sam2.loading.devices import resolve_dtype
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking import VideoSession
from sam2.utils.transforms import frame_to_pixels

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
WARMUP = 9
"""Frames before memory is full (a prompted frame and six tracked ones) and all is warm."""

AT_LEAST = {1: 1.5, 4: 2.0}
NOISE = 0.05


@dataclass(frozen=True)
class Contestant:
    """Who tracks: ours or theirs, and in what precision."""

    ours: bool
    dtype: torch.dtype

    @property
    def label(self) -> str:
        """What to call it in the report."""
        return f"{'sam2' if self.ours else 'transformers'} {str(self.dtype).removeprefix('torch.')}"


@dataclass(frozen=True)
class Job:
    """What is tracked."""

    model: str
    objects: int
    frames: int
    threads: int


def make_model(name: str) -> SAM2Base:
    """Random weights, the same in every process; objects are always there and holes stay, so that masks compare."""
    torch.manual_seed(0)
    config = PRESETS[name]
    behaviour = replace(with_postprocessing(default_behaviour(config), video=True), fill_hole_area=0)
    model = build_model(config, behaviour).eval()
    with torch.no_grad():
        head = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
        assert isinstance(head, torch.nn.Linear)
        head.bias.fill_(5.0)
    return model


def make_clip(frames: int, size: int) -> np.ndarray:
    """Smooth noise that drifts, [T, S, S, 3]."""
    noise = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    picture = torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")[0].clamp(0, 1)
    drifting = [picture.roll(shifts=4 * t, dims=-1) for t in range(frames)]
    return np.stack([(255 * frame).byte().permute(1, 2, 0).numpy() for frame in drifting])


def clicks(objects: int, size: int) -> list[tuple[float, float]]:
    """One (x, y) for each object."""
    return [(size * (i + 1) / (objects + 1), size / 2) for i in range(objects)]


def track_ours(job: Job, dtype: torch.dtype) -> Iterator[Tensor]:
    """Low-resolution logits [n, 1, h, w] of each frame."""
    model = make_model(job.model).cast_(dtype)
    clip = make_clip(job.frames, model.image_size)
    session = VideoSession(model, clip)
    for i, click in enumerate(clicks(job.objects, model.image_size)):
        session.add_points(0, i + 1, points=[click], labels=[1])
    for result in session.propagate():
        yield result.low_res


def track_theirs(job: Job, dtype: torch.dtype) -> Iterator[Tensor]:
    """The same of their model."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    config = PRESETS[job.model]
    size = config.image_size
    sys.path.insert(0, str(PARITY))
    oracle = runpy.run_path(str(PARITY / "transformers_weights.py"))["video_oracle"]
    model = oracle(config, make_model(job.model).state_dict()).to(dtype)
    pixels = torch.stack([frame_to_pixels(frame, size) for frame in make_clip(job.frames, size)])
    session = Sam2VideoInferenceSession(pixels, size, size, dtype=dtype)
    for i, (x, y) in enumerate(clicks(job.objects, size)):
        points = {"point_coords": torch.tensor([[[[x, y]]]]), "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
        session.add_point_inputs(session.obj_id_to_idx(i + 1), 0, points)
    session.obj_with_new_inputs = list(range(1, job.objects + 1))
    model(session, frame_idx=0)
    for output in model.propagate_in_video_iterator(session):
        yield output.pred_masks.reshape(job.objects, 1, *output.pred_masks.shape[-2:])


def take_turns(connection: Connection, job: Job, contestant: Contestant) -> None:
    """A process: each message asks for a frame; the answer is (seconds, peak MB, logits)."""
    torch.set_num_threads(job.threads)
    with torch.inference_mode():
        results = (track_ours if contestant.ours else track_theirs)(job, contestant.dtype)
        while connection.recv():
            start = time.perf_counter()
            logits = next(results)
            seconds = time.perf_counter() - start
            connection.send((seconds, peak_megabytes(), logits.float().numpy()))


def race(job: Job, contestants: list[Contestant]) -> dict[str, list[tuple[float, float, np.ndarray]]]:
    """What each answered for each frame after the first ``WARMUP``."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for contestant in contestants:
        here, there = context.Pipe()
        process = context.Process(target=take_turns, args=(there, job, contestant), daemon=True)
        process.start()
        pipes[contestant.label] = here
        processes.append(process)
    answers: dict[str, list[Any]] = {label: [] for label in pipes}
    for _ in range(job.frames):
        for label, pipe in pipes.items():
            pipe.send(True)
            answers[label].append(pipe.recv())
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    return {label: given[WARMUP:] for label, given in answers.items()}


def report_race(report: Report, job: Job, answers: dict[str, list[tuple[float, float, np.ndarray]]]) -> None:
    """Times, memory and claims of one number of objects."""
    who = f"{job.objects} object{'s' if job.objects > 1 else ''}"
    base, same = answers["transformers float32"], answers["sam2 float32"]
    for label, given in answers.items():
        seconds = statistics.median(answer[0] for answer in given)
        report.figure(f"{who}: {label}, s a frame", seconds, f"{seconds:9.2f} s")
        report.figure(f"{who}: {label}, peak MB", given[-1][1], f"{given[-1][1]:9.0f} MB")
    report.claim(f"{who}: difference of logits", float(np.abs(base[-1][2] - same[-1][2]).max()), below=1e-2)
    report.claim(f"{who}: times faster, float32", _ratio(base, same), at_least=1 - NOISE)
    for label in answers:
        if label.startswith("sam2") and label != "sam2 float32":
            least = AT_LEAST.get(job.objects, 1.5)
            report.claim(f'{who}: times faster, "auto"', _ratio(base, answers[label]), at_least=least)


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam2.1_hiera_tiny", choices=[n for n in PRESETS if n != "nano"])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--frames", type=int, default=5, help="frames that count, after those that fill the memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--all-precisions", action="store_true", help='theirs also in what "auto" picks')
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    auto = resolve_dtype("auto", torch.device("cpu"))
    contestants = [Contestant(ours, torch.float32) for ours in (False, True)]
    if auto != torch.float32:
        contestants += [Contestant(ours, auto) for ours in ((False, True) if arguments.all_precisions else (True,))]
    report = Report(f"{arguments.model}: tracking against transformers, past frame {WARMUP - 1}")
    for objects in arguments.objects:
        job = Job(arguments.model, objects, WARMUP + arguments.frames, arguments.threads)
        report_race(report, job, race(job, contestants))
    return report.finish(arguments.json)


def _ratio(slow: list[tuple[float, float, np.ndarray]], fast: list[tuple[float, float, np.ndarray]]) -> float:
    return statistics.median(a[0] / b[0] for a, b in zip(slow, fast, strict=True))


if __name__ == "__main__":
    sys.exit(main())
