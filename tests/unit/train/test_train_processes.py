"""Two processes, each with a batch: what one process does with twice the batch."""

import sys
from pathlib import Path

import pytest
import torch
from training_doubles import command, make_discs, run_together, small_model_yaml

from sam2.loading.weights import read_checkpoint
from sam2.train.log import read_log

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
    pytest.mark.skipif(sys.platform == "win32", reason="PyTorch's wheels for Windows have no libuv rendezvous"),
]

STEPS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_discs(tmp_path_factory.mktemp("together") / "data")
    small_model_yaml(folder)
    return folder


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process with twice the batch of the others. Dropout would differ: it is off in all of them."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    run_together(command(folder, data, steps=STEPS, dropout=0.0, batch_size=2), 1)
    return folder


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_log(folder) if "loss" in entry]


def test_two_processes_have_the_loss_curve_of_one(data: Path, alone: Path, tmp_path: Path) -> None:
    run_together(command(tmp_path / "run", data, steps=STEPS, dropout=0.0, device="auto"), 2)

    assert len(losses(alone)) == STEPS
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=1e-4)
    assert len(set(losses(alone))) == STEPS


def test_sharded_and_resumed_is_the_same_again(data: Path, alone: Path, tmp_path: Path) -> None:
    """FSDP over two processes; what it saves is whole, and resumes."""
    options = {"steps": STEPS, "dropout": 0.0, "fsdp": True}
    run_together(command(tmp_path / "run", data, stop_at=2, **options), 2)
    run_together(command(tmp_path / "run", data, stop_at=5, resume=True, **options), 2)

    assert len(losses(tmp_path / "run")) == 6  # the step at hand is finished
    assert losses(tmp_path / "run") == pytest.approx(losses(alone)[:6], rel=1e-4)
    expected, found = (read_checkpoint(folder / "checkpoint.pt") for folder in (alone, tmp_path / "run"))
    assert {name: value.shape for name, value in found.items()} == {n: v.shape for n, v in expected.items()}
