"""What holds for every test: no download, no leak of random state, and marks that say why a test did not run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


def pytest_configure() -> None:
    """Ctrl-C is tested; a shell that starts the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run; where SAM2_REQUIRE_GPU or SAM2_REQUIRE_WEIGHTS is set, fail instead."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        _skip("GPU", "needs a CUDA device")
    if item.get_closest_marker("weights") and not os.environ.get("SAM2_WEIGHTS_DIR"):
        _skip("WEIGHTS", "needs Meta's checkpoints in SAM2_WEIGHTS_DIR")


def _skip(what: str, reason: str) -> None:
    if os.environ.get(f"SAM2_REQUIRE_{what}"):
        pytest.fail(f"SAM2_REQUIRE_{what} is set, but the test {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def same_random_state() -> Iterator[None]:
    """Every test starts from the same random state and leaves none behind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or fills the user's caches."""
    for variable in ("SAM2_CACHE", "HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
