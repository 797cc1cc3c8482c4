"""The losses against a recording of the official implementation."""

import json
import sys
from pathlib import Path

import pytest
import torch

from sam2.train.losses import LossConfig, dice_per_mask, focal_per_mask, iou_per_mask, prompt_losses

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "losses.json").read_text())["seeds"]


@pytest.fixture(params=sorted(RECORDED))
def case(request, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    from losses_case import inputs

    outputs, targets = inputs(int(request.param))
    steps = list(
        zip(
            outputs["multistep_pred_multimasks_high_res"],
            outputs["multistep_pred_ious"],
            outputs["multistep_object_score_logits"],
            strict=True,
        )
    )
    sys.modules.pop("losses_case", None)
    return steps, targets, RECORDED[request.param]


def test_terms_equal_the_official_ones(case):
    steps, targets, expected = case
    losses = [prompt_losses(*step, targets, config=LossConfig()) for step in steps]
    for ours, theirs in (
        ("mask", "loss_mask"),
        ("dice", "loss_dice"),
        ("iou", "loss_iou"),
        ("presence", "loss_class"),
        ("total", "core_loss"),
    ):
        summed = sum(getattr(step, ours).item() for step in losses)
        assert summed == pytest.approx(expected[theirs], abs=1e-5), ours


def test_per_mask_values_equal_the_official_ones(case):
    steps, targets, expected = case
    logits, ious, _ = steps[0]
    truth = targets[:, None].expand_as(logits).float()
    n = len(logits)
    focal = focal_per_mask(logits, truth, alpha=0.25, gamma=2.0) / n
    off = (ious - iou_per_mask(logits, targets[:, None])).abs() / n
    for ours, theirs in (
        (focal, "focal_per_mask"),
        (dice_per_mask(logits, truth) / n, "dice_per_mask"),
        (off, "iou_per_mask"),
    ):
        torch.testing.assert_close(ours, torch.tensor(expected[theirs]), atol=1e-5, rtol=1e-5)


def test_absent_object_trains_presence_alone():
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    losses = prompt_losses(
        logits, torch.rand(2, 1), torch.zeros(2, 1), torch.zeros(2, 8, 8, dtype=torch.bool), config=LossConfig()
    )
    assert losses.mask == losses.dice == losses.iou == 0
    losses.total.backward()
    assert not logits.grad.any()


@pytest.mark.parametrize("pixel", ["focal", "bce"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_no_logit_makes_a_loss_or_gradient_that_is_no_number(pixel, scale):
    logits = (scale * torch.randn(3, 3, 8, 8)).requires_grad_()
    truth = torch.rand(3, 8, 8) > 0.5
    truth[0], truth[1] = False, True
    ious, presence = torch.rand(3, 3, requires_grad=True), (scale * torch.ones(3, 1)).requires_grad_()
    losses = prompt_losses(logits, ious, presence, truth, config=LossConfig(pixel=pixel))
    losses.total.backward()
    for tensor in (losses.total, logits.grad, ious.grad, presence.grad):
        assert torch.isfinite(tensor).all()


def test_only_the_best_candidate_is_trained_as_a_mask():
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    truth[:, :4] = True
    good = truth[:, None].float() * 4 - 2
    logits = torch.cat([-good, good, torch.zeros_like(good)], dim=1).requires_grad_()
    losses = prompt_losses(logits, torch.zeros(1, 3), torch.zeros(1, 1), truth, config=LossConfig())
    losses.total.backward()
    assert [bool(gradient.any()) for gradient in logits.grad[0]] == [False, True, False]


def test_iou_of_empty_masks_is_zero():
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    assert iou_per_mask(torch.full((1, 2, 4, 4), -1.0), truth).tolist() == [[0, 0]]
