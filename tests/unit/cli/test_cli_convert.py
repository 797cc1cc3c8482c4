"""``sam2 convert`` as a user calls it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.formats import open_writers, read_annotations
from sam2.io.palette import write_palette_png

Cli = Callable[..., Any]
HEIGHT, WIDTH = 40, 60


def disk(x: int, y: int, radius: int = 9) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures, a cat, a dog and something unnamed; a class that nobody has."""
    objects = [ObjectAnnotation.from_mask(disk(15, 20), label="cat"), ObjectAnnotation.from_mask(disk(40, 20))]
    writer = open_writers("coco", tmp_path / "in", labels=["bird", "dog", "cat"])
    writer.add(AnnotatedImage("a.jpg", WIDTH, HEIGHT, tuple(objects)))
    writer.add(AnnotatedImage("b.jpg", WIDTH, HEIGHT, (ObjectAnnotation.from_mask(disk(20, 20), label="dog"),)))
    return writer.close()[0]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Palette PNGs of a video, objects 1 and 2."""
    for frame in range(3):
        path = tmp_path / "Annotations" / "bear" / f"{frame:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_palette_png(path, (disk(15 + frame, 20) + 2 * disk(40, 20 + frame)).astype(np.uint8))
    return tmp_path / "Annotations"


def test_one_file_into_several_formats(cli: Cli, coco: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"

    result = cli("convert", coco, "--to", "yolo,cvat", "-o", output)

    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "2 pictures, 3 objects, 4 classes",
        str(output / "yolo"),
        str(output / "cvat.xml"),
    ]
    found = read_annotations(output / "cvat.xml")
    assert found.labels == ("bird", "dog", "cat", "object")
    assert np.array_equal(found.images[1].objects[0].mask(), disk(20, 20))
    assert (output / "yolo" / "labels" / "a.txt").read_text(encoding="utf-8").startswith("2 ")


def test_classes_are_renamed_and_merged(cli: Cli, coco: Path, tmp_path: Path) -> None:
    result = cli("convert", coco, "--to", "coco", "-o", tmp_path, "-l", "cat=pet", "-l", "dog=pet", "-l", "thing")

    assert (result.status, result.err) == (0, "")
    found = read_annotations(tmp_path / "coco.json")
    assert found.labels == ("bird", "pet", "thing")
    assert [[item.label for item in image.objects] for image in found] == [["pet", "thing"], ["pet"]]


def test_objects_are_named_by_number(cli: Cli, clip: Path, tmp_path: Path) -> None:
    result = cli("convert", clip, "--to", "sav,davis", "-o", tmp_path / "out", "--label", "2=cub", "--label", "bear")

    assert (result.status, result.err) == (0, "")
    document = json.loads((tmp_path / "out" / "sav" / "bear_manual.json").read_text(encoding="utf-8"))
    assert dict(zip(document["masklet_id"], document["masklet_label"], strict=True)) == {1: "bear", 2: "cub"}
    found = read_annotations(tmp_path / "out" / "davis")
    assert {item.track_id: item.label for image in found for item in image.objects} == {1: "bear", 2: "cub"}


def test_values_of_pixels_name_classes_of_pictures(cli: Cli, tmp_path: Path) -> None:
    write_palette_png(tmp_path / "room.png", (disk(15, 20) + 5 * disk(40, 20)).astype(np.uint8))

    result = cli("convert", tmp_path / "room.png", "--to", "coco", "-o", tmp_path / "out", "-l", "5=chair")

    assert (result.status, result.err) == (0, "")
    (image,) = read_annotations(tmp_path / "out" / "coco.json")
    assert [item.label for item in image.objects] == ["object", "chair"]


def test_yolo_needs_its_pictures(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n", encoding="utf-8")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos" / "a.jpg")
    call = ("convert", tmp_path / "labels", "--to", "coco", "-o", tmp_path / "out", "-l", "0=car")

    without, missing = cli(*call), cli(*call, "--images", tmp_path / "none")
    result = cli(*call, "--images", tmp_path / "photos")

    assert (without.status, missing.status, result.status) == (2, 2, 0)
    assert "none: no such folder of pictures" in missing.err
    (image,) = read_annotations(tmp_path / "out" / "coco.json")
    assert (image.objects[0].label, image.objects[0].box) == ("car", (22.5, 10, 37.5, 30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "yaml"], "unknown format 'yaml'; there are coco, coco-polygons,"),
        (["--to", ","], "--to must name at least one format"),
        (["--to", "coco", "--from", "sav"], "coco.json: "),
        (["--to", "coco", "--label", "="], "--label '=': expected NEW or OLD=NEW"),
        (["--to", "coco", "--label", "cat=a", "--label", "cat=b"], "--label cat=b: cat is named already"),
        (["--to", "coco", "--label", "a", "--label", "b"], "--label b: what has no class is named already"),
        (
            ["--to", "coco", "--label", "cow=a"],
            "--label cow=a: there is no class 'cow' (there are bird, dog, cat, object)",
        ),
        (["--to", "coco", "--label", "7=a"], "--label 7=a: there is no class '7'"),
        (["--to", "sav"], "a.jpg is a still picture: sav is for videos"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    cli: Cli, coco: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = cli("convert", coco, "-o", tmp_path / "out", *arguments)

    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("sam2: error: ")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_source_that_is_not_there_or_empty(cli: Cli, tmp_path: Path) -> None:
    empty = open_writers("coco", tmp_path).close()[0]

    assert "no.json: no such file or folder" in cli("convert", tmp_path / "no.json", "--to", "coco", "-o", tmp_path).err
    result = cli("convert", empty, "--to", "yolo", "-o", tmp_path / "out")
    assert result.status == 2
    assert "coco.json holds no annotated pictures" in result.err


def test_where_one_format_fails_none_is_written(cli: Cli, tmp_path: Path) -> None:
    box = AnnotatedImage("b.jpg", WIDTH, HEIGHT, (ObjectAnnotation((1, 2, 3, 4), label="car"),))
    writer = open_writers("coco", tmp_path / "in")
    writer.add(AnnotatedImage("a.jpg", WIDTH, HEIGHT, (ObjectAnnotation.from_mask(disk(9, 9)),)))
    writer.add(box)
    (source,) = writer.close()

    result = cli("convert", source, "--to", "coco,davis,cvat,label-studio,yolo", "-o", tmp_path / "out")

    assert result.status == 2
    assert result.err == "sam2: error: b.jpg: davis holds masks, 'car' has a box only\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_frame_rate_and_numbers_go_through_formats_that_hold_them(cli: Cli, tmp_path: Path) -> None:
    video = VideoInfo("clip.mp4", WIDTH, HEIGHT, 30, 12.5)
    item = ObjectAnnotation.from_mask(disk(20, 20), label="cat", track_id=9, score=0.5)
    writer = open_writers("coco", tmp_path)
    for frame in (3, 4, 8):
        writer.add(AnnotatedImage(f"clip_{frame}.jpg", WIDTH, HEIGHT, (item,), video, frame))
    (path,) = writer.close()

    for step, (name, file) in enumerate(
        [("label-studio", "label_studio.json"), ("cvat", "cvat_clip.xml"), ("sa1b", "sa1b")]
    ):
        assert cli("convert", path, "--to", name, "-o", tmp_path / str(step)).status == 0
        path = tmp_path / str(step) / file
    found = read_annotations(path)

    assert [(image.frame, image.objects[0].track_id, image.objects[0].score) for image in found] == [
        (3, 9, 0.5),
        (4, 9, 0.5),
        (8, 9, 0.5),
    ]
    assert (found.videos[0].name, found.videos[0].num_frames, found.videos[0].fps) == ("clip.mp4", 30, 12.5)
    assert np.array_equal(found.images[2].objects[0].mask(), disk(20, 20))
