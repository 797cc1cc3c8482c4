"""Runs on stills and clips together."""

import json
from dataclasses import replace

import miniature
import pytest
import torch

from sam2.modeling.build import build_model
from sam2.train.nano import loop
from sam2.train.nano.config import TrainConfig
from sam2.train.nano.data.pack import open_packed
from sam2.train.nano.export import export_weights
from sam2.train.nano.loop import is_over, read_weights, resume, save, start, train
from sam2.train.nano.optim import IMAGE_PARTS
from sam2.train.nano.validate import validate_tracking

CONFIG = TrainConfig(
    model="small",
    steps=4,
    sizes=((256, 1.0),),
    batch_size=2,
    masks=2,
    workers=0,
    validation_objects=1,
    clip_share=0.5,
    clip_sizes=((256, 1.0),),
    clip_batch=1,
    clip_masks=2,
    validation_clips=1,
    lengths=((2, 0.5), (3, 0.5)),
)


pytestmark = pytest.mark.usefixtures("small_preset")


def test_steps_on_clips_are_spread_evenly():
    config = replace(CONFIG, clip_share=0.4)
    assert [config.is_clip(step) for step in range(10)] == [False, False, True, False, True] * 2
    assert config.clips_before(10) == 4
    assert not any(replace(CONFIG, clip_share=0.0).is_clip(step) for step in range(10))
    assert all(replace(CONFIG, clip_share=1.0).is_clip(step) for step in range(10))


def test_all_is_trained_and_measured(weights, cache, tmp_path):
    run = train(start(CONFIG, initial=weights), cache, tmp_path)

    trained = run.model.state_dict()
    changed = {name for name, value in weights.items() if not trained[name].equal(value)}
    assert any(name.startswith("memory_attention.") for name in changed)
    assert any(name.startswith("image_encoder.trunk.") for name in changed)
    assert len(changed) > 0.9 * len(run.parameters)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps, validation = logged[-2:]
    assert steps["loss"] > 0
    assert steps["clip_loss"] > 0
    assert {"tracked", "tracked_end", "copied"} <= set(validation)
    assert is_over(tmp_path)


def test_a_step_on_a_clip_leaves_the_image_encoder_and_one_on_stills_the_memory(weights, cache, tmp_path):
    for share, kept in ((1.0, "image_encoder."), (0.001, "memory_attention.")):
        run = start(replace(CONFIG, steps=1, clip_share=share, fresh_memory=False), initial=weights)
        trained = train(run, cache, tmp_path / str(share)).model.state_dict()
        assert all(trained[name].equal(value) for name, value in weights.items() if name.startswith(kept))


def test_a_joint_run_that_is_resumed_equals_one_that_is_not(weights, cache, tmp_path, monkeypatch):
    straight = train(start(CONFIG, initial=weights), cache, tmp_path / "straight")
    with monkeypatch.context() as patched:
        # Stop after two steps by using up the budget, as a signal would.
        patched.setattr(loop, "_advance", _stopping_after(2, loop._advance))
        train(start(CONFIG, initial=weights), cache, tmp_path / "broken")
    assert not is_over(tmp_path / "broken")
    going_on = train(resume(CONFIG, tmp_path / "broken"), cache, tmp_path / "broken")
    for name, value in straight.model.state_dict().items():
        torch.testing.assert_close(going_on.model.state_dict()[name], value, atol=1e-5, rtol=1e-5)


def _stopping_after(steps, advance):
    def stopping(run, batch, request):
        values, stop = advance(run, batch, request)
        return values, stop or run.step == steps

    return stopping


def test_the_rates_of_memory_are_their_own(weights):
    run = start(replace(CONFIG, memory_rate=7e-3, learning_rate=2e-4), initial=weights)
    rates = {name: group["base_lr"] for group in run.optimizer.param_groups for name in group["names"]}
    assert set(rates) == set(weights) & set(run.parameters)
    for name, rate in rates.items():
        if not name.startswith(IMAGE_PARTS):
            assert rate == 7e-3
        elif not name.startswith("image_encoder.trunk."):
            assert rate == 2e-4


def test_a_run_starts_from_a_file_or_from_another_run(weights, cache, tmp_path):
    run = start(CONFIG, initial=weights)
    for value in run.average.values.values():
        value += 1
    save(run, tmp_path)
    from_run = read_weights(tmp_path)
    export_weights(tmp_path, tmp_path / "small.safetensors")
    from_file = read_weights(tmp_path / "small.safetensors")
    assert from_run["no_obj_ptr"].equal(weights["no_obj_ptr"] + 1)
    for name, value in from_run.items():
        torch.testing.assert_close(from_file[name], value.float(), atol=2e-3, rtol=2e-3)


def test_tracking_is_measured_the_same_every_time(weights, cache):
    model = build_model(miniature.SMALL)
    model.load_state_dict(weights)
    model.train()
    data = open_packed(cache)
    first, again = (validate_tracking(model, data, clips=2, frames=3) for _ in range(2))
    assert first == again
    assert 0 <= first.tracked <= 1
    assert 0 < first.copied <= 1
    assert model.training
