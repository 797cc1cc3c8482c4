"""``sam2 eval clicks``: protocols, training data of any format, runs that go on, processes, plots."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., Any]


@pytest.fixture
def pairs(scene: np.ndarray, tmp_path: Path) -> Path:
    """Training data: two photos with a mask each."""
    root = tmp_path / "pairs"
    rows, columns = np.mgrid[:120, :160]
    disk = np.hypot(columns - 80, rows - 60) <= 30
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(scene).save(root / "images" / f"{number}.jpg")
        Image.fromarray(disk.astype(np.uint8) * 255).save(root / "masks" / f"{number}.png")
    return root


@pytest.fixture
def measure(cli: Cli, nano_file: Path) -> Callable[..., Any]:
    """Runs the command with nano on the CPU."""

    def call(data: Path, *options: str | Path) -> Any:
        fixed = ("--model", nano_file, "--device", "cpu", "--dtype", "float32")
        return cli("eval", "clicks", "--data", data, *fixed, *options)

    return call


def test_training_data_of_any_format(measure: Callable[..., Any], pairs: Path, tmp_path: Path) -> None:
    out, plots = tmp_path / "a.json", tmp_path / "plots"
    outcome = measure(
        pairs,
        "--format",
        "auto",
        "--limit",
        "1",
        "--protocol",
        "ritm",
        "--clicks",
        "3",
        "--json",
        out,
        "--plots",
        plots,
    )
    assert outcome.status == 0, outcome.err
    _, titles, row, speed = outcome.out.splitlines()
    assert titles.split() == ["data", "set", "objects", "box", "1", "click", "3", "clicks", "NoC@85", "NoC@90"]
    assert row.split()[:2] == ["pairs", "1"]
    assert speed.startswith("1 pictures of ")
    record = json.loads(out.read_text())
    assert record["protocol"] == "ritm"
    assert record["speed"]["prompts"] == 4
    (item,) = record["data_sets"]["pairs"]["per_object"]
    assert len(item["clicks"]) == 3
    with Image.open(plots / "iou_over_clicks.png") as picture:
        assert min(picture.size) > 100


def test_a_run_goes_on_behind_what_is_finished(measure: Callable[..., Any], pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    options = ("--format", "pairs", "--clicks", "1", "--json", out)
    first = measure(pairs, *options)
    assert first.status == 0, first.err
    journal = out.with_suffix(".jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    journal.write_text("".join(lines[:2]))  # killed before the second picture
    (pairs / "images" / "0.jpg").write_bytes(b"no photo any more")
    second = measure(pairs, *options, "--resume")
    assert second.status == 0, second.err
    assert second.out.splitlines()[:3] == first.out.splitlines()[:3]
    other = measure(pairs, *options[:2], "--clicks", "2", "--json", out, "--resume")
    assert other.status == 2
    assert "is of another run: clicks was 1, is 2" in other.err


def test_what_cannot_be_read_is_named_or_left_out(measure: Callable[..., Any], pairs: Path) -> None:
    (pairs / "images" / "0.jpg").write_bytes(b"no photo")
    options = ("--format", "pairs", "--clicks", "1")
    outcome = measure(pairs, *options)
    assert outcome.status == 2
    assert "0.jpg" in outcome.err
    assert "--partial" in outcome.err
    outcome = measure(pairs, *options, "--partial")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[2].split()[:2] == ["pairs", "1"]
    assert "left out: " in outcome.out
    assert "0.jpg" in outcome.out


def test_what_cannot_be_read_of_the_known_data_sets(measure: Callable[..., Any], pairs: Path) -> None:
    (pairs / "images" / "0.jpg").write_bytes(b"no photo")
    options = ("--dataset", "berkeley", "--clicks", "1")
    outcome = measure(pairs, *options)
    assert outcome.status == 2
    assert "--partial" in outcome.err
    outcome = measure(pairs, *options, "--partial")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[2].split()[:2] == ["berkeley", "1"]
    assert "0.jpg" in outcome.out.splitlines()[3]


def test_resuming_reads_what_was_mended_and_added(measure: Callable[..., Any], pairs: Path, tmp_path: Path) -> None:
    photo = (pairs / "images" / "1.jpg").read_bytes()
    (pairs / "images" / "1.jpg").write_bytes(b"no photo")
    options = ("--format", "pairs", "--clicks", "1", "--json", tmp_path / "a.json")
    assert measure(pairs, *options, "--partial").status == 0
    (pairs / "images" / "1.jpg").write_bytes(photo)
    for folder, suffix in (("images", "jpg"), ("masks", "png")):  # now the first of three
        (pairs / folder / f"-.{suffix}").write_bytes((pairs / folder / f"0.{suffix}").read_bytes())
    outcome = measure(pairs, *options, "--resume")
    assert outcome.status == 0, outcome.err
    assert "left out" not in outcome.out
    rows = json.loads((tmp_path / "a.json").read_text())["data_sets"]["pairs"]["per_object"]
    assert [item["name"].split("/")[1].split(".")[0] for item in rows] == ["-", "0", "1"]


@pytest.mark.slow
def test_processes_share_the_pictures(measure: Callable[..., Any], pairs: Path) -> None:
    options = ("--format", "pairs", "--clicks", "2")
    alone, shared = measure(pairs, *options), measure(pairs, *options, "--workers", "2")
    assert shared.status == 0, shared.err
    assert shared.out.splitlines()[:3] == alone.out.splitlines()[:3]
    assert "in each of 2 processes" in shared.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "dice"], "--protocol must be sam or ritm, got 'dice'"),
        (["--protocol", "ritm", "--oracle"], "oracle chooses among three masks"),
        (["--format", "vhs"], "format must be auto"),
        (["--format", "coco"], "pairs"),
        (["--resume"], "--resume needs --json"),
        (["--limit", "3"], "of training data: say what it is with --format"),
    ],
)
def test_wrong_usage_is_said_in_one_line(cli: Cli, pairs: Path, options: list[str], message: str) -> None:
    outcome = cli("eval", "clicks", "--data", pairs, *options)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
