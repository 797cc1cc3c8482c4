"""``sam2 image --boxes``: a detector's boxes become masks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam2.interop.formats import read_annotations

Cli = Callable[..., Any]


@pytest.fixture
def options(nano_file: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    return "--model", nano_file, "--device", "cpu", "--dtype", "float32", "-o", tmp_path / "out"


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    """What a detector says of two photos, and of one that is not there."""
    entries = [
        {"image": "1.png", "box": [10, 20, 32, 42], "label": "disk", "score": 0.75},
        {"image": "2.png", "box": [10.5, 20, 32, 42], "label": "disk", "score": 0.5},
        {"image": "2.png", "box": [40, 15, 240, 70.5], "label": "strip"},
        {"image": "9.png", "box": [40, 15, 60, 40], "label": "strip"},
    ]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(entries))
    return path


def objects_of(folder: Path, stem: str) -> list[dict[str, Any]]:
    return json.loads((folder / f"{stem}.json").read_text())["objects"]


def test_boxes_labels_and_scores_reach_the_formats(
    cli: Cli, make_photos: Any, options: Any, detections: Path, tmp_path: Path
) -> None:
    photos = make_photos(1, 2)
    outcome = cli("image", *photos, *options, "--boxes", detections, "--format", "json,coco")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("2 images, 2 done, 3 masks in ")
    first, second = objects_of(tmp_path / "out", "2")
    assert (first["label"], first["score"], first["prompts"]["box"]) == ("disk", 0.5, [10.5, 20, 32, 42])
    assert second["prompts"]["box"] == [40, 15, 200, 60], "cut to the photo"
    assert "score" not in second
    found = read_annotations(tmp_path / "out" / "coco.json")
    assert found.labels == ("disk", "strip")
    assert [[item.score for item in image.objects][:1] for image in found] == [[0.75], [0.5]]


def test_photos_without_boxes_are_written_empty(
    cli: Cli, make_photos: Any, options: Any, detections: Path, tmp_path: Path
) -> None:
    photos = make_photos(1, 3)
    outcome = cli("image", *photos, *options, "--boxes", detections, "--format", "json,coco")
    assert outcome.status == 0
    assert len(outcome.err.splitlines()) == 1
    assert "says nothing of 1 photo, which gets no objects" in outcome.err
    assert "3.png" in outcome.err
    assert objects_of(tmp_path / "out", "3") == []
    assert [len(image.objects) for image in read_annotations(tmp_path / "out" / "coco.json")] == [1, 0]


def test_names_that_fit_no_photo_are_an_error(cli: Cli, make_photos: Any, options: Any, detections: Path) -> None:
    outcome = cli("image", *make_photos(4, 5), *options, "--boxes", detections)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert "names 1.png, 2.png, 9.png, none of the photos: " in outcome.err
    assert "4.png" in outcome.err


def test_boxes_without_a_name_are_for_every_photo(cli: Cli, make_photos: Any, options: Any, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("[[10, 20, 32, 42], [40, 15, 60, 40]]")
    outcome = cli(
        "image", *make_photos(1, 2), *options, "--boxes", tmp_path / "boxes.json", "-l", "thing", "--format", "json"
    )
    assert outcome.status == 0, outcome.err
    for stem in ("1", "2"):
        assert [item["label"] for item in objects_of(tmp_path / "out", stem)] == ["thing", "thing"]


def test_a_folder_of_yolo_files_with_names_for_its_classes(
    cli: Cli, make_photos: Any, options: Any, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "1.txt").write_text("0 0.1 0.5 0.12 0.4\n2 0.3 0.5 0.12 0.4 0.25\n")
    (labels / "2.txt").write_text("")
    outcome = cli(
        "image", *make_photos(1, 2), *options, "--boxes", labels, "-l", "0=cat", "-l", "2=dog", "--format", "json,coco"
    )
    assert (outcome.status, outcome.err) == (0, "")
    first, second = objects_of(tmp_path / "out", "1")
    assert (first["label"], second["label"], second["score"]) == ("cat", "dog", 0.25)
    assert first["prompts"]["box"] == pytest.approx([8, 18, 32, 42])
    assert objects_of(tmp_path / "out", "2") == []


def test_boxes_outside_are_left_out_with_a_word(cli: Cli, make_photos: Any, options: Any, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("[[500, 20, 532, 42], [10, 20, 32, 42]]")
    outcome = cli("image", *make_photos(1), *options, "--boxes", tmp_path / "boxes.json", "--format", "json")
    assert outcome.status == 0
    assert "box 1 of" in outcome.err
    assert [item["id"] for item in objects_of(tmp_path / "out", "1")] == [2]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("[[1, 2, 3, 4]]", ["--point", "1,2"], "--point and --boxes exclude each other"),
        ("[[1, 2, 3, 4]]", ["--everything"], "--boxes and --everything exclude each other"),
        ("no json", [], "boxes.json"),
        ('[{"image": "1.png", "box": "here"}]', [], "boxes.json"),
        (None, [], "no such file or folder"),
    ],
)
def test_wrong_files_are_one_line(
    cli: Cli, make_photos: Any, tmp_path: Path, text: str | None, arguments: list[str], message: str
) -> None:
    if text is not None:
        (tmp_path / "boxes.json").write_text(text)
    outcome = cli("image", *make_photos(1), "--boxes", tmp_path / "boxes.json", *arguments, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
