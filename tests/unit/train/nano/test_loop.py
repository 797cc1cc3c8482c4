"""Runs of a few steps: budgets, stopping, resuming, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sam2
from sam2.checkpoints import read_checkpoint
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO
from sam2.train.nano import loop
from sam2.train.nano.config import TrainConfig
from sam2.train.nano.data.pack import open_packed
from sam2.train.nano.export import export_weights
from sam2.train.nano.launch import run_together
from sam2.train.nano.log import RunLog
from sam2.train.nano.loop import LOG, load_checkpoint, resume, save, start, train
from sam2.train.nano.validate import held_out_objects, validate

CONFIG = TrainConfig(
    model="small", steps=4, sizes=((256, 1.0),), batch_size=2, masks=2, workers=0, validation_objects=1
)

pytestmark = pytest.mark.usefixtures("small_preset")


@pytest.fixture
def begin(weights):
    """A run that starts from the same weights every time, and needs no download."""
    return lambda config=CONFIG: start(config, initial=weights)


def stop_after(monkeypatch, steps, act):
    """Have ``act`` happen in the middle of step number ``steps``."""
    run_step = loop.run_step
    count = 0

    def counted(*args, **options):
        nonlocal count
        count += 1
        if count == steps:
            act()
        return run_step(*args, **options)

    monkeypatch.setattr(loop, "run_step", counted)


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_and_resumed_equals_one_that_is_not(begin, cache, tmp_path, monkeypatch, number):
    straight = train(begin(), cache, tmp_path / "straight")
    assert (straight.step, straight.images) == (4, 8)
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        stop_after(patched, 2, lambda: os.kill(os.getpid(), number))
        stopped = train(begin(), cache, tmp_path / "broken")
    assert stopped.step == 2
    assert lines(tmp_path / "broken")[-1] == {"event": "interrupted", "step": 2}
    assert signal.getsignal(number) is before

    going_on = resume(CONFIG, tmp_path / "broken")
    assert (going_on.step, going_on.images) == (2, 4)
    train(going_on, cache, tmp_path / "broken")

    for name, value in straight.model.state_dict().items():
        torch.testing.assert_close(going_on.model.state_dict()[name], value, atol=1e-5, rtol=1e-5)
    for name, value in straight.average.values.items():
        torch.testing.assert_close(going_on.average.values[name], value, atol=1e-5, rtol=1e-5)


def test_what_a_run_changes_and_leaves_behind(begin, weights, cache, tmp_path):
    run = train(begin(), cache, tmp_path)

    trained = run.model.state_dict()
    changed = {name for name in weights if not trained[name].equal(weights[name])}
    assert changed <= set(run.parameters)
    assert len(changed) > 0.9 * len(run.parameters)
    content = load_checkpoint(tmp_path)
    assert (content["step"], content["config"]["model"]) == (4, "small")
    first, steps, validation = lines(tmp_path)
    assert first["event"] == "start"
    assert steps["step"] == 4
    assert steps["loss"] > 0
    assert validation["event"] == "validation"
    assert content["scores"]["objects"] == validation["objects"] == 1
    assert not list(tmp_path.glob("*.partial"))


def test_the_second_signal_stops_at_once(begin, cache, tmp_path, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    stop_after(monkeypatch, 1, twice)
    with pytest.raises(KeyboardInterrupt):
        train(begin(), cache, tmp_path)


def test_a_step_without_numbers_changes_nothing(begin, cache, tmp_path, monkeypatch):
    run_step = loop.run_step
    config = replace(CONFIG, steps=1)

    def broken(*args, **options):
        result = run_step(*args, **options)
        return replace(result, loss=result.loss * float("nan"))

    run = begin(config)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run_step", broken)
        train(run, cache, tmp_path)
    assert run.step == 1
    assert run.average.updates == 0
    for name, value in run.model.state_dict().items():
        assert value.equal(before[name]), name
    entry = lines(tmp_path)[1]
    assert entry["skipped"] == 1
    assert "loss" not in entry


def test_a_budget_of_minutes_ends(begin, cache, tmp_path):
    config = replace(CONFIG, steps=None, minutes=1.0, validation_objects=0)
    run = begin(config)
    run.elapsed = 59.999
    train(run, cache, tmp_path)
    assert 1 <= run.step <= 2
    assert run.progress >= 1


def test_sizes_follow_the_schedule(begin, cache, tmp_path, monkeypatch):
    config = replace(CONFIG, steps=3, sizes=((256, 0.6), (288, 0.4)), validation_objects=0)
    run, seen = begin(config), []
    run_step = loop.run_step

    def watched(model, batch, **options):
        seen.append((model.image_size, tuple(batch.images.shape[1:3])))
        return run_step(model, batch, **options)

    monkeypatch.setattr(loop, "run_step", watched)
    train(run, cache, tmp_path)
    assert seen == [(256, (256, 256)), (256, (256, 256)), (288, (288, 288))]


def test_a_finished_run_does_not_go_on(begin, cache, tmp_path):
    config = replace(CONFIG, steps=1, validation_objects=0)
    train(begin(config), cache, tmp_path)
    assert train(resume(config, tmp_path), cache, tmp_path).step == 1
    assert train(resume(replace(config, steps=2), tmp_path), cache, tmp_path).step == 2


def test_the_wrong_run_is_not_resumed(begin, tmp_path):
    with pytest.raises(FileNotFoundError):
        resume(CONFIG, tmp_path)
    save(begin(), tmp_path)
    with pytest.raises(ValueError, match=r"holds a run of 'small', config\.model is 'nano'"):
        resume(replace(CONFIG, model="nano"), tmp_path)


def test_validation_measures_the_same_held_out_objects(begin, cache):
    data = open_packed(cache)
    chosen = held_out_objects(data, 10)
    assert chosen == held_out_objects(data, 10)
    assert all(data.images[image]["held_out"] for image, _ in chosen)
    model = begin().model
    scores = validate(model, data, objects=1)
    assert scores is not None
    assert len(scores.objects[0].clicks) == 5
    assert model.training
    assert validate(model, data, objects=0) is None
    assert validate(model, data, objects=1, go_on=lambda: False) is None
    assert model.training


def test_lines_are_averages_and_json(tmp_path, capsys):
    log = RunLog(tmp_path / LOG, images=10, terminal=False)
    log.flush(step=0, progress=0, size=256, images=10)  # nothing to tell
    log.add({"loss": 1.0, "iou_box": float("nan")}, progress=0.1)
    log.add({"loss": 2.0}, progress=0.2)
    log.flush(step=2, progress=0.2, size=256, images=14)
    (entry,) = lines(tmp_path)
    assert (entry["loss"], entry["step"], entry["images"]) == (1.5, 2, 14)
    assert "iou_box" not in entry
    assert "loss 1.5" in capsys.readouterr().out


def test_a_terminal_gets_a_bar_and_a_silent_process_nothing(tmp_path, capsys):
    for silent, terminal in ((False, True), (True, None)):
        log = RunLog(tmp_path / f"{silent}.jsonl", silent=silent, terminal=terminal)
        log.add({"loss": 1.0}, progress=0.5)
        log.flush(step=1, progress=0.5, size=256, images=2)
        log.close()
    assert (tmp_path / "False.jsonl").exists()
    assert not (tmp_path / "True.jsonl").exists()
    assert "training" in capsys.readouterr().out


def test_exported_weights_are_small_and_load(tmp_path):
    torch.manual_seed(1)
    run = start(replace(CONFIG, model="nano"), initial=build_model(NANO).state_dict())
    for value in run.average.values.values():
        value.add_(0.25)  # the average is what is exported
    save(run, tmp_path)
    path = tmp_path / "out" / "nano.safetensors"

    metadata = export_weights(tmp_path, path)

    assert path.stat().st_size <= 16e6
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o644
    assert (metadata["config"], metadata["seed"]) == ("nano", "0")
    loaded = sam2.load(str(path), device="cpu", dtype="float32").state_dict()
    read = read_checkpoint(path)
    for name, value in run.average.values.items():
        torch.testing.assert_close(loaded[name], value, atol=2e-3, rtol=2e-3)
        assert name in read


def test_exported_weights_may_be_mixed_with_earlier_ones(tmp_path):
    run = start(replace(CONFIG, model="nano"), initial=build_model(NANO).state_dict())
    save(run, tmp_path)
    export_weights(tmp_path, tmp_path / "before.safetensors")
    for value in run.average.values.values():
        value.add_(0.25)
    save(run, tmp_path)

    metadata = export_weights(tmp_path, tmp_path / "mixed.safetensors", mix=tmp_path / "before.safetensors", share=0.4)

    before, mixed = read_checkpoint(tmp_path / "before.safetensors"), read_checkpoint(tmp_path / "mixed.safetensors")
    assert metadata["mixed"] == "0.4 of before.safetensors"
    for name in run.average.values:
        torch.testing.assert_close(mixed[name].float(), before[name].float() + 0.15, atol=4e-3, rtol=4e-3)
    with pytest.raises(ValueError, match="share must be 0 to 1"):
        export_weights(tmp_path, tmp_path / "x", mix=tmp_path / "before.safetensors", share=1.5)


def test_weights_beyond_half_precision_are_refused(begin, tmp_path):
    run = begin()
    run.average.values["no_mem_embed"].fill_(1e6)
    save(run, tmp_path)
    with pytest.raises(ValueError, match="'no_mem_embed' does not fit half precision"):
        export_weights(tmp_path, tmp_path / "x.safetensors")


SCRIPT = """
import json, os, sys
import torch
from torch import nn
from sam2.train.nano import parallel
parallel.join("cpu")
rank = parallel.rank()
both, one = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
both.grad = torch.full((2, 2), 1.0 + 2 * rank)
if rank == 0:
    one.grad = torch.ones(3)
numbers = parallel.average_gradients([both, one], [10.0 * rank, float(rank == 1)])
with open(f"{sys.argv[1]}/{rank}.json", "w") as stream:
    json.dump([both.grad.tolist(), one.grad.tolist(), numbers, parallel.world_size()], stream)
parallel.leave()
"""


def test_two_processes_average_gradients(tmp_path):
    assert run_together([sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path)], 2) == 0
    for rank in range(2):
        both, one, numbers, count = json.loads((tmp_path / f"{rank}.json").read_text())
        assert both == [[2.0, 2.0], [2.0, 2.0]]
        assert one == [0.5] * 3  # the process that did not reach it counts as zero
        assert numbers == [5.0, 0.5]
        assert count == 2


def test_when_one_process_fails_the_others_are_ended():
    script = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    assert run_together([sys.executable, "-c", script], 2) == 3
    with pytest.raises(ValueError, match="count must be at least 1"):
        run_together(["true"], 0)


def test_a_wish_to_stop_reaches_the_processes(tmp_path):
    """The launcher, told to end, tells its processes, and waits until they have saved."""
    child = (
        "import os, pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def save(*_):\n"
        "    (folder / ('saved' + os.environ['RANK'])).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(folder / ('ready' + os.environ['RANK'])).touch()\n"
        "time.sleep(600)\n"
    )
    launcher = (
        "import sys\nfrom sam2.train.nano.launch import run_together\n"
        f"sys.exit(run_together([sys.executable, '-c', {child!r}], 2))"
    )
    source = str(Path(sam2.__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-c", launcher], env={**os.environ, "PYTHONPATH": source})
    try:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "ready0").exists() and (tmp_path / "ready1").exists()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert (tmp_path / "saved0").exists()
    assert (tmp_path / "saved1").exists()
