from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from format_samples import (
    HEIGHT,
    WIDTH,
    assert_same_objects,
    blob,
    dot,
    frames,
    iou,
    masked,
    ring,
    save_pictures,
    write,
)

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.yolo import YoloWriter, read_yolo

LABELS = ("person", "car")


def picture(name: str = "one.jpg") -> AnnotatedImage:
    """All that segmentation holds: one part with holes, several parts, a pixel."""
    objects = (masked(ring(), label="car"), masked(blob(1), label="tree: big"), masked(dot(), label="car"))
    return AnnotatedImage(name, WIDTH, HEIGHT, objects)


def boxes(name: str = "two.jpg") -> AnnotatedImage:
    objects = (ObjectAnnotation((10.5, 20.0, 40.25, 31.0), label="car"), ObjectAnnotation((0, 0, WIDTH, HEIGHT)))
    return AnnotatedImage(name, WIDTH, HEIGHT, objects)


def dataset(folder: Path, **files: str) -> Path:
    """A data set by somebody else: a picture, and text files by name (``a`` for ``labels/a.txt``)."""
    save_pictures(folder / "images", "a.jpg")
    (folder / "labels").mkdir()
    for name, text in files.items():
        (folder / "labels" / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_masks_and_boxes_come_back(tmp_path) -> None:
    """Exactly, joined parts too; classes keep their numbers, pictures their folders."""
    pictures = [picture("street/one.jpg"), AnnotatedImage("three.png", WIDTH, HEIGHT), boxes()]
    (folder,) = write(YoloWriter(tmp_path, labels=LABELS), *pictures)
    save_pictures(folder / "images", *[image.name for image in pictures])

    found = read_yolo(folder)

    assert found.labels == ("person", "car", "tree: big", "object")
    for image, known in zip(found, sorted(pictures, key=lambda image: image.name), strict=True):
        assert_same_objects(image, known)
    assert [image.name for image in read_yolo(folder / "data.yaml")] == [image.name for image in found]


def test_files_are_where_trainers_look_for_them(tmp_path) -> None:
    (folder,) = write(YoloWriter(tmp_path, labels=LABELS), picture("street/one.jpg"))
    description = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))

    assert folder == tmp_path / "yolo"
    assert (folder / "labels/street/one.txt").read_text(encoding="utf-8").startswith("1 0.")
    assert description == {
        "train": "images",
        "val": "images",
        "nc": 3,
        "names": {0: "person", 1: "car", 2: "tree: big"},
    }


def test_detection_has_boxes_only(tmp_path) -> None:
    (folder,) = write(YoloWriter(tmp_path, labels=LABELS, boxes=True), picture())
    save_pictures(folder / "images", "one.jpg")

    (found,) = read_yolo(folder)

    assert folder.name == "yolo_boxes"
    assert all(len(line.split()) == 5 for line in (folder / "labels/one.txt").read_text().splitlines())
    for item, known in zip(found.objects, picture().objects, strict=True):
        assert (item.rle, item.label) == (None, known.label)
        assert np.allclose(item.box, known.box, atol=1e-3)


def test_boxes_beside_masks_become_polygons(tmp_path) -> None:
    """Trainers take a file with both as polygons throughout."""
    mixed = picture().with_objects([masked(ring()), ObjectAnnotation((10, 20, 40, 31))])
    (folder,) = write(YoloWriter(tmp_path), mixed)

    (found,) = read_yolo(folder, images=save_pictures(tmp_path / "pictures", "one.jpg"))

    assert found.objects[1].area == 30 * 11
    assert found.objects[1].mask()[20:31, 10:40].all()


@pytest.mark.parametrize("force_masks", [False, True])
def test_supervision_reads_the_masks(tmp_path, force_masks) -> None:
    supervision = pytest.importorskip("supervision")
    (folder,) = write(YoloWriter(tmp_path, labels=LABELS), picture())
    save_pictures(folder / "images", "one.jpg")

    data = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=force_masks
    )
    (_, _, found) = next(iter(data))

    assert data.classes == ["person", "car", "tree: big"]
    assert found.class_id.tolist() == [1, 2, 1]
    assert np.array_equal(found.mask[0], ring())
    assert iou(found.mask[1], blob(1)) > 0.9  # the lines that join its parts are a pixel wide there
    assert np.array_equal(found.mask[2], dot())


def test_supervision_reads_the_boxes(tmp_path) -> None:
    supervision = pytest.importorskip("supervision")
    (folder,) = write(YoloWriter(tmp_path, boxes=True), boxes())
    save_pictures(folder / "images", "two.jpg")

    data = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml")
    )
    (_, _, found) = next(iter(data))

    assert found.mask is None
    assert np.allclose(found.xyxy, [item.box for item in boxes().objects], atol=1e-3)


def test_those_who_cut_to_whole_pixels_get_the_mask(tmp_path) -> None:
    """As trainers do: shares times size, cut, ``cv2.fillPoly``."""
    (folder,) = write(YoloWriter(tmp_path), picture())
    words = (folder / "labels/one.txt").read_text(encoding="utf-8").splitlines()[0].split()
    points = np.array(words[1:], np.float32).reshape(-1, 2) * np.array([WIDTH, HEIGHT], np.float32)
    found = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [points.astype(np.int32)], (1,))

    assert np.array_equal(found > 0, ring())


def test_frames_are_pictures(tmp_path) -> None:
    (folder,) = write(YoloWriter(tmp_path), *frames(count=2))

    assert sorted(file.name for file in folder.glob("labels/clip.mp4/*")) == ["00000.txt", "00001.txt"]


def test_empty_masks_are_left_out(tmp_path) -> None:
    empty = masked(np.zeros((HEIGHT, WIDTH), bool))
    for writer in (YoloWriter(tmp_path), YoloWriter(tmp_path, boxes=True)):
        (folder,) = write(writer, picture().with_objects([empty]))

        assert (folder / "labels/one.txt").read_text(encoding="utf-8") == ""


def test_simplified_polygons_are_shorter(tmp_path) -> None:
    sizes = []
    for tolerance in (0.0, 1.0):
        output = tmp_path / str(tolerance)
        (folder,) = write(YoloWriter(output, tolerance=tolerance), picture().with_objects([masked(ring())]))
        sizes.append((folder / "labels/one.txt").stat().st_size)
        (found,) = read_yolo(folder, images=save_pictures(output, "one.jpg"))
        assert iou(found.objects[0].mask(), ring()) > 0.94

    assert sizes[1] < sizes[0] / 2


def test_polygons_of_others(tmp_path) -> None:
    """By whole pixels, as OpenCV traces; joined parts; a line; with a score."""
    square = "0 0.25 0.2 0.5 0.2 0.5 0.4 0.25 0.4"
    joined = "1 0.25 0.2 0.5 0.2 0.5 0.4 0.75 0.6 0.9 0.6 0.9 0.8 0.75 0.6 0.5 0.4 0.25 0.4 0.25 0.2"
    text = f"{square}\n\n{joined}\n1.0 0.25 0.2 0.5 0.2 0.25 0.2\n{square} 0.75\n0 0.5 0.5 0.2 0.2 0.5"
    found = read_yolo(dataset(tmp_path, a=text)).images[0].objects

    assert [item.label for item in found] == ["0", "1", "1", "0", "0"]
    assert found[0].mask().sum() == 31 * 19
    assert found[1].area > found[0].area + 100
    assert not found[1].mask()[40:48, 70:80].any()
    assert found[2].mask().sum() == 31
    assert found[3].score == 0.75
    assert (found[4].rle, found[4].score) == (None, 0.5)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: [cat, dog]"),
        ("data.yaml", "names: {1: dog, 0: cat}"),
        ("data.yaml", "names: {'0': cat, '1': dog}"),
        ("classes.txt", "cat\ndog\n"),
        ("labels/classes.txt", "cat\r\ndog\r\n"),
    ],
)
def test_names_of_classes_are_found(tmp_path, file, text) -> None:
    folder = dataset(tmp_path, a="1 0.5 0.5 0.2 0.2")
    (folder / file).write_text(text, encoding="utf-8", newline="")

    for path in (folder, folder / "labels", folder / "labels/a.txt"):
        assert read_yolo(path).images[0].objects[0].label == "dog"
        assert read_yolo(path).labels == ("cat", "dog")


def test_pictures_beside_the_text_files_and_those_without_any(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2", encoding="utf-8")
    save_pictures(tmp_path, "a.png", "b.png")

    assert [(image.name, len(image.objects)) for image in read_yolo(tmp_path)] == [("a.png", 1), ("b.png", 0)]
    assert [image.name for image in read_yolo(tmp_path / "a.txt")] == ["a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.1 0.2 0.3", "line 1: must be a class and at least four numbers, got 4 words"),
        ("0 0.1 0.2 0.3 0.4\n0 0.1 0.2 0.3 x", "line 2: 'x' is not a number"),
        ("0 0.1 0.2 0.3 nan", "'nan' is not a finite number"),
        ("0 0.1 0.2 0.3 inf", "'inf' is not a finite number"),
        ("0 10 20 30 40", "shares of width and height"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 1.2", r"odd number of coordinates; .* got 1\.2"),
        ("0 0.1 0.2 -0.3 0.4", "x0 <= x1"),
        ("2 0.1 0.2 0.3 0.4", "there is no class 2, only 2 have names"),
        ("-1 0.1 0.2 0.3 0.4", "class must be a whole number"),
        ("0.5 0.1 0.2 0.3 0.4", "class must be a whole number"),
        ("car 0.1 0.2 0.3 0.4", "'car' is not a number"),
    ],
)
def test_damaged_lines_are_refused(tmp_path, text, message) -> None:
    folder = dataset(tmp_path, a=text)
    (folder / "data.yaml").write_text("names: [cat, dog]", encoding="utf-8")

    with pytest.raises(ValueError, match=rf"a\.txt, .*{message}"):
        read_yolo(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [", "is not YAML"),
        ("nc: 3", "'names' must be a list"),
        ("- 3", "'names' must be a list"),
        ("names: {0: a, 2: b}", r"without a gap, got \[0, 2\]"),
        ("names: {x: a}", "must be a whole number, got 'x'"),
    ],
)
def test_damaged_descriptions_are_refused(tmp_path, text, message) -> None:
    folder = dataset(tmp_path, a="")
    (folder / "data.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=rf"data\.yaml.*{message}"):
        read_yolo(folder)


def test_what_is_missing_is_named(tmp_path) -> None:
    folder = dataset(tmp_path, b="0 0.5 0.5 0.2 0.2")

    with pytest.raises(FileNotFoundError, match=r"b\.txt: there is no picture of this name"):
        read_yolo(folder)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_yolo(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_yolo(folder, images=tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="holds no text file"):
        read_yolo(tmp_path / "bare")
    (tmp_path / "bare/a.txt").write_text("", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="needs the pictures"):
        read_yolo(tmp_path / "bare")


def test_binary_files_are_refused(tmp_path) -> None:
    folder = dataset(tmp_path, a="")
    (folder / "labels/a.txt").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ValueError, match=r"a\.txt is not text"):
        read_yolo(folder)


def test_pictures_of_one_name_are_refused(tmp_path) -> None:
    writer = YoloWriter(tmp_path)
    writer.add(picture("one.jpg"))

    with pytest.raises(ValueError, match=r"one\.png: yolo has labels/one\.txt already"):
        writer.add(replace(picture(), name="one.png"))


def test_nothing_is_left_of_what_is_discarded(tmp_path) -> None:
    writer = YoloWriter(tmp_path)
    writer.add(picture())
    writer.discard()

    assert list(tmp_path.iterdir()) == []
