"""``sam2 eval vos``: masks without a model, parts of data sets, runs that go on, processes, files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., Any]
SIZE = (48, 64)
PALETTE = [0, 0, 0, 200, 10, 10, 10, 200, 10]


def square(x: int, y: int = 10, side: int = 12) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def write_labels(path: Path, objects: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(SIZE, np.uint8)
    for number, mask in enumerate(objects, start=1):
        values[mask] = number
    picture = Image.fromarray(values)
    picture.putpalette(PALETTE)
    picture.save(path)


def write_clip(root: Path, name: str, frames: list[list[np.ndarray]]) -> None:
    for number, objects in enumerate(frames):
        shown = np.zeros((*SIZE, 3), np.uint8)
        for mask in objects:
            shown[mask] = 200
        (root / "JPEGImages" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown).save(root / "JPEGImages" / name / f"{number:05d}.jpg")
        write_labels(root / "Annotations" / name / f"{number:05d}.png", objects)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips of four frames; the second has two objects."""
    root = tmp_path / "data"
    write_clip(root, "one", [[square(10)]] * 4)
    write_clip(root, "two", [[square(5), square(40)]] * 4)
    return root


@pytest.fixture
def found(data: Path, tmp_path: Path) -> Path:
    """Predictions: the truth, but for the second object of the second clip, which is lost on frame 2."""
    folder = tmp_path / "found"
    shutil.copytree(data / "Annotations", folder)
    write_labels(folder / "two" / "00002.png", [square(5)])
    return folder


def test_masks_are_scored_without_a_model(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "a.json"
    outcome = cli("eval", "vos", "--data", data, "--predictions", found, "--json", out)
    assert outcome.status == 0, outcome.err
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[2:] == [
        ["one", "1", "2", "1.000", "1.000", "1.000"],
        ["two", "1", "2", "1.000", "1.000", "1.000"],
        ["two", "2", "2", "0.500", "0.500", "0.500"],
        ["two", "all", "4", "0.750", "0.750", "0.750"],
        ["mean", "6", "0.833", "0.833", "0.833"],  # over the three objects, not over the clips
    ]
    record = json.loads(out.read_text())
    assert record["j_and_f"] == pytest.approx(2.5 / 3)
    assert [item["clip"] for item in record["per_sequence"]] == ["one", "two"]
    last = record["per_object"][-1]
    assert (last["j_recall"], last["j_decay"]) == (0.5, 1.0)
    assert last["per_frame"] == {"frame": [1, 2], "j": [1.0, 0.0], "f": [1.0, 0.0]}


def test_a_part_is_refused_unless_asked_for(cli: Cli, data: Path, found: Path) -> None:
    shutil.rmtree(found / "one")
    (found / "two" / "00001.png").unlink()
    whole = ("eval", "vos", "--data", data, "--predictions", found)
    outcome = cli(*whole)
    assert outcome.status == 2
    assert "one: no masks" in outcome.err
    assert "--partial" in outcome.err
    outcome = cli(*whole, "--clips", "two")
    assert outcome.status == 2
    assert "00001.png" in outcome.err
    outcome = cli(*whole, "--partial")
    assert outcome.status == 0, outcome.err
    assert "not there: one: no masks" in outcome.out
    assert "not there: 1 frames of predictions" in outcome.out
    assert outcome.out.splitlines()[-1].split() == ["mean", "2", "0.500", "0.500", "0.500"]


def test_sequences_of_the_list_have_to_be_there(cli: Cli, data: Path, found: Path) -> None:
    listed = data / "ImageSets" / "2017" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("one\nthree\n")
    outcome = cli("eval", "vos", "--data", data, "--predictions", found)
    assert outcome.status == 2
    assert "three: no annotations" in outcome.err
    outcome = cli("eval", "vos", "--data", data, "--predictions", found, "--partial")
    assert outcome.status == 0, outcome.err
    assert [line.split()[0] for line in outcome.out.splitlines()[2:]] == ["one", "not", "mean"]


def test_a_run_goes_on_behind_what_is_finished(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    arguments = ("eval", "vos", "--data", data, "--predictions", found, "--json", out)
    first = cli(*arguments)
    journal = out.with_suffix(".jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    journal.write_text("".join(lines[:2]) + lines[2][:20])  # killed while the last clip was being written
    shutil.rmtree(found / "one")  # cannot be scored again
    (found / "one").mkdir()
    second = cli(*arguments, "--resume")
    assert second.status == 0, second.err
    assert second.out == first.out
    assert journal.read_text().splitlines(keepends=True)[:2] == lines[:2]


def test_other_settings_do_not_go_on(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    assert cli("eval", "vos", "--data", data, "--predictions", found, "--json", out).status == 0
    shutil.copytree(found, tmp_path / "others")
    options = ("--predictions", tmp_path / "others", "--json", out, "--resume")
    outcome = cli("eval", "vos", "--data", data, *options)
    assert outcome.status == 2
    assert "is of another run: predictions was" in outcome.err
    outcome = cli("eval", "vos", "--data", data, "--predictions", found, "--resume")
    assert outcome.status == 2
    assert "--resume needs --json" in outcome.err


@pytest.mark.slow
def test_processes_share_the_clips(cli: Cli, data: Path, found: Path) -> None:
    alone = cli("eval", "vos", "--data", data, "--predictions", found)
    shared = cli("eval", "vos", "--data", data, "--predictions", found, "--workers", "2")
    assert shared.status == 0, shared.err
    assert sorted(shared.out.splitlines()) == sorted(alone.out.splitlines())
    (found / "two" / "00001.png").write_bytes(b"no picture")
    broken = cli("eval", "vos", "--data", data, "--predictions", found, "--workers", "2")
    assert broken.status == 2
    assert "00001.png cannot be read" in broken.err


def test_plots(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    outcome = cli("eval", "vos", "--data", data, "--predictions", found, "--plots", tmp_path / "plots")
    assert outcome.status == 0, outcome.err
    for name in ("per_sequence.png", "over_time.png"):
        with Image.open(tmp_path / "plots" / name) as picture:
            assert min(picture.size) > 100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10


@pytest.mark.slow
def test_tracked_masks_lie_as_the_annotations_do(cli: Cli, data: Path, nano_file: Path, tmp_path: Path) -> None:
    """Palette in, palette out, of every frame; scored again they come to the same."""
    masks, out, again = tmp_path / "masks", tmp_path / "a.json", tmp_path / "b.json"
    options = ("--model", nano_file, "--device", "cpu", "--dtype", "float32", "--masks", masks, "--json", out)
    outcome = cli("eval", "vos", "--data", data, *options)
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[-1].startswith("8 frames tracked, ")
    assert sorted(p.relative_to(masks).as_posix() for p in masks.rglob("*.png")) == [
        f"{clip}/{number:05d}.png" for clip in ("one", "two") for number in range(4)
    ]
    with Image.open(masks / "two" / "00003.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == PALETTE
    assert cli("eval", "vos", "--data", data, "--predictions", masks, "--json", again).status == 0
    first, second = json.loads(out.read_text()), json.loads(again.read_text())
    assert first["per_object"] == second["per_object"]
    assert first["speed"]["frames"] == 8
    assert first["speed"]["frames_per_second"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "vot"], "layout must be auto, davis2016"),
        (["--split", "train"], "no list 'train'"),
        (["--predictions", "nowhere"], "--predictions nowhere: no such folder"),
        (["--predictions", "{data}", "--masks", "masks"], "--masks writes what a model finds"),
        (["--predictions", "{data}"], "no folder is called as one of the 2 clips"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_wrong_usage_is_said_in_one_line(cli: Cli, data: Path, options: list[str], message: str) -> None:
    outcome = cli("eval", "vos", "--data", data, *(option.format(data=data) for option in options))
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err


def test_which_frames_count_is_a_choice(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    whole = ("eval", "vos", "--data", data, "--predictions", found, "--clips", "two", "--json", tmp_path / "a.json")
    means = {}
    for rule in ("between", "after_prompt", "all"):
        outcome = cli(*whole, "--count", rule)
        assert outcome.status == 0, outcome.err
        record = json.loads((tmp_path / "a.json").read_text())
        assert record["counting"] == rule
        means[rule] = record["j"]
    # object 2 is lost on one of 2, 3 and 4 frames, object 1 on none
    assert means == pytest.approx({"between": (1 + 1 / 2) / 2, "after_prompt": (1 + 2 / 3) / 2, "all": (1 + 3 / 4) / 2})
    outcome = cli(*whole, "--count", "all", "--resume")
    assert outcome.status == 0, outcome.err
    outcome = cli(*whole, "--count", "between", "--resume")
    assert outcome.status == 2
    assert "counting was 'all', is 'between'" in outcome.err
    outcome = cli(*whole, "--count", "some")
    assert outcome.status == 2
    assert "counting must be between, after_prompt, all" in outcome.err


def test_holes_are_filled_or_left(cli: Cli, data: Path, nano_file: Path, tmp_path: Path) -> None:
    for options in ([], ["--no-postprocessing"]):
        out = tmp_path / "a.json"
        chosen = ("--clips", "one", "--model", nano_file, "--device", "cpu", "--dtype", "float32", "--json", out)
        outcome = cli("eval", "vos", "--data", data, *chosen, *options)
        assert outcome.status == 0, outcome.err
        assert json.loads(out.read_text())["postprocessing"] is not bool(options)


def test_resuming_measures_what_has_come_since(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    options = ("eval", "vos", "--data", data, "--predictions", found, "--json", tmp_path / "a.json", "--partial")
    late = found / "one" / "00002.png"
    mask = late.read_bytes()
    late.unlink()
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        shutil.move(data / kind / "two" / f"00003.{suffix}", tmp_path / kind)
    assert "not there: 1 frames of predictions" in cli(*options).out
    late.write_bytes(mask)
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        shutil.move(tmp_path / kind, data / kind / "two" / f"00003.{suffix}")
    outcome = cli(*options, "--resume")
    assert "not there" not in outcome.out
    assert [item["frames"] for item in json.loads((tmp_path / "a.json").read_text())["per_object"]] == [2, 2, 2]


def test_a_folder_is_no_file_for_scores(cli: Cli, data: Path, found: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").mkdir()
    outcome = cli("eval", "vos", "--data", data, "--predictions", found, "--json", tmp_path / "scores.json")
    assert outcome.status == 2
    assert "scores.json: is a folder, expected a file" in outcome.err
    assert not outcome.out
