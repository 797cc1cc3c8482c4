"""``sam2 image`` from end to end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sam2
from sam2.checkpoints import find_local
from sam2.interop.rle import decode_mask

SOURCE = Path(sam2.__file__).resolve().parent.parent

Cli = Callable[..., Any]
"""The fixture ``cli``: arguments in; status, out and err back."""


def names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in paths)


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_masks_overlay_and_json(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    prompts = ["--box", "45,25,115,95", "--point", "80,60", "--point", "5,5,0", "--point", "2@20.5,100"]
    outcome = cli("image", photo, *prompts, "--dtype", "float32", "--model", nano_file, "--device", "cpu", "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    assert "1 image, 1 done" in outcome.out
    assert "object 2: " in outcome.out
    assert names(out.iterdir()) == [
        "photo.json",
        "photo_object1.png",
        "photo_object2.png",
        "photo_overlay.jpg",
    ]
    record = json.loads((out / "photo.json").read_text())
    assert {key: record[key] for key in ("image", "width", "height", "model")} == {
        "image": "photo.jpg",
        "width": 160,
        "height": 120,
        "model": str(nano_file),
    }
    first, second = record["objects"]
    assert first["prompts"] == {"points": [[80, 60, 1], [5, 5, 0]], "box": [45, 25, 115, 95], "mask": None}
    assert second["prompts"] == {"points": [[20.5, 100, 1]], "box": None, "mask": None}
    for number, item in enumerate(record["objects"], start=1):
        mask = read_mask(out / item["mask"])
        assert item["id"] == number
        assert set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(decode_mask(item["segmentation"]), mask > 0)
        assert item["segmentation"]["size"] == [120, 160]
        assert item["area"] == np.count_nonzero(mask)
        x, y, width, height = item["bbox"]
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert 0 <= item["predicted_iou"] <= 1
    with Image.open(out / "photo_overlay.jpg") as overlay:
        assert overlay.size == (160, 120)


def test_all_candidates_are_ranked(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    arguments = ("image", photo, "--point", "80,60", "--dtype", "float32", "--model", nano_file, "--device", "cpu")
    assert cli(*arguments, "--multimask", "-o", tmp_path / "a").status == 0
    item = json.loads((tmp_path / "a" / "photo.json").read_text())["objects"][0]
    scores = [candidate["predicted_iou"] for candidate in item["candidates"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert [candidate["mask"] for candidate in item["candidates"]] == [
        f"photo_object1_rank{rank}.png" for rank in (1, 2, 3)
    ]
    # one click alone gives the best of these three
    assert cli(*arguments, "-o", tmp_path / "b").status == 0
    best = json.loads((tmp_path / "b" / "photo.json").read_text())["objects"][0]
    assert best["segmentation"] == item["candidates"][0]["segmentation"]
    assert "candidates" not in best


def test_only_what_was_asked_for(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    common = ("image", photo, "--box", "45,25,115,95", "--dtype", "float32", "--model", nano_file)
    assert cli(*common, "--format", "json", "--no-overlay", "-o", tmp_path / "a").status == 0
    assert names((tmp_path / "a").iterdir()) == ["photo.json"]
    assert json.loads((tmp_path / "a" / "photo.json").read_text())["objects"][0]["mask"] is None
    assert cli(*common, "--format", "PNG", "-o", tmp_path / "b").status == 0
    assert names((tmp_path / "b").iterdir()) == ["photo_object1.png", "photo_overlay.jpg"]


def test_a_mask_is_a_prompt(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    rough = np.zeros((120, 160), np.uint8)
    rough[30:90, 50:110] = 255
    Image.fromarray(rough).save(tmp_path / "rough.png")
    common = ("image", photo, "--dtype", "float32", "--model", nano_file, "--device", "cpu", "-o", tmp_path / "out")
    outcome = cli(*common, "--mask", tmp_path / "rough.png", "--point", "80,60")
    assert outcome.status == 0, outcome.err
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert record["objects"][0]["prompts"]["mask"] == str(tmp_path / "rough.png")
    Image.fromarray(rough[:60]).save(tmp_path / "half.png")
    outcome = cli(*common, "--mask", tmp_path / "half.png")
    assert outcome.status == 2
    assert "half.png is 160x60" in outcome.err
    assert "photo.jpg is 160x120" in outcome.err


def test_a_higher_threshold_never_grows_a_mask(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    areas = []
    for number, threshold in enumerate(("-1.5", "0", "1.5")):
        out = tmp_path / str(number)
        options = (
            "--dtype",
            "float32",
            "--model",
            nano_file,
            "--device",
            "cpu",
            "--threshold",
            threshold,
            "--format",
            "json",
        )
        assert cli("image", photo, "--box", "45,25,115,95", *options, "-o", out).status == 0
        areas.append(json.loads((out / "photo.json").read_text())["objects"][0]["area"])
    assert areas == sorted(areas, reverse=True)


def test_a_folder_with_bad_files_gets_done(
    cli: Cli, photo: Path, nano_file: Path, spoil: Callable[[str], Path], scene: np.ndarray, tmp_path: Path
) -> None:
    spoiled = [spoil(kind) for kind in ("empty", "truncated", "text", "header")]
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in [photo, *spoiled]:
        shutil.copy(path, folder)
    deep = (scene.astype(np.uint16)[:, :, 0] * 257).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    out = tmp_path / "out"
    common = ("--box", "45,25,115,95", "--dtype", "float32", "--model", nano_file, "--device", "cpu", "-o", out)
    outcome = cli("image", folder, tmp_path / "gone.jpg", *common)
    assert outcome.status == 1
    assert "7 images, 2 done, 5 failed" in outcome.out
    errors = outcome.err.splitlines()
    assert len(errors) == 5
    for name in ("empty", "truncated", "text", "header", "gone"):
        assert sum(f"{name}.jpg" in line and line.startswith("sam2: error: ") for line in errors) == 1
    assert sorted(path.stem for path in out.glob("*.json")) == ["deep", "photo"]
    assert not list(out.glob("*.tmp"))


@pytest.mark.parametrize(
    ("kind", "words"), [("empty", "empty"), ("truncated", "truncated"), ("text", "image"), ("header", "image")]
)
def test_a_bad_file_alone(
    cli: Cli, nano_file: Path, spoil: Callable[[str], Path], tmp_path: Path, kind: str, words: str
) -> None:
    outcome = cli(
        "image", spoil(kind), "--point", "1,1", "--dtype", "float32", "--model", nano_file, "-o", tmp_path / "out"
    )
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("sam2: error: ")
    assert words in outcome.err
    assert list((tmp_path / "out").iterdir()) == []


def test_prompts_beyond_the_image_are_warned_about(cli: Cli, photo: Path, nano_file: Path, tmp_path: Path) -> None:
    prompts = ("--point", "80,60", "--point", "500,20", "--box", "-5,25,115,95")
    outcome = cli(
        "image", photo, *prompts, "--dtype", "float32", "--model", nano_file, "--device", "cpu", "-o", tmp_path / "out"
    )
    assert outcome.status == 0
    warnings = outcome.err.splitlines()
    assert len(warnings) == 2
    assert "photo.jpg is 160x120: point 500,20 of object 1 lies outside" in warnings[0]
    assert "box corner -5,25 of object 1" in warnings[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to segment"),
        (["--point", "a,b"], "'a' is not a number"),
        (["--point", "nan,2"], "must be finite"),
        (["--box", "90,90,10,10"], "left of and above"),
        (["--point", "1,2,7"], "label must be"),
        (["--point", "1,2", "--model", "enormous"], "enormous"),
        (["--point", "1,2", "--model", "missing.pt"], "missing.pt"),
        (["--point", "1,2", "--format", "gif"], "--format must be a list of png, json, sheet, coco, "),
        (["--point", "1,2", "--format", "", "--no-overlay"], "nothing to write"),
        (["--point", "1,2", "--scale", "log"], "--scale must be one of full, minmax"),
        (["--point", "1,2", "--threshold", "nan"], "--threshold must be a finite number"),
        (["--point", "1,2", "--threshold", "high"], "--threshold"),
        (["--point", "1,2", "--device", "toaster"], "toaster"),
        (["--point", "1,2", "--dtype", "float7"], "float7"),
        (["--point", "1,2", "--colour", "red"], "--colour"),
        (["--point"], "--point"),
    ],
)
def test_wrong_usage_is_one_line(
    cli: Cli, photo: Path, nano_file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    model = [] if "--model" in arguments else ["--model", str(nano_file)]
    outcome = cli("image", photo, "-o", tmp_path / "out", *model, *arguments)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("sam2: error: ")
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_no_photo(cli: Cli) -> None:
    outcome = cli("image", "--point", "1,2")
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1


def test_folders_without_images(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = cli("image", tmp_path / "empty", "--point", "1,2", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert "empty holds no images" in outcome.err
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(cli: Cli, photo: Path) -> None:
    outcome = cli("image", photo, "--point", "1,2", "-o", photo)
    assert outcome.status == 2
    assert "photo.jpg is a file" in outcome.err
    outcome = cli("image", photo, "--point", "1,2", "-o", photo / "below")
    assert outcome.status == 2
    assert "cannot be made: Not a directory" in outcome.err


def test_debug_shows_the_traceback(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_DEBUG", "1")
    outcome = cli("image", photo)
    assert outcome.status == 2
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("sam2: error: nothing to segment")


def test_a_bug_is_called_a_bug(
    cli: Cli, photo: Path, nano_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam2.cli.image.results.png_bytes", lambda mask: {}["gone"])
    outcome = cli("image", photo, "--point", "1,2", "--dtype", "float32", "--model", nano_file, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.err == "sam2: internal error: KeyError: 'gone' (SAM2_DEBUG=1 shows where)\n"


def python(*arguments: str | Path, limit: int | None = None) -> subprocess.Popen[str]:
    """``sam2`` in a process of its own, which may write files of at most ``limit`` bytes."""
    code = "import sys; from sam2.cli import main; sys.exit(main())"
    if limit is not None:
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); " + code
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_disk_that_fills_up_stops_the_run(photo: Path, nano_file: Path, tmp_path: Path) -> None:
    """The limit makes the operating system refuse the overlay, which is larger than masks and JSON."""
    out = tmp_path / "out"
    other = shutil.copy(photo, tmp_path / "second.jpg")
    process = python(
        "image", photo, other, "--point", "80,60", "--dtype", "float32", "--model", nano_file, "-o", out, limit=4000
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert len(err.splitlines()) == 1, err
    assert "sam2: error: cannot write" in err
    assert "File too large" in err
    for path in out.iterdir():
        assert path.suffix == ".png"
        read_mask(path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c(photo: Path, nano_file: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for number in range(300):
        shutil.copy(photo, folder / f"{number}.jpg")
    process = python("image", folder, "--point", "80,60", "--dtype", "float32", "--model", nano_file, "-o", out)
    deadline = time.monotonic() + 200
    while not list(out.glob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert re.fullmatch(r"sam2: interrupted; \d+ of 300 photos are done, the same command with --resume goes on\n", err)
    assert not list(out.glob("*.tmp"))
    for path in out.glob("*.json"):
        assert json.loads(path.read_text())["objects"]


@pytest.mark.skipif(find_local("nano") is None, reason="the bundled model is not here")
def test_the_bundled_model_finds_the_disk(cli: Cli, photo: Path, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:120, :160]
    disk = np.hypot(columns - 80, rows - 60) <= 30
    for number, prompt in enumerate((["--box", "50,30,110,90"], ["--point", "80,60"])):
        out = tmp_path / str(number)
        assert cli("image", photo, *prompt, "--device", "cpu", "-o", out).status == 0
        found = read_mask(out / "photo_object1.png") > 0
        assert (found & disk).sum() / (found | disk).sum() > 0.8
