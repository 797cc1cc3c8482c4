"""``sam2 image --everything`` with a model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2.checkpoints import find_local
from sam2.interop.rle import decode_mask

Cli = Callable[..., Any]
ANY = ("--iou-threshold", "0", "--stability-threshold", "0", "--points-per-side", "3")
"""Whatever the weights, there are masks."""


@pytest.fixture
def options(nano_file: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    return "--everything", "--model", nano_file, "--device", "cpu", "--dtype", "float32", "-o", tmp_path / "out"


def test_masks_come_best_first(cli: Cli, photo: Path, options: Any, tmp_path: Path) -> None:
    outcome = cli("image", photo, *options, *ANY, "--format", "json,png", "--label", "thing")
    assert outcome.status == 0, outcome.err
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    objects = record["objects"]
    assert f"1 image, 1 done, {len(objects)} masks in " in outcome.out
    assert [item["id"] for item in objects] == list(range(1, len(objects) + 1))
    ious = [item["predicted_iou"] for item in objects]
    assert ious == sorted(ious, reverse=True)
    for item in objects:
        mask = decode_mask(item["segmentation"])
        assert mask.shape == (120, 160)
        assert mask.sum() == item["area"] > 0
        with Image.open(tmp_path / "out" / item["mask"]) as png:
            np.testing.assert_array_equal(np.asarray(png) > 0, mask)
        assert item["label"] == "thing"
        assert 0 <= item["stability_score"] <= 1
        ((x, y, label),) = item["prompts"]["points"]
        assert (0 <= x < 160, 0 <= y < 120, label) == (True, True, 1)
    with Image.open(tmp_path / "out" / "photo_overlay.jpg") as overlay:
        assert overlay.size == (160, 120)


def test_small_masks_and_the_rest_are_left_out(cli: Cli, photo: Path, options: Any, tmp_path: Path) -> None:
    def objects(*more: str) -> list[dict[str, Any]]:
        outcome = cli("image", photo, *options, *ANY, "--no-overlay", *more)
        assert outcome.status == 0, outcome.err
        return json.loads((tmp_path / "out" / "photo.json").read_text())["objects"]

    everything = objects("--min-area", "0")
    assert len(everything) > 2
    best = objects("--min-area", "0", "--max-masks", "2")
    assert [item["segmentation"] for item in best] == [item["segmentation"] for item in everything[:2]]
    assert all(item["area"] >= 500 for item in objects("--min-area", "500"))
    assert objects("--min-area", "30000") == []


def test_only_json_by_default(cli: Cli, photo: Path, options: Any, tmp_path: Path) -> None:
    assert cli("image", photo, *options, *ANY).status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo.json", "photo_overlay.jpg"]


@pytest.mark.skipif(find_local("nano") is None, reason="the bundled model is not here")
def test_the_bundled_model_finds_the_disk(cli: Cli, photo: Path, tmp_path: Path) -> None:
    outcome = cli("image", photo, "--everything", "--points-per-side", "4", "--device", "cpu", "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    rows, columns = np.mgrid[:120, :160]
    disk = np.hypot(columns - 80, rows - 60) <= 30
    objects = json.loads((tmp_path / "photo.json").read_text())["objects"]
    masks = [decode_mask(item["segmentation"]) for item in objects]
    assert max((mask & disk).sum() / (mask | disk).sum() for mask in masks) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--everything", "--point", "1,2"], "--point and --everything exclude each other"),
        (["--everything", "--box", "1,2,3,4"], "--box and --everything exclude each other"),
        (["--everything", "--mask", "a.png"], "--mask and --everything exclude each other"),
        (["--everything", "--multimask"], "--everything and --multimask exclude each other"),
        (["--everything", "--label", "1=car"], "give a NAME only"),
        (["--everything", "--points-per-side", "0"], "--points-per-side must be in 1..256, got 0"),
        (["--everything", "--iou-threshold", "1.5"], "--iou-threshold must be in 0..1, got 1.5"),
        (["--everything", "--stability-threshold", "nan"], "--stability-threshold must be in 0..1, got nan"),
        (["--everything", "--min-area", "-1"], "--min-area must be at least 0, got -1"),
        (["--everything", "--max-masks", "0"], "--max-masks must be at least 1, got 0"),
        (["--point", "1,2", "--min-area", "9"], "--min-area goes with --everything"),
        (["--point", "1,2", "--points-per-side", "9"], "--points-per-side goes with --everything"),
        (["--point", "1,2", "--label", "2=car"], "there is no object 2, only 1"),
        (["--point", "1,2", "--label", "=car"], "expected NAME or N=NAME"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, photo: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = cli("image", photo, "-o", tmp_path / "out", *arguments)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
