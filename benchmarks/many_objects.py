"""What it costs to prompt many objects, and to add one to those that are tracked.

    python benchmarks/many_objects.py [--model nano] [--objects 100] [--repeats 3] [--cpu-time] [--json FILE]

Random weights, a 1080p clip that is made up. Claims: prompting 100 objects on one frame, with results for the prompted
object only, costs no more than twice prompting 100 times in sessions of one object; tracking an eleventh object alone
(``obj_ids=[new]``) beside ten tracked ones costs about what tracking a single one costs. The official form, which
returns all objects at each prompt, is printed beside the first.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import Report, interleave, median_ratio, medians
from numpy.typing import NDArray

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession

HEIGHT, WIDTH = 1080, 1920
FRAMES = 8
TRACKED = 10
# Equal runs differ by several percent from turn to turn; "about the same" is judged with this much slack.
NOISE = 0.25


def build(name: str) -> SAM2Base:
    """A model with random weights, float32."""
    torch.manual_seed(0)
    config = PRESETS[name]
    return build_model(config, with_postprocessing(default_behaviour(config), video=True)).eval()


def make_clip() -> list[NDArray[np.uint8]]:
    """A few frames of 1080p."""
    coarse = np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT // 60, WIDTH // 60, 3), np.uint8)
    return [frame.repeat(60, 0).repeat(60, 1) for frame in coarse]


def point_of(index: int) -> tuple[int, int]:
    """Clicks spread over the frame."""
    return 60 + index * 389 % (WIDTH - 120), 60 + index * 211 % (HEIGHT - 120)


def prompt_in_one_session(model: SAM2Base, clip: list[NDArray[np.uint8]], count: int) -> None:
    """Each object once, masks of the prompted object at the size of the frame."""
    session = VideoSession(model, clip)
    for obj_id in range(count):
        shown = session.add_points(0, obj_id, points=[point_of(obj_id)], labels=[1])
        assert shown.masks.shape[0] == 1


def prompt_officially(model: SAM2Base, clip: list[NDArray[np.uint8]], count: int) -> None:
    """The official call: all objects' logits each time."""
    predictor = SAM2VideoPredictor(model, postprocessing=False)
    state = predictor.init_state(clip)
    for obj_id in range(count):
        _, ids, _ = predictor.add_new_points_or_box(state, 0, obj_id, points=[point_of(obj_id)], labels=[1])
        assert len(ids) == obj_id + 1


def prompt_one_at_a_time(model: SAM2Base, clip: list[NDArray[np.uint8]], count: int) -> None:
    """The same prompts, the only object of a session each time; the frame is encoded once."""
    session = VideoSession(model, clip)
    for obj_id in range(count):
        session.reset()
        shown = session.add_points(0, 0, points=[point_of(obj_id)], labels=[1])
        assert shown.masks.shape[0] == 1


def prepared(model: SAM2Base, clip: list[NDArray[np.uint8]], tracked: int) -> VideoSession:
    """A session in which ``tracked`` objects have been followed through the clip."""
    session = VideoSession(model, clip)
    for obj_id in range(tracked):
        session.add_points(0, obj_id, points=[point_of(obj_id)], labels=[1])
    for _ in session.propagate() if tracked else ():
        pass
    return session


def add_one(session: VideoSession) -> None:
    """A new object beside what is there, tracked through the clip, results read; then taken away again."""
    session.add_points(0, 999, points=[point_of(5)], labels=[1])
    frames = sum(result.masks.shape[0] for result in session.propagate(obj_ids=[999]))
    assert frames == FRAMES
    session.remove_object(999)


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", choices=list(PRESETS))
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU time")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    if arguments.threads or arguments.cpu_time:
        torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    report = Report(f"{arguments.model}: {arguments.objects} objects on a 1080p frame, and one beside {TRACKED}")
    model, clip, count = build(arguments.model), make_clip(), arguments.objects
    options = {"repeats": arguments.repeats, "cpu_time": arguments.cpu_time}
    prompting: dict[str, Callable[[], object]] = {
        "single prompts": lambda: prompt_one_at_a_time(model, clip, count),
        "one session": lambda: prompt_in_one_session(model, clip, count),
        "official form": lambda: prompt_officially(model, clip, count),
    }
    times = interleave(prompting, **options)
    for name, seconds in medians(times).items():
        report.figure(f"{count} prompts: {name}", seconds, f"{1000 * seconds / count:9.1f} ms each")
    report.claim("one session, times single prompts", median_ratio(times, "one session", "single prompts"), below=2)
    ratio = median_ratio(times, "official form", "single prompts")
    report.figure("official form, times single prompts", ratio, f"{ratio:9.2f}")

    alone, beside = prepared(model, clip, 0), prepared(model, clip, TRACKED)
    times = interleave({"alone": lambda: add_one(alone), f"beside {TRACKED}": lambda: add_one(beside)}, **options)
    for name, seconds in medians(times).items():
        report.figure(f"tracking one object: {name}", seconds, f"{1000 * seconds / FRAMES:9.1f} ms a frame")
    report.claim(f"beside {TRACKED}, times alone", median_ratio(times, f"beside {TRACKED}", "alone"), below=1 + NOISE)
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
