"""The loop: what it leaves in its folder, how it stops and goes on, and what it does about numbers that are none."""

import errno
import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from training_doubles import make_discs, run_small, silent, small_model_yaml, small_training, stopping_at

import sam2
from sam2.build_sam import build_sam2
from sam2.loading.official_yaml import parse_official
from sam2.loading.weights import read_checkpoint
from sam2.loading.yaml_reader import read_yaml
from sam2.modeling.build import build_model
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import PromptBatch
from sam2.train.checkpoint import read_state, write_checkpoint, write_whole
from sam2.train.config import read_config
from sam2.train.log import read_log
from sam2.train.lora import TARGETS, LoraConfig
from sam2.train.objective import Objective
from sam2.train.trainer import MAX_SKIPPED, train


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def trained(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of four steps with everything in it."""
    folder = tmp_path_factory.mktemp("run") / "trained"
    run_small(folder, discs, evaluate_every=2, pictures=2, keep=1, trackers=("tensorboard",))
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoint.pt")


def assert_same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def logits_of(model: SAM2Base) -> torch.Tensor:
    pixels = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    prompts = PromptBatch(torch.tensor([[[100.0, 120.0]]]), torch.tensor([[1]]))
    with torch.inference_mode():
        features = model.eval().encode_image(pixels)
        embed = model.condition_on_nothing(features.embed)
        return model.decode_masks(embed, features.high_res, prompts, multimask=True).logits


# ------------------------------------------------------------------ what it leaves


def test_everything_is_in_the_folder(trained: Path) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}

    assert {"config.yaml", "log.jsonl", "curve.png", "checkpoint.pt", "best.pt", "last/state.pt"} <= names
    assert {"pictures/2.png", "pictures/4.png", "checkpoints/4.pt"} <= names
    assert "checkpoints/2.pt" not in names  # keep is 1
    assert any(name.startswith("tensorboard/events") for name in names)
    assert not any("partial" in name or name.endswith(".tmp") for name in names)


def test_the_log_has_a_line_a_step_and_validation(trained: Path) -> None:
    entries = read_log(trained)

    assert [entry["step"] for entry in entries] == [1, 2, 2, 3, 4, 4]
    steps = [entry for entry in entries if "event" not in entry]
    assert all({"loss", "mask", "dice", "iou", "presence", "norm", "rate"} <= entry.keys() for entry in steps)
    assert all(entry["images_per_second"] > 0 and entry["memory_mb"] > 0 for entry in steps)
    assert all(0 <= entry["score"] <= 1 for entry in entries if entry.get("event") == "validation")


def test_the_configuration_is_kept_and_reads_back(trained: Path, discs: Path) -> None:
    expected = small_training(
        discs / "small.yaml", discs, evaluate_every=2, pictures=2, keep=1, trackers=("tensorboard",)
    )

    assert read_config(trained / "config.yaml") == expected


def test_the_curve_is_a_picture(trained: Path) -> None:
    picture = np.asarray(Image.open(trained / "curve.png").convert("RGB"))

    assert picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_the_checkpoint_is_the_official_kind(trained: Path) -> None:
    content = torch.load(trained / "checkpoint.pt", weights_only=True)

    assert {"model", "epoch", "steps", "time_elapsed", "best_meter_values", "loss"} <= content.keys()
    assert content["steps"] == {"train": 4}
    assert all(value.dtype == torch.float32 for value in content["model"].values())


def test_the_best_checkpoint_is_that_of_the_best_score(trained: Path) -> None:
    scores = {entry["step"]: entry["score"] for entry in read_log(trained) if entry.get("event") == "validation"}
    best = torch.load(trained / "best.pt", weights_only=True)

    first_best = min(step for step, score in scores.items() if score == max(scores.values()))
    assert best["steps"] == {"train": first_best}
    assert best["best_meter_values"]["score"] == pytest.approx(max(scores.values()), abs=1e-5)


# ------------------------------------------------------------------ the checkpoint in use


def test_a_checkpoint_gives_the_logits_of_the_trained_model(trained: Path, discs: Path) -> None:
    state = read_state(trained)
    averages = {**state["model"], **state["average"]["values"]}
    official = parse_official(read_yaml((discs / "small.yaml").read_text()))
    model = build_model(official.config, official.behaviour)
    model.load_state_dict(averages)
    expected = logits_of(model)

    built = build_sam2(discs / "small.yaml", trained / "checkpoint.pt", device="cpu")
    loaded = sam2.load(trained / "checkpoint.pt", device="cpu", dtype="float32")

    assert torch.equal(logits_of(built), expected)
    assert torch.equal(logits_of(loaded), expected)
    assert loaded.image_size == 256


def test_a_checkpoint_of_another_model_is_refused(trained: Path) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        build_sam2("sam2.1_hiera_tiny", trained / "checkpoint.pt", device="cpu")


def test_a_checkpoint_knows_its_image_size(tmp_path: Path) -> None:
    weights = sam2.load("nano", device="cpu", dtype="float32").state_dict()
    write_checkpoint(tmp_path / "x.pt", weights, notes={"config": "nano", "image_size": 320}, course={"epoch": 1})

    assert sam2.load(tmp_path / "x.pt", device="cpu").image_size == 320
    assert sam2.load("nano", device="cpu").image_size == 512


# ------------------------------------------------------------------ stopping and going on


def test_stopped_and_resumed_is_as_never_stopped(discs: Path, tmp_path: Path) -> None:
    whole = run_small(tmp_path / "whole", discs, accumulate=2, save_every=1)
    seen: list[int] = []

    def stop_at_two(step: int, total: int, entry: Mapping[str, Any]) -> None:
        seen.append(step)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    config = small_training(small_model_yaml(discs), discs, accumulate=2)
    stopped = train(config, tmp_path / "parts", progress=stop_at_two)
    resumed = train(config, tmp_path / "parts", resume=True, progress=stop_at_two)

    assert (stopped.stopped, stopped.step, stopped.total) == (True, 3, 4)  # the step at hand is finished
    assert (resumed.stopped, resumed.step, whole.stopped) == (False, 4, False)
    assert seen == [1, 2, 3, 4, 4]
    assert_same(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    first, second = read_state(tmp_path / "parts"), read_state(tmp_path / "whole")
    assert_same(first["model"], second["model"])
    assert torch.equal(first["random"][0]["torch"], second["random"][0]["torch"])


def test_validating_changes_nothing(discs: Path, tmp_path: Path) -> None:
    run_small(tmp_path / "often", discs, steps=3, evaluate_every=1)
    run_small(tmp_path / "never", discs, steps=3)

    assert_same(weights_of(tmp_path / "often"), weights_of(tmp_path / "never"))


def test_a_stop_during_validation_leaves_it_to_the_resumed_run(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, go_on: Any, **__: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        assert not go_on()
        return {}

    with monkeypatch.context() as patched:
        patched.setattr("sam2.train.trainer.validate_records", interrupted)
        stopped = run_small(tmp_path / "run", discs, steps=1)
    resumed = run_small(tmp_path / "run", discs, steps=1, resume=True)

    assert (stopped.stopped, stopped.best_score) == (True, None)
    assert resumed.stopped is False
    assert resumed.best_score is not None


def test_the_log_of_a_resumed_run_has_every_step_once(discs: Path, tmp_path: Path) -> None:
    run_small(tmp_path / "run", discs, steps=3, save_every=3)
    log = tmp_path / "run" / "log.jsonl"
    log.write_text(log.read_text() + json.dumps({"step": 4, "loss": 1.0}) + '\n{"step": 5, "lo')  # killed later on

    run_small(tmp_path / "run", discs, steps=5, resume=True)

    assert [entry["step"] for entry in read_log(tmp_path / "run") if "event" not in entry] == [1, 2, 3, 4, 5]


def test_a_finished_run_has_nothing_to_resume(discs: Path, trained: Path) -> None:
    before = (trained / "checkpoint.pt").stat().st_size, len(read_log(trained))
    result = run_small(trained, discs, resume=True, evaluate_every=2, pictures=2, keep=1, trackers=())

    assert (result.step, result.stopped) == (4, False)
    assert ((trained / "checkpoint.pt").stat().st_size, len(read_log(trained))) == before


def test_a_folder_with_a_training_is_not_overwritten(discs: Path, trained: Path) -> None:
    with pytest.raises(FileExistsError, match="resume"):
        run_small(trained, discs)


def test_a_training_of_another_model_is_not_resumed(discs: Path, trained: Path) -> None:
    config = small_training(discs / "small.yaml", discs)

    with pytest.raises(ValueError, match="dropout"):
        train(replace(config, model=replace(config.model, dropout=0.3)), trained, resume=True, progress=silent)


def test_resuming_nothing_begins(discs: Path, tmp_path: Path) -> None:
    assert run_small(tmp_path / "new", discs, steps=1, resume=True).step == 1


# ------------------------------------------------------------------ what can go wrong


def make_infinite(monkeypatch: pytest.MonkeyPatch, calls: range) -> None:
    """Batches number ``calls`` have a loss that is not a number."""
    forward = Objective.forward
    count = iter(range(1000))

    def run(self: Objective, batch: Any) -> dict[str, torch.Tensor]:
        terms = forward(self, batch)
        return {**terms, "loss": terms["loss"] * torch.nan} if next(count) in calls else terms

    monkeypatch.setattr(Objective, "forward", run)


def test_a_step_that_is_not_finite_is_skipped(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_infinite(monkeypatch, range(1, 2))
    result = run_small(tmp_path / "run", discs, steps=3)
    steps = [entry for entry in read_log(tmp_path / "run") if "event" not in entry]

    assert result.step == 3
    assert [entry["skipped"] for entry in steps] == [0, 1, 0]
    assert "loss" not in steps[1]
    assert all(torch.isfinite(value).all() for value in weights_of(tmp_path / "run").values())


def test_many_steps_that_are_not_finite_end_it(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_infinite(monkeypatch, range(1000))

    with pytest.raises(RuntimeError, match=f"not finite in {MAX_SKIPPED} steps in a row"):
        run_small(tmp_path / "run", discs, steps=50, clips=0.0, log_every=10)


def test_pictures_without_objects_are_survived(tmp_path: Path) -> None:
    data = make_discs(tmp_path / "data", count=4)
    for path in (data / "masks").iterdir():
        if path.stem != "0":  # one is left, or there would be nothing to train on
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    result = run_small(tmp_path / "run", data, steps=4, clips=0.0)

    assert result.step == 4
    entries = [entry for entry in read_log(tmp_path / "run") if "event" not in entry]
    assert min(entry["objects"] for entry in entries) == 0
    assert all(np.isfinite(entry["loss"]) for entry in entries)
    assert "nothing to learn" not in {entry.get("event") for entry in read_log(tmp_path / "run")}


def test_data_without_a_single_object_are_remarked_upon(tmp_path: Path) -> None:
    data = make_discs(tmp_path / "data", count=4)
    for path in (data / "masks").iterdir():
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    result = run_small(tmp_path / "run", data, steps=2, clips=0.0)

    assert result.step == 2
    (said,) = [entry for entry in read_log(tmp_path / "run") if entry.get("event") == "nothing to learn"]
    assert said["cause"] == "no sample of steps 1 to 2 has an object: see 'sam2 data check'"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    write_whole(path, {"step": 1})

    def full(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"state\.pt could not be saved.*still there: No space left"):
        write_whole(path, {"step": 2})

    assert torch.load(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16", "device": "auto"}, "fp16.*CUDA"),
        ({"trackers": ("nonsense",)}, "'nonsense' is not installed or not known"),
        ({"fsdp": True}, "there is one"),
    ],
)
def test_what_cannot_be_is_said(
    discs: Path, tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ValueError, match=message):
        run_small(tmp_path / "run", discs, **changes)


def test_a_configuration_file_has_no_pretrained_weights(discs: Path, tmp_path: Path) -> None:
    config = small_training(small_model_yaml(discs), discs)

    with pytest.raises(ValueError, match=r"model\.weights is 'pretrained', but .*small\.yaml is a configuration"):
        train(replace(config, model=replace(config.model, weights="pretrained")), tmp_path / "run", progress=silent)


def test_the_length_of_a_run_follows_from_epochs(discs: Path) -> None:
    run = small_training(discs / "small.yaml", discs, steps=None, epochs=3, accumulate=2).run

    assert run.total_steps(steps_per_epoch=10) == 15


def test_lora_and_fsdp_are_refused_together(discs: Path, tmp_path: Path) -> None:
    config = small_training(small_model_yaml(discs), discs, fsdp=True)

    with pytest.raises(ValueError, match="lora and fsdp"):
        train(replace(config, lora=LoraConfig()), tmp_path / "run", progress=silent)


# ------------------------------------------------------------------ adapters, and other ways to run


def test_adapters_are_merged_into_plain_checkpoints_and_resumed(discs: Path, trained: Path, tmp_path: Path) -> None:
    start = trained / "checkpoint.pt"
    config = small_training(small_model_yaml(discs), discs, save_every=2, clips=0.0)
    config = replace(config, lora=LoraConfig(rank=2), model=replace(config.model, weights=str(start)))
    train(config, tmp_path / "whole", progress=silent)
    train(config, tmp_path / "parts", progress=stopping_at(1))
    train(config, tmp_path / "parts", resume=True, progress=silent)

    before, after = read_checkpoint(start), weights_of(tmp_path / "whole")
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    layers = [name.removesuffix(".weight") for name in changed]
    assert changed
    assert all(any(fnmatch(layer, pattern) for pattern in TARGETS) for layer in layers)
    assert sam2.load(tmp_path / "whole" / "checkpoint.pt", device="cpu").image_size == 256
    assert_same(after, weights_of(tmp_path / "parts"))


def test_bfloat16_trains_float32_weights(discs: Path, tmp_path: Path) -> None:
    result = run_small(tmp_path / "run", discs, steps=2, precision="bf16")

    assert result.step == 2
    assert all(np.isfinite(entry["loss"]) for entry in read_log(tmp_path / "run") if "event" not in entry)
    assert {value.dtype for value in weights_of(tmp_path / "run").values()} == {torch.float32}


def test_frozen_parts_stay_as_they_are(discs: Path, trained: Path, tmp_path: Path) -> None:
    start = trained / "checkpoint.pt"
    config = small_training(small_model_yaml(discs), discs, steps=2)
    optim = replace(config.optim, frozen=("image_encoder.*",))
    train(
        replace(config, optim=optim, model=replace(config.model, weights=str(start))), tmp_path / "run", progress=silent
    )

    before, after = read_checkpoint(start), weights_of(tmp_path / "run")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "sam_mask_decoder" in changed
    assert "image_encoder" not in changed


def test_kept_embeddings_leave_the_encoder_as_it_is(discs: Path, trained: Path, tmp_path: Path) -> None:
    start = trained / "checkpoint.pt"
    config = small_training(small_model_yaml(discs), discs, steps=2, cache_embeddings=str(tmp_path / "embeddings"))
    config = replace(config, model=replace(config.model, weights=str(start)))
    told: list[Mapping[str, Any]] = []
    train(config, tmp_path / "first", progress=lambda step, total, entry: told.append(entry))
    count = sum(entry.get("event") == "embeddings" for entry in told)
    train(config, tmp_path / "second", progress=lambda step, total, entry: told.append(entry))

    before, after = read_checkpoint(start), weights_of(tmp_path / "first")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "sam_mask_decoder" in changed
    assert "image_encoder" not in changed
    assert count > 0
    assert sum(entry.get("event") == "embeddings" for entry in told) == count  # computed once
    assert_same(after, weights_of(tmp_path / "second"))


def test_a_validation_before_the_first_step_is_of_the_start(discs: Path, tmp_path: Path) -> None:
    run_small(tmp_path / "run", discs, steps=1, evaluate_first=True)
    run_small(tmp_path / "plain", discs, steps=1)

    steps = [entry["step"] for entry in read_log(tmp_path / "run") if entry.get("event") == "validation"]
    assert steps == [0, 1]
    assert_same(weights_of(tmp_path / "run"), weights_of(tmp_path / "plain"))
