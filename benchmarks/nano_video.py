"""Following one object through a 480p clip with the bundled model on two CPU cores, and where the time goes.

    python benchmarks/nano_video.py [--video FILE] [--frames 60] [--threads 2] [--plain-allocator] [--json FILE]

Claim: at least 10 frames per second with ``dtype="auto"``, from the file to a mask of the frame's size, by the calls of
the official predictor, in a process that keeps freed memory, as the command line does
(``sam2.utils.allocator``; ``--plain-allocator`` leaves the system's way). Frames are decoded by a thread that runs
ahead; its time is given alone. Without ``--video`` a clip is drawn.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import torch
from measure import Report
from nano import make_model

from sam2.io.frames import open_frames
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import engine, features
from sam2.tracking.results import FrameResult
from sam2.utils.allocator import keep_freed_memory

LEAST = 10.0
WARMUP = 9
"""Frames until memory is full."""

PARTS = {
    "resize": (features, "frame_to_pixels"),
    "trunk and neck": (SAM2Base, "encode_image"),
    "memory attention": (SAM2Base, "fuse_memory"),
    "decoder": (SAM2Base, "decode_masks"),
    "choice of mask": (SAM2Base, "select_mask"),
    "memory encoder": (SAM2Base, "encode_memory"),
    "holes": (engine, "fill_holes"),
    "mask of the frame's size": (FrameResult, "as_tuple"),
}
"""Parts by the function that they are."""


def draw_clip(path: Path, frames: int, size: tuple[int, int] = (854, 480)) -> None:
    """A disc that wanders over smooth noise."""
    width, height = size
    noise = torch.rand(1, 3, 20, 36, generator=torch.Generator().manual_seed(0))
    ground = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic")[0].clamp(0, 1)
    ground = (255 * ground).byte().permute(1, 2, 0).numpy()
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "3"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(frames):
            inside = (x - disc_x(t, width)) ** 2 + (y - height / 2) ** 2 < (height / 8) ** 2
            picture = np.where(inside[..., None], np.array([230, 60, 40], np.uint8), ground)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def disc_x(t: int, width: int) -> float:
    """Where the disc is on frame t."""
    return width * (0.3 + 0.4 * abs((t / 60) % 2 - 1))


@contextmanager
def stopwatch(seconds: dict[str, list[float]], clock: Callable[[], float]) -> Iterator[None]:
    """Note what each call of the ``PARTS`` takes."""

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            result = function(*args, **kwargs)
            seconds[part].append(clock() - start)
            return result

        return call

    patches = [patch.object(owner, name, timed(part, getattr(owner, name))) for part, (owner, name) in PARTS.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def follow(model: SAM2Base, path: Path, count: int, clock: Callable[[], float]) -> tuple[float, dict[str, float]]:
    """Seconds a frame once memory is full, and of each part."""
    seconds: dict[str, list[float]] = defaultdict(list)
    predictor = SAM2VideoPredictor(model)
    state = predictor.init_state(str(path))
    click = [[disc_x(0, state["video_width"]), state["video_height"] / 2]]
    predictor.add_new_points_or_box(state, 0, 1, points=click, labels=[1])
    start = 0.0
    with torch.inference_mode(), stopwatch(seconds, clock):
        for frame, _, logits in predictor.propagate_in_video(state, max_frame_num_to_track=WARMUP + count - 1):
            began = clock()
            (logits > 0).numpy()
            seconds["threshold"].append(clock() - began)
            if frame == WARMUP - 1:
                start = clock()
                seconds.clear()
    total = (clock() - start) / count
    parts = {part: sum(values) / count for part, values in seconds.items()}
    return total, {**parts, "the rest": total - sum(parts.values())}


def decode(path: Path, count: int, clock: Callable[[], float]) -> float:
    """Seconds to decode a frame, alone."""
    with open_frames(path) as frames:
        start = clock()
        number = sum(1 for _ in frames.read(0, min(count, len(frames))))
        return (clock() - start) / number


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and CPU time: for a busy machine")
    parser.add_argument("--plain-allocator", action="store_true", help="do not keep freed memory")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    if not arguments.plain_allocator:
        keep_freed_memory()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    report = Report("nano, one object through a 480p clip")
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or Path(folder) / "clip.mp4"
        if arguments.video is None:
            draw_clip(path, WARMUP + arguments.frames)
        report.figure("decoding alone", decoded := decode(path, arguments.frames, clock), f"{1000 * decoded:9.1f} ms")
        for dtype in ("auto", "float32"):
            model = make_model(dtype, random_weights=arguments.random_weights)
            total, parts = follow(model, path, arguments.frames, clock)
            for part, seconds in parts.items():
                report.figure(f"{dtype}: {part}", seconds, f"{1000 * seconds:9.1f} ms")
            if dtype == "auto":
                report.claim("auto: frames per second", 1 / total, at_least=LEAST)
            else:
                report.figure(f"{dtype}: frames per second", 1 / total, f"{1 / total:9.1f}")
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
