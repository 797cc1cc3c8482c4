"""Training on clips: what is remembered, what is learned, and that inference would see the same."""

from dataclasses import replace

import miniature
import numpy as np
import pytest
import torch

from sam2.modeling.build import build_model
from sam2.modeling.types import PromptBatch
from sam2.train.nano.clip_step import (
    as_mask_prompt,
    encode_clips,
    run_clip_step,
    track,
)
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.loader import ClipBatch
from sam2.train.nano.data.pack import open_packed, pack
from sam2.train.nano.memory_start import start_memory, without_dropout
from sam2.train.nano.past import Past, PastConfig, draw_past

CONFIG = NanoConfig(model="small", steps=4, clip_share=0.5)
PLAIN = Past()


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(miniature.SMALL)
    without_dropout(model)
    return model.train()


def clips(frames=4, objects=2, batch=1):
    """A red disc that moves over noise, and one that is gone after the first frame."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (batch, frames, 256, 256, 3)).astype(np.uint8)
    masks = np.zeros((batch, frames, objects, 128, 128), bool)
    for t in range(frames):
        disc = miniature.disc(40 + 6 * t, 60, 20, 128, 128)
        masks[:, t, 0] = disc
        images[:, t, miniature.disc(80 + 12 * t, 120, 40, 256, 256)] = (220, 40, 30)
        if t == 0 and objects > 1:
            masks[:, t, 1] = miniature.disc(100, 100, 12, 128, 128)
    return ClipBatch(torch.from_numpy(images), torch.from_numpy(masks))


def step(model, batch, *, past=PLAIN, kind="mask", config=CONFIG):
    rng = np.random.default_rng(0)
    return run_clip_step(model, batch, rng=rng, past=past, kind=kind, config=config)


def contexts_of(model, frames, past):
    """The memory contexts that tracking asks for, by frame."""
    asked = {}
    fuse = model.fuse_memory
    model.fuse_memory = lambda here, context: asked.setdefault(len(asked) + 1, context) and fuse(here, context)
    batch = clips(frames)
    features = encode_clips(model, batch, config=CONFIG)
    with torch.no_grad():
        first = as_mask_prompt(batch.masks[0, 0], 256)
        correct = lambda t, logits: PromptBatch(torch.full((2, 1, 2), 9.0), torch.ones(2, 1, dtype=torch.int32))  # noqa: E731
        track(model, features, first, past=past, correct=correct)
    del model.fuse_memory
    return asked


@pytest.mark.parametrize("kind", ["mask", "box", "click"])
def test_every_part_learns_but_the_image_encoder(model, kind):
    past = Past(corrected=(2,))
    step(model, clips(), kind=kind, past=past).loss.backward()
    reached = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert "image_encoder" not in reached
    expected = {"memory_attention", "memory_encoder", "maskmem_tpos_enc", "obj_ptr_proj", "obj_ptr_tpos_proj"}
    assert expected | {"sam_mask_decoder", "sam_prompt_encoder"} <= reached
    assert ("mask_downsample" in reached) == (kind == "mask")


def test_the_image_encoder_learns_on_request(model):
    step(model, clips(2), config=replace(CONFIG, clip_trunk=True)).loss.backward()
    assert model.image_encoder.neck.convs[0].conv.weight.grad is not None


def test_training_on_a_clip_learns_it(model):
    batch = clips(3, objects=1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        result = step(model, batch)
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(result.loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_of_clips_is_the_mean_of_its_clips(model):
    one, other = clips(3), clips(3)
    other = ClipBatch(other.images.flip(3), other.masks.flip(4))
    both = ClipBatch(torch.cat((one.images, other.images)), torch.cat((one.masks, other.masks)))
    losses = [float(step(model, batch).loss.detach()) for batch in (one, other, both)]
    assert losses[2] == pytest.approx((losses[0] + losses[1]) / 2, rel=1e-4)


def test_what_is_remembered_is_what_inference_remembers(model):
    asked = contexts_of(model, 9, Past())
    assert [asked[t].time_slots for t in (1, 2, 8)] == [(6,), (6, 0), (6, 5, 4, 3, 2, 1, 0)]
    assert asked[8].pointer_distances[0].tolist() == [8, 1, 2, 3, 4, 5, 6, 7]
    assert asked[8].max_pointers == 16


def test_a_past_that_is_acted_out(model):
    dropped = contexts_of(model, 5, Past(dropped=(2, 3)))
    assert dropped[4].time_slots == (6, 2)
    assert dropped[4].pointer_distances[0].tolist() == [4, 3]
    old = contexts_of(model, 3, Past(gap=50))
    assert old[2].pointer_distances[0].tolist() == [52, 1]
    corrected = contexts_of(model, 4, Past(corrected=(2,)))
    assert corrected[3].time_slots == (6, 6, 1)
    strided = contexts_of(model, 6, Past(behaviour=replace(model.behaviour, memory_temporal_stride_for_eval=2)))
    assert strided[5].time_slots == (6, 1, 0)


def test_the_behaviour_of_the_model_is_as_before(model):
    before = model.behaviour
    contexts_of(model, 3, Past(behaviour=replace(before, memory_temporal_stride_for_eval=2)))
    assert model.behaviour is before


def test_absent_objects_train_the_presence_score_alone(model):
    batch = clips(2)
    batch.masks[:, 1] = False
    losses = step(model, batch)
    assert losses.terms["mask"] == losses.terms["dice"] == losses.terms["iou"] == 0
    assert losses.terms["presence"] > 0
    assert np.isnan(losses.ious[1])


def test_pasts_are_drawn_in_their_shares():
    rng = np.random.default_rng(0)
    behaviour = build_model(miniature.SMALL).behaviour
    pasts = [draw_past(rng, 6, behaviour, config=PastConfig()) for _ in range(400)]
    assert sum(bool(past.corrected) for past in pasts) == pytest.approx(120, abs=30)
    assert sum(past.gap > 0 for past in pasts) == pytest.approx(160, abs=40)
    assert max(past.gap for past in pasts) <= PastConfig().max_gap
    for past in pasts:
        assert set(past.corrected) <= set(range(1, 5))
        assert not set(past.corrected) & set(past.dropped)
        assert 0 not in past.dropped


def test_a_mask_prompt_has_the_size_of_the_input():
    truth = torch.from_numpy(np.stack([miniature.disc(30, 30, 15, 64, 64)]))
    prompt = as_mask_prompt(truth, 128)
    assert prompt.shape == (1, 1, 128, 128)
    assert set(prompt.unique().tolist()) == {0.0, 1.0}
    assert float(prompt.mean()) == pytest.approx(float(truth.float().mean()), rel=0.05)


def test_a_fresh_memory_looks_for_its_like(model, tmp_path):
    pack(miniature.records(tmp_path / "photos"), tmp_path / "cache")
    start_memory(model, open_packed(tmp_path / "cache"))
    attention = model.memory_attention.layers[0].cross_attn_image
    tokens = torch.randn(200, miniature.SMALL.d_model)
    narrow = torch.nn.functional.conv2d(tokens[:, :, None, None], model.memory_encoder.out_proj.weight)[:, :, 0, 0]
    scores = tokens @ attention.k_proj(narrow).T
    own = scores.diagonal()
    assert (own > scores.mean(1)).float().mean() > 0.95
    assert (own >= 0).all()
