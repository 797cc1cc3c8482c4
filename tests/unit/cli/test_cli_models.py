"""``sam2 models`` and ``sam2 doctor``."""

from pathlib import Path
from typing import Any

import pytest
import torch

import sam2.cli.doctor
from sam2.checkpoints import CHECKPOINTS
from sam2.loading import registry
from sam2.loading.download import DownloadError


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_lists_every_checkpoint(arguments: tuple[str, ...], cli: Any) -> None:
    outcome = cli("models", *arguments)

    assert outcome.status == 0
    assert all(name in outcome.out for name in CHECKPOINTS)
    assert "898 MB" in outcome.out
    assert "not here" in outcome.out


def test_pulls_by_any_name(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "download", lambda name: Path("/cache") / name)

    outcome = cli("models", "pull", "facebook/sam2.1-hiera-tiny", "sam2_hiera_l.yaml", "sam2_hiera_small")

    assert outcome.status == 0
    assert [line.split(":")[0] for line in outcome.out.splitlines()] == [
        "sam2.1_hiera_tiny",
        "sam2_hiera_large",
        "sam2_hiera_small",
    ]


def test_a_wrong_name_stops_before_anything_is_downloaded(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str) -> Path:
        raise AssertionError(f"{name} was downloaded")

    monkeypatch.setattr(registry, "download", download)

    outcome = cli("models", "pull", "sam2_hiera_small", "sam5")

    assert outcome.status == 2
    assert "no checkpoint 'sam5'; known are" in outcome.err


@pytest.mark.parametrize(("names", "status"), [(["sam2_hiera_small"], 2), (["sam2_hiera_small", "nano"], 1)])
def test_one_failure_does_not_stop_the_others(
    names: list[str], status: int, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str) -> Path:
        if name == "nano":
            return Path("nano")
        raise DownloadError("no connection")

    monkeypatch.setattr(registry, "download", download)

    outcome = cli("models", "pull", *names)

    assert outcome.status == status
    assert "no connection" in outcome.err
    assert ("nano: nano" in outcome.out) == ("nano" in names)


def test_verifies(cli: Any, nano_file: Path) -> None:
    outcome = cli("models", "verify", nano_file)

    assert outcome.status == 0
    assert "SAM 2 nano" in outcome.out


def test_verify_fails_with_its_status(cli: Any, tmp_path: Path) -> None:
    torch.save({"image_encoder.trunk.stem.weight": torch.zeros(1)}, tmp_path / "odd.pt")

    outcome = cli("models", "verify", tmp_path / "odd.pt")

    assert outcome.status == 1
    assert "FAILED" in outcome.out


def test_verify_of_nothing(cli: Any, tmp_path: Path) -> None:
    assert cli("models", "verify", tmp_path / "gone.pt").status == 2


def test_the_doctor_says_what_is_here(cli: Any) -> None:
    outcome = cli("doctor")

    for word in ("sam2 0.", "torch", "cpu", "bfloat16", "extras", "cache:"):
        assert word in outcome.out
    assert outcome.status == int("PROBLEM" in outcome.out)


def test_the_doctor_says_what_is_missing(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.5.1", "nothing-like-it>=1", 'no-such-extra>=2; extra == "hub"', 'sam2[hub]; extra == "all"']
    monkeypatch.setattr(sam2.cli.doctor, "requires", lambda _: lines)

    outcome = cli("doctor")

    assert outcome.status == 1
    assert "PROBLEM: nothing-like-it is missing: pip install nothing-like-it" in outcome.out
    assert "missing no-such-extra: pip install 'sam2[hub]'" in outcome.out
