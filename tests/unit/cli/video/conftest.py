"""A clip, and a model that tracks it in no time in place of whatever ``--model`` says."""

import sys
from pathlib import Path

import numpy as np
import pytest

import sam2
from sam2.io.video_writer import VideoWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tracking"))

from small_tracker import clip, tracker

LENGTH = 12


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sam2.load`` gives a small tracker with random weights."""

    def load(name: str, **_: object) -> object:
        if name != "nano":
            raise ValueError(f"unknown model {name!r}")
        return tracker()

    monkeypatch.setattr(sam2, "load", load)


@pytest.fixture
def pictures() -> np.ndarray:
    """[T, 96, 128, 3] uint8."""
    return clip(LENGTH)


@pytest.fixture
def movie(pictures: np.ndarray, tmp_path: Path) -> Path:
    """The clip as a file of 20 frames a second."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, fps=20) as writer:
        for picture in pictures:
            writer.write(picture)
    return path
