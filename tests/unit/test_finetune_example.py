"""The example of fine-tuning: its pictures are what they say, its commands run to a model that can be used."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sam2
from sam2.loading.weights import load_strict
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.train.data.sources import SourceConfig, open_records

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "finetune"
SHORT = ("--steps", 2, "--image-size", 256, "--set", "run.validation_limit=1", "--set", "data.workers=0")
Cli = Callable[..., Any]


def script(name: str) -> ModuleType:
    """A script of the example as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cli() -> Cli:
    """``sam2 ...`` in this process."""
    from typer.testing import CliRunner

    from sam2.cli.app import app

    def run(*arguments: object) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few pictures."""
    return script("make_cells").make_cells(tmp_path_factory.mktemp("made"), {"train": 4, "validation": 2})


def test_cells_are_many_touch_and_hardly_differ_from_their_ground(cells: Path):
    records = open_records(SourceConfig(path=str(cells / "train")))
    assert len(records) == 4
    touching = 0
    for record in records:
        image, masks = record.image(0).mean(axis=2), record.masks(0)
        assert 7 <= len(masks) <= 14
        labels = np.asarray(Image.open(cells / "train" / "masks" / f"{Path(record.name).stem}.png"))
        across = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
        touching += int(across.any())
        ground = image[labels == 0]
        for mask in masks.values():
            assert mask.sum() > 30
            assert abs(np.median(image[mask]) - np.median(ground)) < 2 * ground.std() + 25
    assert touching >= 3


def test_cells_are_the_same_every_time(cells: Path, tmp_path: Path):
    again = script("make_cells").make_cells(tmp_path, {"train": 1})
    for kind in ("images", "masks"):
        name = Path("train") / kind / "000.png"
        assert (again / name).read_bytes() == (cells / name).read_bytes()


@pytest.mark.slow
def test_the_story_runs_to_a_model_and_a_picture(cells: Path, tmp_path: Path, cli: Cli, monkeypatch):
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    torch.save({"model": build_model(PRESETS["nano"]).state_dict()}, start)
    run = tmp_path / "run"
    data = ("--data", cells / "train", "--val", cells / "validation", "--model", start)
    cli("train", *data, *SHORT, "--set", "run.evaluate_every=1", "-o", run)

    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    picture = script("plot_gain").plot_gain(run, cells / "validation", before=str(start))
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert drawn.shape[0] > 400
    assert drawn.std() > 10

    photo = cells / "validation" / "images" / "000.png"
    cli("image", photo, "--point", "100,120", "--model", run / "best.pt", "-o", tmp_path / "found", "--format", "coco")


@pytest.mark.slow
def test_tiny_with_adapters_by_the_same_command(cells: Path, tmp_path: Path, cli: Cli):
    run = tmp_path / "run"
    data = ("--data", cells / "train", "--val", cells / "validation", "--model", "sam2.1_hiera_tiny", "--lora", 8)
    cli("train", *data, *SHORT, "--batch", 1, "--set", "model.weights=null", "-o", run)

    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(entry["loss"]) for entry in entries if "loss" in entry)
    state = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
    load_strict(build_model(PRESETS["sam2.1_hiera_tiny"]), state, source="checkpoint.pt")
    assert sam2.load(run / "checkpoint.pt").image_size == 256
