"""Long runs in constant memory. ``nano`` at 256 px, so that thousands of frames take a minute or two on two cores."""

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2.io.frames import FrameSource, open_frames
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO, Behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc"),
]

MB = 2**20
SETTLED = 200
"""Frames after which everything that is kept has been kept once."""
STREAM_LENGTH, FACADE_LENGTH = 3000, 600
HEIGHT, WIDTH = 120, 160


class Endless(FrameSource):
    """A square that goes round on noise; each frame is made when it is asked for."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames, self.height, self.width, self.fps = num_frames, HEIGHT, WIDTH, None
        self.noise = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        frame = np.roll(self.noise, index, axis=1)
        x, y = int(60 + 40 * np.cos(0.05 * index)), int(45 + 30 * np.sin(0.05 * index))
        frame[y : y + 30, x : x + 30] = (220, 80, 40)
        return frame


@pytest.fixture(scope="module")
def model() -> SAM2Base:
    torch.manual_seed(0)
    config = replace(NANO, image_size=256)
    return build_model(config, with_postprocessing(Behaviour(), video=True)).eval()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def count_tensors() -> int:
    gc.collect()
    # Not isinstance, which some objects answer by importing what they stand for.
    return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())


class Watch:
    """Memory and tensors, looked at every hundred frames once settled."""

    def __init__(self) -> None:
        self.bytes: list[int] = []
        self.tensors: list[int] = []

    def look(self, frame: int) -> None:
        if frame >= SETTLED and frame % 100 == 0:
            self.tensors.append(count_tensors())
            self.bytes.append(resident())

    @property
    def growth(self) -> int:
        return max(self.bytes) - self.bytes[0]


def prompt(add: Callable[[int, list[list[int]]], object]) -> None:
    for obj_id, point in enumerate([[95, 55], [20, 20], [120, 90]]):
        add(obj_id, [point])


def test_a_stream_of_three_thousand_frames(model: SAM2Base) -> None:
    frames = Endless(STREAM_LENGTH)
    video = VideoSession(model)
    watch = Watch()
    for t in range(STREAM_LENGTH):
        result = video.step(frames[t])
        if t == 0:
            prompt(lambda obj_id, points: video.add_points(0, obj_id, points=points, labels=[1]))
        elif t % 500 == 0:  # memory is flat between corrections: each adds a prompted frame, which is kept
            assert result.obj_ids == (0, 1, 2)
        watch.look(t)

    assert watch.growth < 48 * MB
    assert max(watch.tensors) <= watch.tensors[0] + 5, "one more a frame would be thousands"


def test_the_official_facade_stays_within_the_budget_of_its_history(model: SAM2Base) -> None:
    """A fifth of the frames: without a budget they would take 90 MB."""
    budget = 8 * MB
    predictor = SAM2VideoPredictor(model)
    state = predictor.init_state(Endless(FACADE_LENGTH), history_budget=budget)
    prompt(lambda obj_id, points: predictor.add_new_points_or_box(state, 0, obj_id, points=points, labels=[1]))
    watch = Watch()
    for frame, ids, logits in predictor.propagate_in_video(state):
        assert ids == [0, 1, 2]
        assert logits.shape == (3, 1, HEIGHT, WIDTH)
        watch.look(frame)

    assert watch.growth < budget + 48 * MB
    assert state.history is not None
    assert state.history.bytes_in_memory <= budget
    assert len(state.history) == 3 * (FACADE_LENGTH - 1)
    assert state.result_at(1).low_res.shape == (3, 1, 64, 64)


def test_leaving_sessions_gives_their_memory_back(model: SAM2Base) -> None:
    counts = []
    for _ in range(4):
        video = VideoSession(model, Endless(12))
        prompt(lambda obj_id, points, video=video: video.add_points(0, obj_id, points=points, labels=[1]))
        list(video.propagate("both"))
        del video
        counts.append(count_tensors())

    assert counts[-1] <= counts[0] + 5


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 frames of 1080p: one second is encoded, its packets are written again and again."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    second = tmp_path_factory.mktemp("video") / "second.mp4"
    rate = 50
    with av.open(str(second), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 1920, 1080, "yuv420p", rate
        picture = np.full((1080, 1920, 3), 90, np.uint8)
        for i in range(rate):
            picture[:64, 16 * i : 16 * i + 64] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(second)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(stream) if p.size]
        ticks = int(Fraction(1, rate) / stream.time_base) * rate
        for turn in range(10_000 // rate):
            for content, pts, dts, is_key in packets:
                packet = av.Packet(content)
                packet.stream, packet.time_base = copy, stream.time_base
                packet.pts, packet.dts, packet.is_keyframe = pts + turn * ticks, dts + turn * ticks, is_key
                target.mux(packet)
    return path


def test_opening_a_long_video(long_file: Path, model: SAM2Base) -> None:
    with open_frames(long_file):
        pass  # what the libraries load once is not the video's
    before, start = resident(), time.perf_counter()

    video = VideoSession(model, long_file)

    seconds, grown = time.perf_counter() - start, resident() - before
    assert video.num_frames == 10_000
    assert video.size == (1080, 1920)
    assert seconds < 2
    assert grown < 300 * MB
    video.add_points(9_990, 1, points=[[900, 500]], labels=[1])
    assert [result.frame_idx for result in video.propagate()] == list(range(9_990, 10_000))
    assert resident() - before < 300 * MB
