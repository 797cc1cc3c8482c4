"""``tools/vos_inference.py`` and ``sav_dataset/sav_evaluator.py``, with the official flags."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import sam2
from sam2.checkpoints import find_local
from sam2.io.palette import read_palette_png, write_palette_png
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS

ROOT = Path(__file__).resolve().parents[2]
TRACKER, SCORER = ROOT / "tools" / "vos_inference.py", ROOT / "sav_dataset" / "sav_evaluator.py"
SIZE = (72, 96)
PALETTE = [0, 0, 0, 200, 30, 30, 30, 200, 30]


def script(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tracker():
    return script(TRACKER)


@pytest.fixture(scope="module")
def scorer():
    return script(SCORER)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights of nano."""
    bundled = find_local("nano")
    if bundled is not None:
        return bundled
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(build_model(PRESETS["nano"]).state_dict(), path)
    return path


def disk(x: int, y: int = 36, radius: int = 14) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(columns - x, rows - y) <= radius


def write_frames(folder: Path, places: list[tuple[int, ...]]) -> None:
    """A frame a tuple: red, then green disks at these columns, on grey."""
    folder.mkdir(parents=True)
    for number, columns in enumerate(places):
        frame = np.full((*SIZE, 3), 110, np.uint8)
        for x, colour in zip(columns, ((200, 30, 30), (30, 200, 30)), strict=False):
            frame[disk(x)] = colour
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def write_labels(path: Path, objects: dict[int, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(SIZE, np.uint8)
    for number, mask in objects.items():
        labels[mask] = number
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE)
    picture.save(path)


def write_binary(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of four frames; in the second the green disk is there from frame 2 on."""
    write_frames(tmp_path / "frames" / "one", [(30, 70)] * 4)
    write_labels(tmp_path / "masks" / "one" / "00000.png", {1: disk(30), 2: disk(70)})
    write_frames(tmp_path / "frames" / "two", [(30,), (30,), (30, 70), (30, 70)])
    write_labels(tmp_path / "masks" / "two" / "00000.png", {1: disk(30)})
    write_labels(tmp_path / "masks" / "two" / "00002.png", {1: disk(30), 2: disk(70)})
    return tmp_path


def flags(root: Path, weights: Path, *more: str) -> list[str]:
    return [
        *("--sam2_cfg", "configs/nano/nano.yaml", "--sam2_checkpoint", str(weights)),
        *("--base_video_dir", str(root / "frames"), "--input_mask_dir", str(root / "masks")),
        *("--output_mask_dir", str(root / "out"), "--device", "cpu", "--dtype", "float32", *more),
    ]


def objects_of(path: Path) -> list[int]:
    return [int(value) for value in np.unique(read_palette_png(path)) if value]


def test_label_images_come_back_as_they_went_in(tracker, videos: Path, weights: Path, capsys) -> None:
    (videos / "list.txt").write_text("one\n")
    assert tracker.main(flags(videos, weights, "--video_list_file", str(videos / "list.txt"))) == 0
    assert sorted(path.name for path in (videos / "out").iterdir()) == ["one"]
    files = sorted((videos / "out" / "one").glob("*.png"))
    assert [file.stem for file in files] == ["00000", "00001", "00002", "00003"]
    with Image.open(files[3]) as picture:
        assert picture.mode == "P"
        assert picture.size == SIZE[::-1]
        assert (picture.getpalette() or [])[: len(PALETTE)] == PALETTE
    found = read_palette_png(files[0])
    assert (found == 1).sum() == pytest.approx(disk(30).sum(), rel=0.25)
    assert (found == 2).sum() == pytest.approx(disk(70).sum(), rel=0.25)
    assert "masks of 1 videos" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ([], [1]),
        (["--track_object_appearing_later_in_video"], [1, 2]),
        (["--use_all_masks"], [1, 2]),
        (["--track_object_appearing_later_in_video", "--score_thresh", "1e9"], []),
    ],
)
def test_which_masks_are_prompts(tracker, videos: Path, weights: Path, more: list[str], last: list[int]) -> None:
    (videos / "list.txt").write_text("two\n")
    assert tracker.main(flags(videos, weights, "--video_list_file", str(videos / "list.txt"), *more)) == 0
    assert objects_of(videos / "out" / "two" / "00001.png") == last[:1]
    assert objects_of(videos / "out" / "two" / "00002.png") == last


def test_a_folder_an_object(tracker, videos: Path, weights: Path) -> None:
    for name, mask in (("000", disk(30)), ("001", disk(70))):
        write_binary(videos / "objects" / "one" / name / "00000.png", mask)
    asked = flags(videos, weights, "--per_obj_png_file", "--video_list_file", str(videos / "list.txt"))
    asked[asked.index("--input_mask_dir") + 1] = str(videos / "objects")
    (videos / "list.txt").write_text("one\n")
    assert tracker.main(asked) == 0
    written = sorted(path.relative_to(videos / "out").as_posix() for path in (videos / "out").rglob("*.png"))
    assert written == [f"one/{name}/{frame:05d}.png" for name in ("000", "001") for frame in range(4)]
    for name, mask in (("000", disk(30)), ("001", disk(70))):
        found = read_palette_png(videos / "out" / "one" / name / "00000.png") > 0
        assert (found & mask).sum() > 0.75 * (found | mask).sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--per_obj_png_file"], "has no folders of masks: --per_obj_png_file is wrong"),
        (["--base_video_dir", "nowhere"], "--base_video_dir nowhere: no such folder"),
        (["--video_list_file", "nowhere.txt"], "nowhere.txt"),
        (["--sam2_checkpoint", "nowhere.pt"], "nowhere.pt"),
        (["--sam2_cfg", "configs/nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_usage_of_the_tracker_is_one_line(tracker, videos, weights, capsys, change, message) -> None:
    assert tracker.main([*flags(videos, weights), *change]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (videos / "out").exists()


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """True masks of every other frame, and predictions of all: perfect but for the outermost annotated frames."""
    for video in ("a", "b"):
        for name, x in (("000", 30), ("001", 70)):
            for frame in range(9):
                truth, wrong = disk(x), np.zeros(SIZE, bool)
                if frame % 2 == 0:
                    write_binary(tmp_path / "gt" / video / name / f"{frame:05d}.png", truth)
                found = wrong if frame in (0, 8) else truth
                write_binary(tmp_path / "pred" / video / name / f"{frame:05d}.png", found)
    return tmp_path


def score(scorer, root: Path, *more: str) -> int:
    return scorer.main(["--gt_root", str(root / "gt"), "--pred_root", str(root / "pred"), "-n", "1", *more])


def rows(root: Path) -> list[list[str]]:
    with open(root / "pred" / "results.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_outermost_frames_do_not_count(scorer, scored: Path, capsys) -> None:
    assert score(scorer, scored) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "J&F 100.0, J 100.0, F 100.0"
    title, total, *objects = rows(scored)
    assert title == ["sequence", "obj", "J&F", "J", "F"]
    assert total == ["Global score", "", "100.0", "100.0", "100.0"]
    assert [row[:2] for row in objects] == [["a", "000"], ["a", "001"], ["b", "000"], ["b", "001"]]


def test_the_outermost_frames_count_if_asked(scorer, scored: Path, capsys) -> None:
    # 3 of the 5 annotated frames are right
    assert score(scorer, scored, "--do_not_skip_first_and_last_frame", "--quiet") == 0
    assert capsys.readouterr().out.splitlines() == ["J&F 60.0, J 60.0, F 60.0"]


def test_objects_are_averaged_not_videos(scorer, scored: Path, capsys) -> None:
    for frame in range(9):
        write_binary(scored / "pred" / "a" / "001" / f"{frame:05d}.png", np.zeros(SIZE, bool))
    for file in (scored / "gt" / "b" / "001").iterdir():
        file.unlink()
    assert score(scorer, scored) == 0
    # of three objects (one of them alone in its video) one is lost
    assert capsys.readouterr().out.splitlines()[-1] == "J&F 66.7, J 66.7, F 66.7"


def test_videos_without_predictions(scorer, scored: Path, capsys) -> None:
    (scored / "pred" / "b").rename(scored / "elsewhere")
    assert score(scorer, scored, "--strict") == 2
    assert "1 of 2 videos have no predictions, such as b" in capsys.readouterr().err
    assert not (scored / "pred" / "results.csv").exists()
    assert score(scorer, scored) == 0
    assert "left out: b" in capsys.readouterr().err
    assert [row[0] for row in rows(scored)] == ["sequence", "Global score", "a", "a"]


def test_a_missing_mask_is_named(scorer, scored: Path, capsys) -> None:
    (scored / "pred" / "b" / "001" / "00004.png").unlink()
    assert score(scorer, scored) == 2
    assert os.path.join("b", "001", "00004.png") in capsys.readouterr().err


def test_label_images_are_scored_as_well(scorer, tmp_path: Path, capsys) -> None:
    for root, x in (("gt", 30), ("pred", 30)):
        for frame in range(4):
            labels = np.zeros(SIZE, np.uint8)
            labels[disk(x)], labels[disk(70)] = 1, 2
            (tmp_path / root / "a").mkdir(parents=True, exist_ok=True)
            write_palette_png(tmp_path / root / "a" / f"{frame:05d}.png", labels)
    assert score(scorer, tmp_path) == 0
    assert len(rows(tmp_path)) == 4
    assert capsys.readouterr().out.splitlines()[-1] == "J&F 100.0, J 100.0, F 100.0"


def test_there_are_no_more_processes_than_cores(scorer, scored: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr("multiprocessing.get_context", lambda *_: pytest.fail("a process was started"))
    assert score(scorer, scored, "--num_processes", "16") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "J&F 100.0, J 100.0, F 100.0"


@pytest.mark.slow
def test_the_evaluator_shares_its_work(scored: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(sam2.__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCORER), "--gt_root", "gt", "--pred_root", "pred", "--num_processes", "2"]
    found = subprocess.run(command, cwd=scored, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "J&F 100.0, J 100.0, F 100.0"
    assert [row[:2] for row in rows(scored)[2:]] == [["a", "000"], ["a", "001"], ["b", "000"], ["b", "001"]]
