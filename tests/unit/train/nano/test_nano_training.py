"""Runs of a few steps: what is trained at which rate, stopping, resuming, and what is left behind."""

import os
import signal
import sys
from dataclasses import replace

import miniature
import pytest
import torch
import yaml
from torch import nn

import sam2
from sam2.checkpoints import read_checkpoint
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO
from sam2.train.checkpoint import CHECKPOINT, write_checkpoint
from sam2.train.config import ModelChoice, TrainConfig, write_config
from sam2.train.launch import run_together
from sam2.train.log import read_log
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.export import export_weights
from sam2.train.nano.rates import IMAGE_PARTS, optim_config
from sam2.train.nano.training import RECIPE, is_over, read_weights, train_nano
from sam2.train.optim import build_optimizer, freeze
from sam2.train.trainer import CONFIG as ENGINE

CONFIG = NanoConfig(
    model="small",
    steps=4,
    sizes=((256, 1.0),),
    batch_size=2,
    masks=2,
    workers=0,
    validation_objects=1,
    device="cpu",
    clip_share=0.5,
    clip_sizes=((256, 1.0),),
    clip_batch=1,
    clip_masks=2,
    validation_clips=1,
    lengths=((2, 0.5), (3, 0.5)),
)

pytestmark = pytest.mark.usefixtures("small_preset")


def silent(step, total, entry):
    """No progress."""


def stopping_at(number):
    """Progress that has a signal sent during the step after step ``number``."""

    def show(step, total, entry):
        if step == number and "event" not in entry:
            signal.raise_signal(signal.SIGTERM)

    return show


@pytest.fixture(scope="module")
def straight(cache, weights, tmp_path_factory):
    """A run from beginning to end."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sam2.modeling.config.PRESETS, "small", miniature.SMALL)
        train_nano(CONFIG, cache, folder, initial=weights, progress=silent)
    return folder


def test_all_is_trained_measured_and_kept(straight, weights):
    trained = read_weights(straight)
    changed = {name for name, value in weights.items() if not trained[name].equal(value)}
    assert any(name.startswith("memory_attention.") for name in changed)
    assert any(name.startswith("image_encoder.trunk.") for name in changed)
    assert len(changed) > 0.9 * len(weights)

    steps, validation = read_log(straight)
    assert steps["step"] == 4
    assert steps["loss"] > 0
    assert steps["clip_loss"] > 0
    assert 0 <= steps["last_iou"] <= 1
    assert {"box_iou", "click_iou_1", "click_iou_5", "j_and_f", "score"} <= set(validation)
    assert {path.name for path in straight.iterdir()} == {
        *("best.pt", "checkpoint.pt", "config.yaml", "curve.png", "last", "log.jsonl", "pictures", RECIPE)
    }
    recipe = yaml.safe_load((straight / RECIPE).read_text())
    assert (recipe["clip_share"], recipe["simulation"]["box_noise"]) == (0.5, 0.1)
    assert is_over(straight)


def test_a_run_that_is_stopped_and_resumed_equals_one_that_is_not(straight, weights, cache, tmp_path):
    stopped = train_nano(CONFIG, cache, tmp_path, initial=weights, progress=stopping_at(1))
    assert stopped.stopped
    assert stopped.step == 2  # the step at hand is finished
    assert not is_over(tmp_path)
    with pytest.raises(FileExistsError):
        train_nano(CONFIG, cache, tmp_path, initial=weights, progress=silent)

    assert train_nano(CONFIG, cache, tmp_path, resume=True, progress=silent).step == 4

    expected, found = read_weights(straight), read_weights(tmp_path)
    for name, value in expected.items():
        assert found[name].equal(value), name


def test_a_finished_run_goes_on_with_more_steps_alone(weights, cache, tmp_path):
    config = replace(CONFIG, steps=1, clip_share=0.0, validation_objects=0)
    train_nano(config, cache, tmp_path, initial=weights, progress=silent)
    assert train_nano(config, cache, tmp_path, resume=True, progress=silent).step == 1
    assert train_nano(replace(config, steps=2), cache, tmp_path, resume=True, progress=silent).step == 2
    with pytest.raises(ValueError, match=r"was saved by a training with model .*small"):
        train_nano(replace(config, model="nano", steps=3), cache, tmp_path, resume=True, progress=silent)


def test_a_step_on_a_clip_leaves_the_image_encoder_and_one_on_stills_the_memory(weights, cache, tmp_path):
    for share, kept in ((1.0, "image_encoder."), (0.001, "memory_attention.")):
        config = replace(
            CONFIG, steps=1, clip_share=share, fresh_memory=False, validation_objects=0, validation_clips=0
        )
        train_nano(config, cache, tmp_path / str(share), initial=weights, progress=silent)
        trained = read_weights(tmp_path / str(share))
        assert all(trained[name].equal(value) for name, value in weights.items() if name.startswith(kept))


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch's wheels for Windows have no libuv rendezvous")
def test_two_processes_train_one_model(weights, cache, tmp_path):
    """By the command itself, on nano at a small size."""
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "start.pt", build_model(NANO).state_dict(), notes={"config": "nano"}, course={})
    options = "--steps 2 --sizes 256 --clip-sizes 256 --clip-share 0.5 --batch-size 1 --masks 1 --clip-batch 1"
    given = ["--cache", str(cache), "--out", str(tmp_path / "run"), "--init", str(tmp_path / "start.pt")]
    more = [
        "--workers",
        "0",
        "--device",
        "cpu",
        "--validation-objects",
        "0",
        "--validation-clips",
        "0",
        "--keep-memory",
    ]
    command = [sys.executable, "-W", "error::UserWarning", "-m", "sam2.train.nano", *options.split(), *given, *more]
    assert run_together(command, 2) == 0
    (entry,) = read_log(tmp_path / "run")
    assert entry["step"] == 2
    assert {"still_loss", "clip_loss"} <= set(entry)


def test_rates_of_every_parameter():
    torch.manual_seed(0)
    model = build_model(miniature.SMALL)
    config = replace(CONFIG, memory_rate=7e-3, learning_rate=2e-4)
    optim = optim_config(model, config)
    rates = {name: g["base_lr"] for g in build_optimizer(model, optim).param_groups for name in g["names"]}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    for name, rate in rates.items():
        if not name.startswith(IMAGE_PARTS):
            assert rate == 7e-3
        elif name.startswith("image_encoder.trunk."):
            assert config.trunk_limits[0] <= rate <= config.trunk_limits[1]
        else:
            assert rate == 2e-4


def test_only_what_an_image_reaches_is_trained_on_images():
    model = build_model(miniature.SMALL)
    freeze(model, optim_config(model, replace(CONFIG, clip_share=0.0)))
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"image_encoder", "sam_prompt_encoder", "sam_mask_decoder", "no_mem_embed"}


def test_trunk_rates_follow_the_scale_of_the_weights():
    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            scales = {"a": 2.0**-4, "b": 2.0**-6, "c": 0.0}
            trunk = nn.ParameterDict({name: nn.Parameter(torch.full((3, 3), s)) for name, s in scales.items()})
            self.image_encoder = nn.ModuleDict({"trunk": trunk})

    rates = optim_config(Trunk(), NanoConfig(steps=1, trunk_rate=1e-3)).rates
    assert rates["image_encoder.trunk.a"] == pytest.approx(1e-3 / 16)
    assert rates["image_encoder.trunk.b"] == pytest.approx(1e-3 / 64)
    assert rates["image_encoder.trunk.c"] == NanoConfig(steps=1).trunk_limits[0]


@pytest.fixture
def finished(tmp_path):
    """The folder of a run of nano, as the engine leaves it, and its weights."""
    torch.manual_seed(1)
    weights = {name: value + 0.25 for name, value in build_model(NANO).state_dict().items()}
    folder = tmp_path / "finished"
    course = {"steps": {"train": 5}, "best_meter_values": {"score": 0.5}}
    write_checkpoint(folder / CHECKPOINT, weights, notes={"config": "nano", "image_size": 512}, course=course)
    write_config(TrainConfig(model=ModelChoice(name="nano", weights=None)), folder / ENGINE)
    return folder, weights


def test_exported_weights_are_small_and_load(finished, tmp_path):
    folder, weights = finished
    path = tmp_path / "out" / "nano.safetensors"

    metadata = export_weights(folder, path)

    assert path.stat().st_size <= 16e6
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o644
    assert (metadata["config"], metadata["seed"], metadata["step"]) == ("nano", "123", "5")
    loaded = sam2.load(str(path), device="cpu", dtype="float32").state_dict()
    for name, value in weights.items():
        torch.testing.assert_close(loaded[name], value, atol=2e-3, rtol=2e-3)
    assert set(read_weights(path)) == set(read_weights(folder)) == set(weights)


def test_exported_weights_may_be_mixed_with_earlier_ones(finished, tmp_path):
    folder, weights = finished
    export_weights(folder, tmp_path / "before.safetensors")
    later = {name: value + 0.25 for name, value in weights.items()}
    notes = {"config": "nano", "image_size": 512}
    write_checkpoint(folder / CHECKPOINT, later, notes=notes, course={"steps": {"train": 6}})

    metadata = export_weights(folder, tmp_path / "mixed.safetensors", mix=tmp_path / "before.safetensors", share=0.4)

    mixed = read_checkpoint(tmp_path / "mixed.safetensors")
    assert metadata["mixed"] == "0.4 of before.safetensors"
    for name, value in weights.items():
        torch.testing.assert_close(mixed[name].float(), value + 0.15, atol=4e-3, rtol=4e-3)
    with pytest.raises(ValueError, match="share must be 0 to 1"):
        export_weights(folder, tmp_path / "x", mix=tmp_path / "before.safetensors", share=1.5)


def test_weights_beyond_half_precision_are_refused(finished, tmp_path):
    folder, weights = finished
    broken = {**weights, "no_mem_embed": torch.full_like(weights["no_mem_embed"], 1e6)}
    course = {"steps": {"train": 5}, "best_meter_values": {}}
    write_checkpoint(folder / CHECKPOINT, broken, notes={"config": "nano"}, course=course)
    with pytest.raises(ValueError, match="'no_mem_embed' does not fit half precision"):
        export_weights(folder, tmp_path / "x.safetensors")
