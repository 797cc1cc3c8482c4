"""A tracker small enough for tests (some 25 ms a frame), whose masks are neither empty nor full, and a clip for it."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2.modeling.build import build_model
from sam2.modeling.config import Behaviour, DecoderConfig, HieraConfig, MemoryConfig, ModelConfig
from sam2.modeling.memory_selection import MemorySelection
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking import FrameResult, OfficialMemory, VideoSession
from sam2.tracking.history import History
from sam2.tracking.policy import MemoryQuestion
from sam2.tracking.session import SessionOptions

SIZE = 96, 128
"""(height, width) of a frame."""
LENGTH = 18
"""Frames of the clip: more than the fifteen pointers that tracking looks back."""
ABSENT = -1024.0
CLOSE = {"atol": 1e-3, "rtol": 0.0}

_CONFIG = ModelConfig(
    name="small tracker",
    version="custom",
    trunk=HieraConfig(
        embed_dim=8, stages=(1, 1, 2, 1), global_att_blocks=(3,), window_pos_embed_bkg_spatial_size=(7, 7)
    ),
    image_size=256,
    d_model=32,
    decoder=DecoderConfig(mlp_dim=32),
    memory=MemoryConfig(dim=16, num_layers=1, dim_feedforward=32, fuser_layers=1),
)


def new_tracker(*, bias: float = 2.0, **behaviour: object) -> SAM2Base:
    """A model of its own, to be changed at will.

    Args:
        bias: added to the object score: objects are present where it is large.
    """
    model = build_model(_CONFIG, Behaviour(**behaviour)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.copy_(_initial(name, torch.randn(weight.shape, generator=generator)))
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(bias)
    return model


@cache
def tracker(**behaviour: object) -> SAM2Base:
    """Shared between tests and therefore read-only."""
    return new_tracker(**behaviour)


def _initial(name: str, noise: Tensor) -> Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if "gaussian_matrix" in name:
        return noise
    if leaf == "weight" and noise.ndim == 1:
        return 1 + 0.1 * noise
    if leaf == "gamma":
        return 0.5 + 0.1 * noise
    if leaf == "bias":
        return 0.05 * noise
    if leaf != "weight":
        return 0.2 * noise
    # Decisive masks, and a memory that matters.
    strong = ("output_hypernetworks_mlps" in name and ".layers.2." in name) or "cross_attn_image.out_proj" in name
    return (4 if strong else 1) * noise / max(noise[0].numel(), 1) ** 0.5


@cache
def clip(num_frames: int = LENGTH, *, size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """[T, H, W, 3]: a disc and a square that cross a striped background."""
    height, width = size
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    phase = 0.7 * seed
    background = np.stack([110 + 40 * np.sin(0.05 * (c + 1) * xx + 0.07 * yy + phase + c) for c in range(3)], -1)
    frames = np.repeat(background[None], num_frames, 0)
    for t, frame in enumerate(frames):
        x, y = width * (0.3 + 0.02 * t), height * (0.4 + 0.01 * t)
        frame[(xx - x) ** 2 + (yy - y) ** 2 < (0.2 * height) ** 2] = (210, 60, 40)
        x, y = width * (0.75 - 0.02 * t), height * 0.65
        frame[(abs(xx - x) < 0.15 * height) & (abs(yy - y) < 0.12 * height)] = (40, 90, 220)
    frames = frames.astype(np.uint8)
    frames.setflags(write=False)
    return frames


def session(model: SAM2Base | None = None, *, history: int | None = None, **options: object) -> VideoSession:
    """A session on the clip; ``history`` is a budget in bytes, None for no history."""
    frames = options.pop("frames", clip())
    keep = None if history is None else History(history)
    return VideoSession(
        model or tracker(), frames, policy=options.pop("policy", None), options=SessionOptions(history=keep, **options)
    )


def click(video: VideoSession, frame: int, obj_id: int = 1, at: tuple[float, float] = (40, 40), label: int = 1):
    """One point."""
    return video.add_points(frame, obj_id, points=[at], labels=[label])


def logits(results: Iterable[FrameResult]) -> dict[tuple[int, int], Tensor]:
    """Low-resolution logits [1, h, w] by (object, frame); each may come once only."""
    found: dict[tuple[int, int], Tensor] = {}
    for result in results:
        for row, obj_id in enumerate(result.obj_ids):
            assert (obj_id, result.frame_idx) not in found
            found[obj_id, result.frame_idx] = result.low_res[row].clone()
    return found


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference."""
    return float((a - b).abs().max())


def assert_same(a: dict, b: dict, *, exact: bool = False, keys: Iterable[tuple[int, int]] | None = None) -> None:
    """Logits equal, bit for bit or to 1e-3, for ``keys`` or for all."""
    if keys is None:
        assert a.keys() == b.keys()
        keys = a.keys()
    for key in keys:
        if exact:
            assert torch.equal(a[key], b[key]), f"{key}: off by {gap(a[key], b[key]):.2e}"
        else:
            torch.testing.assert_close(a[key], b[key], **CLOSE, msg=lambda text, key=key: f"{key}: {text}")


def snapshot(video: VideoSession) -> dict:
    """All that a refused call must leave as it was."""
    return {
        "tracks": {
            obj_id: (
                dict(track.prompts),
                dict(track.drafts),
                dict(track.bank.prompted),
                dict(track.bank.recent),
                dict(track.bank.directions),
            )
            for obj_id, track in video.tracks.items()
        },
        "num_frames": video.num_frames,
        "history": None if video.history is None else len(video.history),
    }


class KeepAll(OfficialMemory):
    """The official rule, but nothing is ever dropped."""

    def select(self, question: MemoryQuestion) -> MemorySelection:
        return OfficialMemory().select(question)

    def horizon(self, frame: int, *, reverse: bool, **_: object) -> tuple[int, int]:
        far = 10**6
        return (frame + far, frame + far) if reverse else (frame - far, frame - far)


def stream(model: SAM2Base, frames: Sequence, prompts: dict[int, list] | None = None) -> tuple[VideoSession, list]:
    """A stream over ``frames``; ``prompts[t]`` are called with the session after frame t was taken."""
    video = VideoSession(model)
    results = []
    for t, frame in enumerate(frames):
        result = video.step(frame)
        for prompt in (prompts or {}).get(t, []):
            prompt(video)
        results.append(video.result_at(t) if t in (prompts or {}) else result)
    return video, results
