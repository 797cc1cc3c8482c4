import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2.interop.detections import Detection, read_detections

DOG = Detection((10.0, 20.0, 110.0, 70.0), "dog", 0.9)
CAT = Detection((1.5, 2.0, 31.5, 42.0), "cat", 0.25)
SIZE = (200, 100)
XYXY = [list(DOG.box), list(CAT.box)]
XYWH = [[10, 20, 100, 50], [1.5, 2, 30, 40]]


def written(folder: Path, value: Any, name: str = "boxes.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


EVERY_IMAGE = {
    "zero-shot result": {"boxes": XYXY, "scores": [0.9, 0.25], "labels": ["dog", "cat"]},
    "text_labels beside numbers": {
        "boxes": XYXY,
        "scores": [0.9, 0.25],
        "text_labels": ["dog", "cat"],
        "labels": [0, 1],
    },
    "other box format": {"boxes": XYWH, "scores": [0.9, 0.25], "labels": ["dog", "cat"], "box_format": "xywh"},
    "normalised centres": {
        "boxes": [[0.3, 0.45, 0.5, 0.5], [0.0825, 0.22, 0.15, 0.4]],
        "scores": [0.9, 0.25],
        "labels": ["dog", "cat"],
        "box_format": "cxcywh",
        "normalized": True,
    },
    "ultralytics": [
        {"name": "dog", "class": 16, "confidence": 0.9, "box": {"x1": 10, "y1": 20, "x2": 110, "y2": 70}},
        {"name": "cat", "class": 15, "confidence": 0.25, "box": {"x1": 1.5, "y1": 2, "x2": 31.5, "y2": 42}},
    ],
    "pipeline of transformers": [
        {"score": 0.9, "label": "dog", "box": {"xmin": 10, "ymin": 20, "xmax": 110, "ymax": 70}},
        {"score": 0.25, "label": "cat", "box": {"xmin": 1.5, "ymin": 2, "xmax": 31.5, "ymax": 42}},
    ],
}
BY_NAME = {
    "COCO results": [
        {"image_id": "a", "bbox": XYWH[0], "category_name": "dog", "score": 0.9},
        {"image_id": "b", "bbox": XYWH[1], "category_name": "cat", "score": 0.25},
    ],
    "COCO results in a file": {
        "annotations": [
            {"file_name": "a.jpg", "bbox": XYWH[0], "category_name": "dog", "score": 0.9},
            {"file_name": "b.jpg", "bbox": XYWH[1], "category_name": "cat", "score": 0.25},
        ]
    },
    "COCO": {
        "images": [
            {"id": 7, "file_name": "val/a.jpg", "width": 200, "height": 100},
            {"id": 9, "file_name": "val/b.jpg", "width": 200, "height": 100},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 3, "bbox": XYWH[1], "score": 0.25},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": XYWH[0], "score": 0.9},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}],
    },
    "list of zero-shot results": [
        {"image": "a.jpg", "boxes": XYXY[:1], "scores": [0.9], "labels": ["dog"]},
        {"image": "b.jpg", "boxes": XYXY[1:], "scores": [0.25], "labels": ["cat"]},
    ],
    "zero-shot results by name": {
        "a.jpg": {"boxes": XYXY[:1], "scores": [0.9], "labels": ["dog"]},
        "b": {"boxes": XYXY[1:], "scores": [0.25], "labels": ["cat"]},
    },
    "lists of entries by name": {
        "a.jpg": [{"name": "dog", "confidence": 0.9, "box": {"x1": 10, "y1": 20, "x2": 110, "y2": 70}}],
        "b.jpg": [{"name": "cat", "confidence": 0.25, "bbox": XYWH[1]}],
    },
    "results with a list of annotations": [
        {
            "image_path": "photos/a.jpg",
            "annotations": [{"class_name": "dog", "bbox": XYXY[0], "score": [0.9]}],
            "box_format": "xyxy",
            "img_width": 200,
            "img_height": 100,
        },
        {"image_path": "photos/b.jpg", "annotations": [{"class_name": "cat", "bbox": XYWH[1], "score": 0.25}]},
    ],
}


@pytest.mark.parametrize("layout", EVERY_IMAGE)
def test_results_without_a_name_hold_for_every_image(tmp_path, layout) -> None:
    found = read_detections(written(tmp_path, EVERY_IMAGE[layout]))

    assert found.names is None
    assert found.knows("whatever.png")
    boxes = found.for_image("whatever.png", *SIZE)
    assert [(item.label, item.score) for item in boxes] == [("dog", 0.9), ("cat", 0.25)]
    assert boxes[0].box == pytest.approx(DOG.box)
    assert boxes[1].box == pytest.approx(CAT.box)


@pytest.mark.parametrize("layout", BY_NAME)
def test_entries_belong_to_the_image_they_name(tmp_path, layout) -> None:
    found = read_detections(written(tmp_path, BY_NAME[layout]))

    assert found.for_image("elsewhere/a.jpg", *SIZE) == [DOG]
    assert found.for_image("b.png", *SIZE) == [CAT]
    assert found.for_image("c.jpg", *SIZE) == []
    assert (found.knows("b.jpg"), found.knows("c.jpg")) == (True, False)
    assert {Path(name).stem for name in found.names or ()} == {"a", "b"}


@pytest.mark.parametrize(("value", "count"), [(XYXY, 2), (XYXY[0], 1), ([], 0)])
def test_plain_lists_of_corners(tmp_path, value, count) -> None:
    found = read_detections(written(tmp_path, value)).for_image("a.jpg", *SIZE)

    assert found == [Detection(DOG.box), Detection(CAT.box)][:count]
    assert all(item.label == "object" and item.score is None for item in found)


def test_what_sam2_image_wrote(tmp_path) -> None:
    record = {
        "image": "coffee.png",
        "width": 200,
        "height": 100,
        "model": "nano",
        "objects": [{"id": 1, "mask": "coffee_object1.png", "bbox": XYWH[0], "area": 9, "predicted_iou": 0.75}],
    }
    found = read_detections(written(tmp_path, record))

    assert found.for_image("coffee.png", *SIZE) == [Detection(DOG.box, "object", 0.75)]
    with pytest.raises(ValueError, match=r"boxes\.json.*coffee\.png are for 200 x 100, the image is 400 x 200"):
        found.for_image("coffee.png", 400, 200)


def test_what_sa1b_looks_like(tmp_path) -> None:
    record = {
        "image": {"image_id": 5, "width": 200, "height": 100, "file_name": "sa_5.jpg"},
        "annotations": [{"bbox": XYWH[0], "predicted_iou": 0.9, "segmentation": {}}],
    }

    assert read_detections(written(tmp_path, record)).for_image("sa_5.jpg", *SIZE)[0].box == DOG.box


def test_numbers_of_images_fit_names_with_leading_zeros(tmp_path) -> None:
    path = written(tmp_path, [{"image_id": 139, "bbox": XYWH[0], "category_id": 16, "score": 0.9}])

    assert read_detections(path, names={16: "dog"}).for_image("000000000139.jpg", *SIZE) == [DOG]
    assert read_detections(path).for_image("139.jpg", *SIZE)[0].label == "16"


def test_folders_tell_images_of_one_name_apart(tmp_path) -> None:
    path = written(tmp_path, {"left/1.jpg": [XYXY[0]], "right/1.jpg": [XYXY[1]]})
    found = read_detections(path)

    assert found.for_image("data/right/1.jpg", *SIZE) == [Detection(CAT.box)]
    assert found.for_image("data\\left\\1.png", *SIZE) == [Detection(DOG.box)]
    with pytest.raises(ValueError, match=r"several images fit 1\.jpg: left/1\.jpg, right/1\.jpg"):
        found.for_image("1.jpg", *SIZE)


def test_dots_in_names(tmp_path) -> None:
    found = read_detections(written(tmp_path, {"shot.v1": [XYXY[0]], "shot.v2.jpg": [XYXY[1]]}))

    assert found.for_image("shot.v1.jpg", *SIZE) == [Detection(DOG.box)]
    assert found.for_image("shot.v2.gif", *SIZE) == [Detection(CAT.box)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2, 3]], r"entry 0: a box must be four numbers \(xyxy\), got \[1, 2, 3\]"),
        ([[1, 2, 3, 4], [30, 20, 10, 40]], r"entry 1: .*x0 <= x1 and y0 <= y1, got \[30\.0, 20\.0, 10\.0, 40\.0\]"),
        ([{"image_id": 1, "bbox": [1, 2, -3, 4]}], "entry 0: .*width and height of at least 0"),
        ('{"boxes": [[1, NaN, 3, 4]]}', "box 0: expected a finite number, got nan"),
        ({"boxes": [[1, "2", 3, 4]]}, "box 0: expected a finite number, got '2'"),
        ({"boxes": [[1, 2, 3, 10**400]]}, "box 0: expected a finite number, got 1000"),
        ({"boxes": [[1, 2, 3, True]]}, "box 0: expected a finite number, got True"),
        ({"boxes": XYXY, "scores": [0.5]}, "scores has 1 entries for 2 boxes"),
        ({"boxes": XYXY, "labels": ["a", "b", "c"]}, "labels has 3 entries for 2 boxes"),
        ({"boxes": XYXY, "box_format": "yxyx"}, "box_format must be one of xyxy, xywh, cxcywh, got 'yxyx'"),
        ({"boxes": XYXY, "normalized": "yes"}, "normalized must be true or false, got 'yes'"),
        ({"a.jpg": [[1, 2, 3, 4], [5]]}, r"image 'a\.jpg', entry 1: a box must be four numbers"),
        ([{"boxes": XYXY}, {"boxes": XYXY}], "2 of 2 results do not say which image they are of"),
        ([{"image_id": 1, "bbox": XYWH[0]}, {"bbox": XYWH[1]}], "1 of 2 results do not say which image"),
        ([{"name": "dog", "box": {"x1": 1, "y1": 2, "x2": 3}}], r"entry 0: a box must have \['x1', 'y1', 'x2', 'y2'\]"),
        ([{"name": "dog"}], "entry 0: expected a box, or an object with 'bbox' or 'box'"),
        ({"images": [{"id": 1}], "annotations": []}, "images 0 must have an id and a file_name"),
        (
            {"images": [], "annotations": [{"image_id": 4, "bbox": XYWH[0]}]},
            "annotations 0: image_id 4 is not among the images",
        ),
        ({"version": 1, "shapes": []}, "no layout of boxes that is known, got an object with .*known are a COCO file"),
        ("7", "no layout of boxes that is known, got 7"),
        ({"boxes": [[0.1, 0.2, 0.3, 0.4]]}, 'all boxes lie within 0..1.*say "normalized": true'),
        ({"boxes": [[0.1, 0.2, 300, 0.4]], "normalized": True}, "box 0: normalised boxes lie within 0..1"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, value, message) -> None:
    path = written(tmp_path, value)

    with pytest.raises(ValueError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_caller_may_know_the_unit(tmp_path) -> None:
    path = written(tmp_path, [[0, 0, 0.5, 1]])

    assert read_detections(path, normalized=True).for_image("a.jpg", *SIZE)[0].box == (0, 0, 100, 100)
    assert read_detections(path, normalized=False).for_image("a.jpg", *SIZE)[0].box == (0, 0, 0.5, 1)


def test_a_file_knows_its_unit_better_than_the_caller(tmp_path) -> None:
    path = written(tmp_path, {"boxes": XYXY, "normalized": False})

    assert read_detections(path, normalized=True).for_image("a.jpg", *SIZE)[0].box == DOG.box


def test_nothing_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file or folder of boxes: .*none\.json"):
        read_detections(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"holds no boxes \(\.txt or \.json files\)"):
        read_detections(tmp_path)


YOLO_LINES = "1 0.3 0.45 0.5 0.5 0.9\n\n0 0.0825 0.22 0.15 0.4 0.25\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yolo/data.yaml", "names: [cat, dog]\n"),
        ("yolo/data.yaml", "names:\n  0: cat\n  1: dog\n"),
        ("yolo/labels/train/classes.txt", "cat\ndog\n"),
    ],
)
def test_a_folder_of_yolo(tmp_path, name, text) -> None:
    written(tmp_path, YOLO_LINES, "yolo/labels/train/a.txt")
    written(tmp_path, "", "yolo/labels/train/empty.v1.txt")
    written(tmp_path, text, name)
    found = read_detections(tmp_path / "yolo" / "labels" / "train")

    boxes = found.for_image("images/train/a.jpg", *SIZE)
    assert [(item.label, item.score) for item in boxes] == [("dog", 0.9), ("cat", 0.25)]
    assert boxes[0].box == pytest.approx(DOG.box)
    assert boxes[1].box == pytest.approx(CAT.box)
    assert found.for_image("images/train/a.jpg", 400, 200)[0].box == pytest.approx((20, 40, 220, 140))
    assert found.knows("empty.v1.jpg")
    assert found.for_image("empty.v1.jpg", *SIZE) == []
    assert sorted(found.names or ()) == ["a", "empty.v1"]


def test_the_whole_yolo_data_set(tmp_path) -> None:
    written(tmp_path, "0 0.5 0.5 1 1", "labels/train/a.txt")
    written(tmp_path, "0 0.5 0.5 0.5 0.5", "labels/val/a.txt")
    written(tmp_path, "names: [cat]", "data.yaml")

    found = read_detections(tmp_path)
    assert found.for_image("images/val/a.jpg", *SIZE) == [Detection((50, 25, 150, 75), "cat")]


def test_one_text_file_holds_for_every_image(tmp_path) -> None:
    found = read_detections(written(tmp_path, "3 0.5 0.5 1 1", "a.txt"), names=["w", "x", "y", "z"])

    assert found.for_image("b.jpg", *SIZE) == [Detection((0, 0, 200, 100), "z")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", r"line 2: expected class cx cy w h \[confidence\], got 4 columns"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9", "line 2: .*got 9 columns, as outlines have"),
        ("dog 0.5 0.5 0.5 0.5", "line 2: expected numbers, got 'dog 0.5"),
        ("0 nan 0.5 0.5 0.5", "line 2: expected numbers, got '0 nan"),
        ("1.5 0.5 0.5 0.5 0.5", "line 2: the class must be a whole number from 0, got 1.5"),
        ("0 320 240 100 50", "line 2: normalised boxes lie within 0..1"),
        ("0 0.5 0.5 -0.5 0.5", "line 2: a box .* must have width and height of at least 0"),
    ],
)
def test_wrong_lines_spoil_their_image_only(tmp_path, line, message) -> None:
    bad = written(tmp_path, f"0 0.5 0.5 1 1\n{line}\n", "bad.txt")
    written(tmp_path, "0 0.5 0.5 1 1\n", "good.txt")
    found = read_detections(tmp_path)

    assert len(found.for_image("good.jpg", *SIZE)) == 1
    with pytest.raises(ValueError, match=message) as caught:
        found.for_image("bad.jpg", *SIZE)
    assert str(bad) in str(caught.value)


def test_a_folder_of_json(tmp_path) -> None:
    written(tmp_path, [XYXY[0]], "a.json")
    written(tmp_path, {"image": "b.jpg", "boxes": [XYXY[1]]}, "b.json")
    written(tmp_path, {"b.jpg": [], "c.jpg": []}, "c.json")
    found = read_detections(tmp_path)

    assert found.for_image("a.jpg", *SIZE) == [Detection(DOG.box)]
    assert found.for_image("b.jpg", *SIZE) == [Detection(CAT.box)]
    with pytest.raises(ValueError, match=r"c\.json holds boxes of 2 images, expected those of c\.jpg"):
        found.for_image("c.jpg", *SIZE)


@pytest.mark.parametrize("text", ["names: 7", "a: [", "- x"])
def test_wrong_names_of_classes_are_named(tmp_path, text) -> None:
    written(tmp_path, "0 0.5 0.5 1 1", "a.txt")
    path = written(tmp_path, text, "data.yaml")

    with pytest.raises(ValueError, match=r"data\.yaml") as caught:
        read_detections(tmp_path)
    assert str(path) in str(caught.value)


keys = st.sampled_from(
    [
        "boxes",
        "bbox",
        "box",
        "image",
        "image_id",
        "id",
        "file_name",
        "images",
        "annotations",
        "objects",
        "categories",
        "scores",
        "labels",
        "label",
        "score",
        "normalized",
        "box_format",
        "width",
        "height",
        "x1",
        "y1",
        "x2",
        "y2",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.sampled_from(["", "a.jpg", "xywh", "1"])
values = st.recursive(
    scalars | st.lists(st.floats(-1, 300), min_size=4, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_whatever_json_holds_is_read_or_refused(value) -> None:
    """No error but ValueError, and nothing but boxes."""
    with TemporaryDirectory() as folder, suppress(ValueError):
        found = read_detections(written(Path(folder), value))
        for name in found.names or ("a.jpg",):
            boxes = [item.box for item in found.for_image(name, 200, 100)]
            assert all(x0 <= x1 and y0 <= y1 for x0, y0, x1, y1 in boxes)
