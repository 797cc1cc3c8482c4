"""The objective: what it sums, that objects and processes are independent, and that nothing breaks it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_discs import SIZE, model, sample

from sam2.train.data.clip import ClipBatch, collate
from sam2.train.losses import LossConfig
from sam2.train.objective import Objective, normalised, strided, world_average
from sam2.train.prompts import PromptConfig, draw_plan

QUICK = PromptConfig(corrections=1, still_corrections=2)
KINDS = {"click": 2, "box": 0, "mask": 1}
"""Step seeds by what clips of three frames then start from."""


def objective(net, **options):
    options = {"prompts": QUICK, "loss": LossConfig(), **options}
    return Objective(net, **options)


def gradients(net):
    """All gradients in a row, zeros where there is none."""
    parameters = list(net.parameters())
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def run(net, batch, **options):
    """Loss terms, and gradients."""
    net.zero_grad(set_to_none=True)
    found = objective(net, **options)(batch)
    found["loss"].backward()
    return {name: value.item() for name, value in found.items()}, gradients(net)


def test_step_seeds_start_clips_as_the_tests_expect():
    for kind, seed in KINDS.items():
        assert kind in draw_plan(QUICK, 3, seed).first.values()


@pytest.mark.parametrize("kind", ["small", "nano"])
@pytest.mark.parametrize("start", [*KINDS, "still"])
def test_one_batch_of_two_is_two_batches_of_one(kind, start):
    net = model(kind)
    frames = 1 if start == "still" else 3
    samples = [sample(2, frames=frames, seed=1), sample(1, frames=frames, seed=2)]
    step_seed = KINDS.get(start, 0)
    loss = LossConfig(gated=False)  # gated by a network of random weights, little would be left to compare

    together, gradient = run(net, collate(samples, step_seed=step_seed), loss=loss)
    apart = [run(net, collate([one], step_seed=step_seed), loss=loss) for one in samples]

    for name in ("loss", "mask", "dice", "iou", "presence"):
        weighted = sum(terms[name] * terms["objects"] for terms, _ in apart) / 3
        assert together[name] == pytest.approx(weighted, rel=1e-5)
    weighted = (2 * apart[0][1] + apart[1][1]) / 3
    assert float((gradient - weighted).abs().max()) < 1e-5 * float(gradient.abs().max())
    assert float(gradient.abs().max()) > 0


def test_the_same_batch_gives_the_same_loss_whatever_was_drawn_before():
    net, batch = model(), collate([sample(2)], step_seed=2)
    first, _ = run(net, batch)
    torch.rand(3)
    np.random.rand(3)
    again, _ = run(net, batch)
    assert first == again


def test_other_seeds_prompt_otherwise():
    net, batch = model(), collate([sample(2)], step_seed=2)
    other = replace(batch, seeds=batch.seeds + 1)
    assert run(net, batch)[0]["loss"] != run(net, other)[0]["loss"]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_batch_without_objects_costs_nothing_and_moves_nothing(frames):
    net = model()
    terms, gradient = run(net, collate([sample(0, frames=frames)], step_seed=0))
    assert set(terms.values()) == {0.0}
    assert not gradient.any()
    used = {name for name, p in net.named_parameters() if p.grad is not None}
    run(net, collate([sample(2, frames=frames)], step_seed=0))
    assert used == {name for name, p in net.named_parameters() if p.grad is not None}


def test_stills_leave_memory_without_a_gradient():
    net = model()
    run(net, collate([sample(2, frames=1)], step_seed=0))
    assert all(p.grad is None for p in net.memory_attention.parameters())
    assert all(p.grad is None for p in net.memory_encoder.parameters())


@pytest.mark.parametrize("start", [*KINDS, "still"])
def test_absent_objects_train_presence_alone(start):
    net = model("nano")
    frames = 1 if start == "still" else 3
    batch = collate([sample(2, frames=frames, gone=(0, 1))], step_seed=KINDS.get(start, 0))
    terms, gradient = run(net, batch)
    assert terms["mask"] == terms["dice"] == terms["iou"] == terms["first_iou"] == 0
    assert terms["presence"] > 0
    assert torch.isfinite(gradient).all()
    assert gradient.any()


@pytest.mark.parametrize("start", [*KINDS, "still"])
@pytest.mark.parametrize("kind", ["small", "nano"])
def test_recomputing_activations_changes_nothing(kind, start):
    net = model(kind, dropout=0.1)
    batch = collate([sample(2, frames=1 if start == "still" else 3)], step_seed=KINDS.get(start, 0))
    results = []
    for recompute in (False, True):
        torch.manual_seed(1)
        results.append(run(net, batch, activation_checkpointing=recompute))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


def test_parts_run_as_ever_after_recomputing():
    net = model()
    before = {name: set(vars(part)) for name, part in net.named_modules()}
    behaviour = net.behaviour
    run(net, collate([sample(1)], step_seed=0), activation_checkpointing=True, frozen_encoder=True)
    assert {name: set(vars(part)) for name, part in net.named_modules()} == before
    assert net.behaviour == behaviour


def test_where_nothing_trained_is_used_the_loss_can_be_differentiated_all_the_same():
    net = model()
    net.requires_grad_(False)
    net.memory_attention.requires_grad_(True)
    terms, gradient = run(net, collate([sample(1, frames=1)], step_seed=0))
    assert terms["loss"] > 0
    assert not gradient.any()


def test_a_frozen_encoder_is_not_trained_but_the_decoder_is():
    net = model()
    whole = objective(net, frozen_encoder=True, loss=LossConfig(gated=False))
    whole.train()
    assert net.training
    assert not net.image_encoder.training
    whole(collate([sample(2)], step_seed=2))["loss"].backward()
    assert all(p.grad is None for p in net.image_encoder.parameters())
    # the two convolutions on the encoder's maps belong to the decoder
    assert net.sam_mask_decoder.conv_s0.weight.grad.any()
    assert net.memory_attention.layers[0].linear1.weight.grad.any()


@pytest.mark.parametrize("kind", ["small", "nano"])
@pytest.mark.parametrize("start", KINDS)
def test_bfloat16_by_autocast(kind, start):
    net = model(kind)
    batch = collate([sample(2)], step_seed=KINDS[start])
    exact, _ = run(net, batch, loss=LossConfig(gated=False))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(net, loss=LossConfig(gated=False))(batch)
    found["loss"].backward()
    assert found["loss"].dtype == torch.float32
    assert torch.isfinite(gradients(net)).all()
    assert found["presence"].item() == pytest.approx(exact["presence"], rel=0.1)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    loss = LossConfig(focal=3.0, dice=2.0, iou=0.5, presence=4.0)
    terms, _ = run(model(), collate([sample(2)], step_seed=0), loss=loss)
    expected = 3 * terms["mask"] + 2 * terms["dice"] + 0.5 * terms["iou"] + 4 * terms["presence"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_frames_and_corrections_are_summed_not_averaged():
    net = model()
    clip = sample(1, frames=4)
    once = PromptConfig(point_share=1.0, corrections=0, init_frames=1)
    batch = collate([clip], step_seed=0)
    terms, _ = run(net, batch, prompts=once)
    first = replace(batch, images=batch.images[:, :1], masks=batch.masks[:1])
    alone, _ = run(net, first, prompts=replace(once, still_corrections=0, still_box_share=once.box_share))
    corrected, _ = run(net, batch, prompts=replace(once, corrections=7, corrected_frames=1))
    # a network of random weights says much the same of presence in every call
    assert terms["presence"] == pytest.approx(4 * alone["presence"], rel=0.2)
    assert corrected["presence"] == pytest.approx((4 + 7) * alone["presence"], rel=0.2)


@pytest.mark.parametrize("stride", [2, 4])
def test_losses_on_coarser_pixels_are_much_the_same(stride):
    net, batch = model("nano"), collate([sample(2)], step_seed=0)
    fine, _ = run(net, batch, loss=LossConfig(gated=False))
    coarse, _ = run(net, batch, loss=LossConfig(gated=False), loss_stride=stride)
    assert coarse["dice"] == pytest.approx(fine["dice"], rel=0.05)
    assert coarse["presence"] == fine["presence"]


def test_coarser_truth_keeps_what_is_small():
    truth = torch.zeros(3, 8, 8, dtype=torch.bool)
    truth[0, :4], truth[1, 5, 5] = True, True
    coarse = strided(truth, 4)
    assert coarse.tolist() == [[[True, True], [False, False]], [[False, False], [False, True]], [[False] * 2] * 2]


def test_masks_that_are_not_gated_learn_from_what_the_score_misses():
    net = model()
    with torch.no_grad():
        net.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(-10.0)
    batch = collate([sample(1, frames=1)], step_seed=0)
    kernels = net.sam_mask_decoder.output_hypernetworks_mlps[1].layers[-1].weight
    prompts = PromptConfig(still_box_share=0.0, still_corrections=0)
    run(net, batch, prompts=prompts)
    assert kernels.grad is None or not kernels.grad.any()
    terms, _ = run(net, batch, prompts=prompts, loss=LossConfig(gated=False))
    grads = [mlp.layers[-1].weight.grad for mlp in net.sam_mask_decoder.output_hypernetworks_mlps]
    assert any(g is not None and g.any() for g in grads)
    assert terms["first_iou"] == 0  # the tracker shows nothing, whatever is learned from


def test_pixels_are_normalised_as_in_inference():
    from sam2.eval.clicks import pixels_of

    image = sample(1, frames=1).images
    # the inference route resizes first: at the model's size that changes nothing
    torch.testing.assert_close(
        normalised(torch.from_numpy(image)), pixels_of(image[0], SIZE, torch.device("cpu")), atol=1e-5, rtol=1e-5
    )


def test_an_average_of_nothing_is_one():
    assert world_average(0, torch.device("cpu")) == 1
    assert world_average(3, torch.device("cpu")) == 3


def test_wrong_arguments_are_named():
    net = model()
    with pytest.raises(ValueError, match=r"loss_stride must be 1, 2 or 4, got 3"):
        objective(net, loss_stride=3)
    batch = collate([sample(1)], step_seed=0)
    small = ClipBatch(
        batch.images[:, :, :128, :128],
        batch.masks[:, :, :128, :128],
        batch.clip_of,
        batch.seeds,
        batch.names,
        batch.step_seed,
    )
    with pytest.raises(ValueError, match=r"256 px, got 128"):
        objective(net)(small)
