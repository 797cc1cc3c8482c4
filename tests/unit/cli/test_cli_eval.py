"""``sam2 eval clicks`` on a data set of two made-up photos."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2.io.palette import write_palette_png

Cli = Callable[..., Any]


@pytest.fixture
def data(scene: np.ndarray, tmp_path: Path) -> Path:
    """A folder laid out as Berkeley's is."""
    folder = tmp_path / "eval" / "berkeley"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:120, :160]
    disk = np.hypot(columns - 80, rows - 60) <= 30
    for number in range(2):
        Image.fromarray(scene).save(folder / "images" / f"{number}.jpg")
        Image.fromarray(disk.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    return folder.parent


def test_scores_are_printed_and_written(cli: Cli, data: Path, nano_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores" / "a.json"
    options = ("--dataset", "berkeley", "--clicks", "2", "--device", "cpu", "--dtype", "float32", "--json", out)
    outcome = cli("eval", "clicks", "--data", data, "--model", nano_file, *options)
    assert outcome.status == 0, outcome.err
    header, titles, row, speed = outcome.out.splitlines()
    assert header.endswith("on cpu, float32: mean IoU")
    assert titles.split("  ")[0] == "data set"
    assert speed.startswith("2 pictures of ")
    assert "6 prompts of " in speed
    record = json.loads(out.read_text())
    scores = record["data_sets"]["berkeley"]
    assert record["dtype"] == "float32"
    assert scores["objects"] == len(scores["per_object"]) == 2
    assert len(scores["clicks"]) == 2
    name, objects, box, first, last, *_ = row.split()
    assert (name, objects) == ("berkeley", "2")
    assert (box, first, last) == tuple(f"{value:.3f}" for value in (scores["box"], *scores["clicks"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "coco"], "unknown data set 'coco'"),
        (["--dataset", ","], "at least one data set"),
        (["--dataset", "grabcut"], "no images with masks of 'grabcut'"),
        (["--clicks", "0"], "--clicks"),
        (["--data", "missing"], "--data missing: no such folder"),
        (["--json", "{data}/berkeley/images/0.jpg/a.json"], "0.jpg is a file"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, data: Path, options: list[str], message: str) -> None:
    options = [option.format(data=data) for option in options]
    outcome = cli("eval", "clicks", "--data", data, *options)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err


@pytest.fixture
def clips(scene: np.ndarray, tmp_path: Path) -> Path:
    """A folder laid out as DAVIS is, with one clip of four frames in which nothing moves."""
    root = tmp_path / "davis"
    disk = np.hypot(*(np.mgrid[:120, :160] - np.array([60, 80])[:, None, None])) <= 30
    for name in ("JPEGImages", "Annotations"):
        (root / name / "480p" / "disk").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(scene).save(root / "JPEGImages" / "480p" / "disk" / f"{number:05d}.jpg")
        write_palette_png(root / "Annotations" / "480p" / "disk" / f"{number:05d}.png", disk.astype(np.uint8))
    return root


def test_tracking_scores_are_printed_and_written(cli: Cli, clips: Path, nano_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores" / "a.json"
    options = ("--device", "cpu", "--dtype", "float32", "--json", out)
    outcome = cli("eval", "vos", "--data", clips, "--model", nano_file, *options)
    assert outcome.status == 0, outcome.err
    header, titles, row, mean, speed = outcome.out.splitlines()
    assert speed.startswith("3 frames tracked, ")
    assert header.endswith("on cpu, float32: J and F from the mask of the first frame")
    assert titles.split() == ["clip", "object", "frames", "J&F", "J", "F"]
    record = json.loads(out.read_text())
    (scores,) = record["per_object"]
    assert (scores["clip"], scores["object"], scores["frames"]) == ("disk", 1, 2)
    marks = [f"{scores[name]:.3f}" for name in ("j_and_f", "j", "f")]
    assert row.split() == ["disk", "1", "2", *marks]
    assert mean.split() == ["mean", "2", *marks]
    assert record["j_and_f"] == pytest.approx((record["j"] + record["f"]) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "cat"], "no clip 'cat'"),
        (["--clips", ","], "at least one clip"),
        (["--data", "missing"], "--data missing: no such folder"),
    ],
)
def test_wrong_usage_of_vos_is_one_line(cli: Cli, clips: Path, options: list[str], message: str) -> None:
    outcome = cli("eval", "vos", "--data", clips, *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
