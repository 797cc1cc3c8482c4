"""``sam2 data check``: a report on stdout, a sheet, JSON, and an exit status."""

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
    """Three photos with masks."""
    folder = tmp_path / "disks"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:120, :160]
    disk = np.hypot(columns - 80, rows - 60) <= 30
    for number in range(3):
        Image.fromarray(scene).save(folder / "images" / f"{number}.png")
        Image.fromarray(disk.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    return folder


def test_a_sound_data_set(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    outcome = cli("data", "check", pairs, "-o", tmp_path / "out", "--json", tmp_path / "report" / "a.json")

    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "disks: pairs (masks: black and white)"
    assert any(line.split() == ["records", "3", "stills"] for line in lines)
    assert lines[-2].split(maxsplit=1) == ["verdict", "nothing bad"]
    record = json.loads((tmp_path / "report" / "a.json").read_text())
    assert (record["format"], record["objects"], record["bad"]) == ("pairs", 3, [])
    with Image.open(tmp_path / "out" / "samples.png") as sheet:
        assert sheet.width > 300
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 50


def test_bad_samples_are_listed(cli: Cli, pairs: Path) -> None:
    (pairs / "images" / "1.png").write_bytes((pairs / "images" / "1.png").read_bytes()[:500])
    outcome = cli("data", "check", pairs, "--all")

    assert outcome.status == 1
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("  bad "))
    assert "images/1.png" in line
    assert "truncated or corrupt" in line
    assert outcome.err == ""


def test_options_are_those_of_a_source(cli: Cli, pairs: Path) -> None:
    labels = np.zeros((120, 160), np.uint8)
    labels[:40, :40], labels[60:100, 60:90], labels[:5, 100:] = 1, 1, 7
    for number in range(3):
        Image.fromarray(labels).save(pairs / "masks" / f"{number}.png")

    for options, objects in (
        ((), 6),
        (("--instances", "components"), 9),
        (("--exclude", "7"), 3),
        (("--ignore", "1"), 3),
        (("--min-area", "1000"), 6),
        (("--values", "binary"), 3),
    ):
        outcome = cli("data", "check", pairs, *options)
        (line,) = (line for line in outcome.out.splitlines() if line.startswith("  objects "))
        assert line.split()[1] == f"{objects};", options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{pairs}/nowhere"], "nowhere: no such file or folder"),
        (["{pairs}/images"], "no masks found"),
        (["{pairs}", "--format", "coco"], "no COCO file"),
        (["{pairs}", "--format", "pascal"], "format must be auto, sav"),
        (["{pairs}", "--images", "elsewhere"], "images elsewhere: no such"),
        (["{pairs}", "--instances", "some"], "instances"),
        (["{pairs}", "--ignore", "none"], "--ignore must be whole numbers"),
        (["{pairs}", "-o", "{pairs}/images/0.png"], "is a file"),
    ],
)
def test_what_cannot_be_used_is_one_line(cli: Cli, pairs: Path, arguments: list[str], message: str) -> None:
    outcome = cli("data", "check", *(argument.format(pairs=pairs) for argument in arguments))

    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
