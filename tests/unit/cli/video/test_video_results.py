"""Films with effects, data sets, classes and the timeline of ``sam2 video``."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from sam2.cli.video.asked import DATA_SETS, EFFECTS
from sam2.cli.video.journal import Journal
from sam2.interop.formats import FORMATS, read_annotations
from sam2.interop.rle import decode_mask
from sam2.viz import EFFECTS as ALL_EFFECTS
from sam2.viz import make_effect

Cli = Callable[..., Any]
PROMPTS = ("--box", "0:20,20,60,70", "--point", "2@4:95,60")
LENGTH = 12
FILES = {"cvat": "cvat_clip.xml", "label-studio": "label_studio.json", "sav": "sav", "davis": "davis"}


def film(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_names_are_those_of_the_libraries() -> None:
    assert sorted(DATA_SETS) == sorted(name for name, known in FORMATS.items() if known.videos)
    assert {*EFFECTS, "overlay"} == set(ALL_EFFECTS)  # overlay is a format


def test_films_with_effects(cli: Cli, movie: Path, tmp_path: Path) -> None:
    options = ("--effect", "spotlight,Blur_Background,trail,cutout", "--format", "json,cutout")
    outcome = cli("video", movie, *PROMPTS, *options, "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    names = ["blur-background.mp4", "cutout.webm", "spotlight.mp4", "trail.mp4"]
    assert sorted(path.name for path in tmp_path.glob("clip_*")) == [f"clip_{name}" for name in names]
    pictures, rows = film(movie), read(tmp_path / "clip.json")["frames"]
    for name in ("spotlight", "blur-background", "trail"):
        shown, effect = film(tmp_path / f"clip_{name}.mp4"), make_effect(name)
        assert len(shown) == LENGTH
        for picture, row, found in zip(pictures, rows, shown, strict=True):
            masks = [decode_mask(item["segmentation"]) for item in row["objects"]]
            expected = effect(picture, masks, [item["id"] for item in row["objects"]])
            assert np.abs(found.astype(int) - expected).mean() < 9  # what the codec takes


def test_effects_alone_are_enough(cli: Cli, movie: Path, tmp_path: Path) -> None:
    outcome = cli("video", movie, *PROMPTS, "--effect", "contour", "--format", "", "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    assert [path.name for path in tmp_path.glob("*") if path != movie] == ["clip_contour.mp4"]


def test_a_reversed_run_has_its_trail_behind_it(cli: Cli, movie: Path, tmp_path: Path) -> None:
    """Films are in the order of time, whatever the order of tracking."""
    options = ("--box", "8:20,20,60,70", "--reverse", "--effect", "trail", "--format", "json")
    assert cli("video", movie, *options, "-o", tmp_path).status == 0
    first, effect = film(tmp_path / "clip_trail.mp4")[0], make_effect("trail")
    assert np.abs(first.astype(int) - effect(film(movie)[0], [])).mean() < 9


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_hold_what_the_json_does(cli: Cli, movie: Path, tmp_path: Path, name: str) -> None:
    options = ("--format", f"json,{name}", "--label", "2=car", "--label", "thing")
    outcome = cli("video", movie, *PROMPTS, *options, "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    result = read(tmp_path / "clip.json")
    assert result["labels"] == {"1": "thing", "2": "car"}
    written = FILES.get(name, name.replace("-", "_"))
    place = tmp_path / written if (tmp_path / written).exists() else tmp_path / f"{written}.json"
    if name.startswith("yolo"):
        lines = (place / "labels" / "clip" / "00004.txt").read_text(encoding="utf-8").splitlines()
        assert {line.split()[0] for line in lines} <= {"0", "1"}
        assert len(list((place / "labels" / "clip").iterdir())) == LENGTH
        return
    found = read_annotations(place, name)
    assert [image.frame for image in found] == list(range(LENGTH))
    assert found.videos[0].name == "clip.mp4"
    assert set(found.labels) == {"car", "thing"}
    for image, row in zip(found, result["frames"], strict=True):
        there = {item["id"]: item for item in row["objects"] if item["area"]}
        assert {item.track_id for item in image.objects} == set(there)
        for item in image.objects:
            assert item.label == ("car" if item.track_id == 2 else "thing")
            if FORMATS[name].masks == "exact" and name not in ("davis", "cvat"):
                np.testing.assert_array_equal(item.mask(), decode_mask(there[item.track_id]["segmentation"]))
            assert item.score is None or 0 <= item.score <= 1


def test_frames_of_a_folder_keep_their_names(cli: Cli, pictures: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, picture in enumerate(pictures[:3], start=9):
        Image.fromarray(picture).save(folder / f"img_{number}.png")
    options = ("--box", "0:20,20,60,70", "--format", "coco,yolo")
    assert cli("video", folder, *options, "-o", tmp_path / "out").status == 0
    names = [image["file_name"] for image in read(tmp_path / "out" / "coco.json")["images"]]
    assert names == ["walk/img_9.png", "walk/img_10.png", "walk/img_11.png"]
    assert (tmp_path / "out" / "yolo" / "labels" / "walk" / "img_10.txt").is_file()


@pytest.mark.parametrize("way", [(), ("--both",)])
def test_an_interrupted_run_ends_with_the_same_data_sets(
    cli: Cli, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    options = (*PROMPTS, *way, "--format", "coco,sav,timeline", "--effect", "trail", "--label", "1=cat")
    assert cli("video", movie, *options, "-o", tmp_path / "whole").status == 0
    append, waiting = Journal.append, [1]

    def broken(journal: Journal, frame: int, objects: list[Any]) -> None:
        append(journal, frame, objects)
        if len(journal) == 5 and waiting:
            waiting.pop()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "append", broken)
    assert cli("video", movie, *options, "-o", tmp_path / "out").status == 130
    assert len(read_annotations(tmp_path / "out" / "coco.json")) == 5
    outcome = cli("video", movie, "-o", tmp_path / "out", "--resume", "--label", "1=dog")
    assert outcome.status == 2
    assert "labels differs" in outcome.err
    outcome = cli("video", movie, "-o", tmp_path / "out", "--resume")
    assert outcome.status == 0, outcome.err
    for name in ("coco.json", "sav/clip_manual.json"):
        assert read(tmp_path / "out" / name) == read(tmp_path / "whole" / name)
    assert len(film(tmp_path / "out" / "clip_trail.mp4")) == LENGTH
    pages = [Image.open(tmp_path / name / "clip_timeline.png") for name in ("out", "whole")]
    np.testing.assert_array_equal(*[np.asarray(page) for page in pages])


def test_ctrl_c_while_data_sets_are_written(
    cli: Cli, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.cli.video import records

    annotated, waiting = records.annotated, [1]

    def interrupting(*arguments: Any) -> Any:
        if waiting:
            waiting.pop()
            signal.raise_signal(signal.SIGINT)
        return annotated(*arguments)

    monkeypatch.setattr(records, "annotated", interrupting)
    out = tmp_path / "out"
    outcome = cli("video", movie, *PROMPTS, "--format", "json,coco", "-o", out)
    assert outcome.status == 130
    assert "--resume goes on" in outcome.err
    assert not (out / "coco.json").exists()
    assert cli("video", movie, "-o", out, "--resume").status == 0
    assert len(read_annotations(out / "coco.json")) == LENGTH


def test_a_full_disk_while_data_sets_are_written(
    cli: Cli, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.interop import coco

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "coco.json")

    monkeypatch.setattr(coco.CocoWriter, "add", full)
    outcome = cli("video", movie, *PROMPTS, "--format", "json,coco", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert "cannot write coco.json: No space left on device; 12 of 12 frames are done" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list((tmp_path / "out").glob("*coco*"))
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--effect", "sepia"], "--effect must be a list of contour, spotlight"),
        (["--effect", "overlay"], "--effect must be a list of"),
        (["--format", "coca"], "--format must be a list of overlay, masks, json"),
        (["--format", ""], "nothing to write"),
        (["--label", "3=car"], "--label 3=car: there is no object 3, only 1"),
        (["--label", "1="], "the name must be one line"),
        (["--label", "a", "--label", "b"], "everything is named 'a' already"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, movie: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = cli("video", movie, "--point", "0:5,5", *arguments, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
