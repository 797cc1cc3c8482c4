"""Photos and a model for the command line: the bundled one where it is there, else one with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sam2.checkpoints import find_local
from sam2.cli.errors import run
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS


@dataclass(frozen=True)
class Outcome:
    """What a call of the command line left behind."""

    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture(scope="session")
def nano_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of nano."""
    bundled = find_local("nano")
    if bundled is not None:
        return bundled
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(build_model(PRESETS["nano"]).state_dict(), path)
    return path


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``sam2`` with arguments, in this process."""

    def call(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture
def scene() -> np.ndarray:
    """A red disk on grey noise, 160 x 120 pixels."""
    noise = np.random.default_rng(0).integers(90, 120, (120, 160, 3)).astype(np.uint8)
    return cv2.circle(noise, (80, 60), 30, (210, 40, 30), -1, cv2.LINE_AA)


@pytest.fixture
def photo(scene: np.ndarray, tmp_path: Path) -> Path:
    """The scene as a JPEG."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(scene).save(path, quality=95)
    return path


@pytest.fixture
def spoil(photo: Path) -> Callable[[str], Path]:
    """Makes files that are not what they seem to be."""

    def make(kind: str) -> Path:
        path = photo.with_name(f"{kind}.jpg")
        data = photo.read_bytes()
        contents: dict[str, bytes] = {
            "empty": b"",
            "truncated": data[: len(data) // 2],
            "text": b"this is no image\n" * 20,
            "header": data[:20],
        }
        path.write_bytes(contents[kind])
        return path

    return make
