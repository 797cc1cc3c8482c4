"""Killed in the middle and resumed: the same weights, bit for bit, as without it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_doubles import command, environment, make_discs, small_model_yaml

from sam2.loading.weights import read_checkpoint
from sam2.train.checkpoint import has_state, read_state
from sam2.train.log import read_log


def run(arguments: list[str]) -> None:
    result = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_kill_9_and_resume_gives_the_same_weights(tmp_path: Path) -> None:
    data = make_discs(tmp_path / "data")
    small_model_yaml(data)
    options = {"steps": 9, "save_every": 3, "evaluate_every": 4, "workers": 1}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(command(whole, data, **options))

    process = subprocess.Popen(command(parts, data, **options), env=environment(), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (has_state(parts) and len(read_log(parts)) >= 5):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    saved = read_state(parts)["step"]
    assert 3 <= saved < 9
    run(command(parts, data, resume=True, **options))

    first, second = read_checkpoint(whole / "checkpoint.pt"), read_checkpoint(parts / "checkpoint.pt")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    best = [read_checkpoint(folder / "best.pt") for folder in (whole, parts)]
    assert [name for name in best[0] if not torch.equal(best[0][name], best[1][name])] == []
    losses = [[(e["step"], e["loss"]) for e in read_log(folder) if "loss" in e] for folder in (whole, parts)]
    assert losses[0] == losses[1]
