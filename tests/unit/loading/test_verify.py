"""``sam2 models verify``: what it says of good files, damaged ones, and real ones where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sam2.checkpoints import CHECKPOINTS, Checkpoint
from sam2.loading import verify
from sam2.loading.download import file_sha256
from sam2.loading.verify import Check, prepare_photo, read_photo, verify_checkpoint
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO, PRESETS


def save(state_dict: dict[str, Tensor], path: Path) -> Path:
    torch.save({"model": state_dict}, path)
    return path


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return dict(build_model(NANO).state_dict())


def by_subject(checks: list[Check]) -> dict[str, bool | None]:
    return {check.what: check.passed for check in checks}


def test_a_fine_tune_is_sound_but_of_unknown_origin(weights: dict[str, Tensor], tmp_path: Path) -> None:
    checks = by_subject(verify_checkpoint(save(weights, tmp_path / "mine.pt")))

    assert checks == {"file": None, "model": True, "weights": True, "logits": None}


def test_a_known_file_is_known_by_its_bytes(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(weights, tmp_path / "renamed.pt")
    entry = Checkpoint("known", "known.pt", "https://nowhere.invalid", path.stat().st_size, file_sha256(path))
    monkeypatch.setitem(CHECKPOINTS, "known", entry)

    assert verify_checkpoint(path)[0] == Check("file", True, "byte for byte known.pt")


def test_an_official_name_with_other_bytes_fails(weights: dict[str, Tensor], tmp_path: Path) -> None:
    check = verify_checkpoint(save(weights, tmp_path / "sam2_hiera_large.pt"))[0]

    assert check.passed is False
    assert "looks like sam2_hiera_large.pt but its SHA-256 is" in check.detail


def test_a_missing_weight_fails(weights: dict[str, Tensor], tmp_path: Path) -> None:
    del weights["no_obj_ptr"]

    check = verify_checkpoint(save(weights, tmp_path / "mine.pt"))[-1]

    assert (check.what, check.passed) == ("weights", False)
    assert "1 missing: no_obj_ptr" in check.detail


def test_a_weight_that_is_no_number_fails(weights: dict[str, Tensor], tmp_path: Path) -> None:
    weights["no_obj_ptr"] = torch.full_like(weights["no_obj_ptr"], float("nan"))

    check = verify_checkpoint(save(weights, tmp_path / "mine.pt"))[2]

    assert (check.what, check.passed) == ("weights", False)
    assert "no_obj_ptr" in check.detail


def test_another_photo_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1800, 1200)).save(tmp_path / "truck.jpg")

    with pytest.raises(ValueError, match=r"is not truck\.jpg of the SAM 2 notebooks"):
        read_photo(tmp_path / "truck.jpg")
    with pytest.raises(FileNotFoundError, match="no image"):
        read_photo(tmp_path / "gone.jpg")


def test_the_photo_is_resized_and_normalised() -> None:
    pixels = prepare_photo(Image.fromarray(np.full((30, 40, 3), 255, np.uint8)))

    assert pixels.shape == (1, 3, 1024, 1024)
    assert torch.allclose(
        pixels[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


@pytest.mark.slow
def test_random_weights_do_not_pass_for_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "truck.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1200, 1800, 3), dtype=np.uint8)).save(photo)
    monkeypatch.setattr(verify, "PHOTO_SHA256", file_sha256(photo))
    path = save(build_model(PRESETS["sam2.1_hiera_tiny"]).state_dict(), tmp_path / "tiny.pt")

    logits = [check for check in verify_checkpoint(path, photo) if check.what == "logits"]

    assert len(logits) == 4
    assert not any(check.passed for check in logits)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name != "nano"])
def test_the_official_checkpoints(name: str) -> None:
    folder = Path(os.environ["SAM2_WEIGHTS_DIR"])
    path = folder / CHECKPOINTS[name].filename
    if not path.is_file():
        pytest.skip(f"{path.name} is not in SAM2_WEIGHTS_DIR")
    photo = folder / "truck.jpg"

    checks = verify_checkpoint(path, photo if photo.is_file() else None)

    assert not [check for check in checks if check.passed is False]
    if name == verify.PUBLISHED_FOR and photo.is_file():
        assert all(check.passed for check in checks)
