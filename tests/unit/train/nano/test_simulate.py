"""Simulated users: boxes, clicks and masks that look like the truth, corrections where the prediction is wrong."""

import miniature
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2.modeling.types import LOW_RES_LIMIT
from sam2.train.nano.simulate import (
    SimulationConfig,
    choose_kind,
    corrected,
    first_prompts,
    furthest_from_border,
)

SIDE, IMAGE = 64, 256
EMPTY = np.zeros((SIDE, SIDE), bool)
seeds = st.integers(0, 2**20)
discs = st.builds(
    lambda x, y, radius: miniature.disc(x, y, radius, SIDE, SIDE),
    st.integers(0, SIDE - 1),
    st.integers(0, SIDE - 1),
    st.floats(1.5, 30),
)


def prompt(kind, truth, seed=0, **changes):
    rng = np.random.default_rng(seed)
    return first_prompts(rng, np.stack(truth), kind, image_size=IMAGE, config=SimulationConfig(**changes))


def cells(points):
    """Pixels of the input back to cells of the truth."""
    return ((points + 0.5) * SIDE / IMAGE - 0.5).round().long()


@settings(max_examples=40, deadline=None)
@given(mask=discs, seed=seeds)
def test_boxes_are_noisy_within_bounds(mask, seed):
    (box,) = prompt("box", [mask], seed).points.flatten(1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    scale = IMAGE / SIDE
    tight = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * scale - torch.tensor([0, 0, 1, 1])
    assert ((box - tight).abs() <= 20 * IMAGE / 1024 + 1).all()
    assert ((box >= 0) & (box <= IMAGE - 1)).all()


def test_without_noise_boxes_are_tight():
    prompts = prompt("box", [miniature.disc(20, 30, 10, SIDE, SIDE)], box_noise=0)
    assert prompts.labels.tolist() == [[2, 3]]
    assert prompts.points.tolist() == [[[11 * 4, 21 * 4], [30 * 4 - 1, 40 * 4 - 1]]]


@settings(max_examples=40, deadline=None)
@given(mask=discs, seed=seeds)
def test_careless_boxes_hold_the_object_and_more(mask, seed):
    (tight,) = prompt("box", [mask], seed, box_noise=0).points.flatten(1)
    (box,) = prompt("box", [mask], seed, loose_share=1).points.flatten(1)
    assert (box[:2] <= tight[:2]).all()
    assert (box[2:] >= tight[2:]).all()
    assert ((box >= 0) & (box <= IMAGE - 1)).all()


def test_some_careless_boxes_are_mostly_ground():
    mask = miniature.disc(20, 30, 8, SIDE, SIDE)
    boxes = torch.stack([prompt("box", [mask], seed, loose_share=1).points[0] for seed in range(60)])
    areas = (boxes[:, 1] - boxes[:, 0]).prod(-1)
    assert areas.max() > 4 * areas.min()
    shares = torch.tensor([(b != boxes[0]).any() for b in boxes]).float().mean()
    assert shares > 0.5


@settings(max_examples=40, deadline=None)
@given(mask=discs, seed=seeds, centre=st.sampled_from([0.0, 0.5, 1.0]))
def test_clicks_lie_on_the_object(mask, seed, centre):
    prompts = prompt("click", [mask], seed, centre_share=centre)
    assert prompts.labels.tolist() == [[1]]
    ((x, y),) = cells(prompts.points)[0].tolist()
    assert mask[y, x]


def test_masks_resemble_the_object():
    truth = miniature.disc(30, 30, 16, SIDE, SIDE)
    for seed in range(20):
        prompts = prompt("mask", [truth, EMPTY], seed)
        assert prompts.points is None
        assert prompts.masks.shape == (2, 1, IMAGE // 4, IMAGE // 4)
        shown = (prompts.masks[0, 0] > 0).numpy()
        assert (shown & truth).sum() / (shown | truth).sum() > 0.3
        assert not (prompts.masks[1] > 0).any()


@pytest.mark.parametrize("kind", ["box", "click", "mask"])
def test_absent_objects_can_be_prompted(kind):
    prompts = prompt(kind, [EMPTY, EMPTY])
    tensor = prompts.masks if kind == "mask" else prompts.points
    assert len(tensor) == 2
    assert torch.isfinite(tensor).all()


def test_kinds_come_in_their_shares():
    rng = np.random.default_rng(0)
    kinds = [choose_kind(rng, {"box": 3, "click": 1, "mask": 0}) for _ in range(400)]
    assert kinds.count("box") / 400 == pytest.approx(0.75, abs=0.07)
    assert "mask" not in kinds


def test_the_border_of_the_image_is_a_border():
    left = np.zeros((SIDE, SIDE), bool)
    left[:, :21] = True
    x, _, depth = furthest_from_border(left)
    assert x == 10
    assert depth == pytest.approx(11, abs=0.5)


def logits_of(*masks):
    return torch.from_numpy(np.stack(masks)).float()[:, None] * 100 - 50


@settings(max_examples=60, deadline=None)
@given(truth=discs, guess=discs, seed=seeds, centre=st.sampled_from([0.0, 1.0]), kind=st.sampled_from(["box", "mask"]))
def test_corrections_fall_where_the_prediction_is_wrong(truth, guess, seed, centre, kind):
    rng, config = np.random.default_rng(seed), SimulationConfig(centre_share=centre)
    before = prompt(kind, [truth, truth])
    logits = logits_of(guess, truth)

    after = corrected(rng, before, np.stack([truth, truth]), logits, image_size=IMAGE, config=config)

    count = 0 if before.labels is None else 2
    assert after.points.shape == (2, count + 1, 2)
    assert after.labels.shape == (2, count + 1)
    if count:
        assert after.points[:, :count].equal(before.points)
        assert after.labels[:, :count].equal(before.labels)
    (x, y), label = cells(after.points)[0, -1].tolist(), int(after.labels[0, -1])
    if (truth != guess).any():
        assert truth[y, x] != guess[y, x]
    assert label == int(truth[y, x])
    (x, y), label = cells(after.points)[1, -1].tolist(), int(after.labels[1, -1])
    assert (label, truth[y, x]) == (1, True)  # nothing wrong: a click on the object
    assert after.masks.abs().max() <= LOW_RES_LIMIT
    assert ((after.masks > 0) == (logits > 0)).all()


def test_a_mask_on_nothing_is_clicked_away():
    shown = miniature.disc(30, 30, 8, SIDE, SIDE)
    rng = np.random.default_rng(0)
    truth = np.stack([EMPTY, EMPTY])
    after = corrected(
        rng, prompt("box", truth), truth, logits_of(shown, EMPTY), image_size=IMAGE, config=SimulationConfig()
    )
    assert after.labels[:, -1].tolist() == [0, 0]
    x, y = cells(after.points)[0, -1].tolist()
    assert shown[y, x]


def test_corrections_do_not_carry_gradients():
    truth = miniature.disc(30, 30, 8, SIDE, SIDE)[None]
    logits = logits_of(EMPTY).requires_grad_()
    after = corrected(
        np.random.default_rng(0), prompt("click", truth), truth, logits, image_size=IMAGE, config=SimulationConfig()
    )
    assert not after.masks.requires_grad


@pytest.mark.parametrize("kind", ["box", "click"])
def test_a_prompt_may_come_again_with_what_it_gave(kind):
    truth = miniature.disc(30, 30, 8, SIDE, SIDE)
    before, logits = prompt(kind, [truth]), logits_of(EMPTY)
    config = SimulationConfig(again_share=1.0)
    after = corrected(np.random.default_rng(0), before, truth[None], logits, image_size=IMAGE, config=config)
    assert after.points.equal(before.points)
    assert after.labels.equal(before.labels)
    assert after.masks.equal(logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT))


def test_a_mask_does_not_come_again_alone():
    truth = miniature.disc(30, 30, 8, SIDE, SIDE)
    config = SimulationConfig(again_share=1.0)
    before = prompt("mask", [truth])
    after = corrected(np.random.default_rng(0), before, truth[None], logits_of(EMPTY), image_size=IMAGE, config=config)
    assert after.num_points == 1
