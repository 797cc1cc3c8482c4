"""The recipe learns: one image and one clip by heart, judged by the code that inference and evaluation use."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_discs import model, sample
from painted import COLOURS
from torch import nn

import sam2
from sam2.eval.clicks import evaluate_example
from sam2.eval.datasets import ClickExample
from sam2.eval.vos_metrics import mask_quality
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.tracking.session import VideoSession
from sam2.train.data.clip import ClipSample, collate
from sam2.train.losses import LossConfig
from sam2.train.objective import Objective
from sam2.train.optim import OptimConfig, build_optimizer
from sam2.train.prompts import PromptConfig


def learn(net, learned, *, prompts, steps, rate, clip):
    """Train on one sample, prompted otherwise each time; the losses of all steps."""
    objective = Objective(net.train(), prompts=prompts, loss=LossConfig())
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / steps)
        loss = objective(collate([replace(learned, seed=step)], step_seed=step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
def test_one_image_is_learned_from_noise_in_200_steps():
    still = sample(2, frames=1, seed=1)
    net = model()
    learn(net, still, prompts=PromptConfig(still_corrections=2), steps=200, rate=3e-3, clip=1.0)

    net.eval()
    with torch.inference_mode():
        for k in range(2):
            scores = evaluate_example(net, ClickExample(str(k), still.images[0], still.masks[0, k]), clicks=3)
            assert scores.box >= 0.95
            assert min(scores.clicks) >= 0.95


def half_discs():
    """Two discs of two like colours each that pass each other: of one, an object is the left half alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (4, 256, 256, 3)).astype(np.uint8)
    masks = np.zeros((4, 2, 256, 256), bool)
    rows, columns = np.mgrid[:256, :256]
    for t in range(4):
        for k, (x, y) in enumerate([(70 + 8 * t, 80), (150 - 8 * t, 170)]):
            disc = (columns - x) ** 2 + (rows - y) ** 2 < 45**2
            left = disc & (columns < x)
            whole, half = np.array(COLOURS[k]), np.array(COLOURS[k + 2])
            images[t, disc], images[t, left] = whole, 0.6 * whole + 0.4 * half
            masks[t, k] = disc if k else left
    return ClipSample(images, masks, (0, 1), "half discs", 0)


def tracked_j_and_f(net, clip):
    """Mean J&F of all objects and frames but the first, whose masks are given."""
    session = VideoSession(net.eval(), list(clip.images))
    objects = range(clip.masks.shape[1])
    for k in objects:
        session.add_mask(0, k, clip.masks[0, k])
    later = [result for result in session.propagate() if result.frame_idx]
    return np.mean(
        [mask_quality(r.mask(k).cpu().numpy(), clip.masks[r.frame_idx, k]).j_and_f for r in later for k in objects]
    )


@pytest.mark.slow
def test_one_clip_is_learned_in_15_steps_from_nano():
    clip = half_discs()
    net = sam2.load("nano", device="cpu", dtype=torch.float32)
    net.set_image_size(256)
    assert tracked_j_and_f(net, clip) < 0.9

    learn(net, clip, prompts=PromptConfig(point_share=0.3, corrections=1), steps=15, rate=1e-4, clip=0.1)

    assert tracked_j_and_f(net, clip) >= 0.95


@pytest.mark.slow
def test_two_steps_of_tiny_on_a_cpu_take_less_than_a_minute():
    torch.manual_seed(0)
    net = build_model(replace(PRESETS["sam2.1_hiera_tiny"], image_size=256)).train()
    objective = Objective(net, prompts=PromptConfig(), loss=LossConfig(gated=False))
    optimizer = build_optimizer(net, OptimConfig())
    start = time.thread_time()  # of this thread: others may keep the machine busy
    for step in range(2):
        loss = objective(collate([sample(3, frames=8)], step_seed=step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        optimizer.step()
        assert torch.isfinite(loss)
    assert time.thread_time() - start < 60
