"""The readers on miniature training sets, with and without what the teacher saw."""

import json
from collections import Counter
from pathlib import Path

import miniature
import numpy as np
import pytest
from miniature import HEIGHT, WIDTH

from sam2.train.nano.data.records import (
    ImageRecord,
    ObjectMask,
    filled,
    read_all,
    read_clothes,
    read_coco_instances,
    read_coco_panoptic,
    read_photos,
    taught,
)


def full(item: ObjectMask) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[item.y : item.y + item.mask.shape[0], item.x : item.x + item.mask.shape[1]] = item.mask
    return mask


def test_panoptic_segments_riders_and_stuff(tmp_path):
    truth = miniature.write_panoptic(tmp_path)

    (record,) = read_coco_panoptic(tmp_path)  # the photo that is not there is passed over

    assert record.path.exists()
    assert record.name == "coco128_pan/000001"
    assert Counter(item.kind for item in record.objects) == {"thing": 2, "stuff": 1, "group": 1}
    person, bicycle, sky, group = record.objects
    np.testing.assert_array_equal(full(person), truth["person"])
    np.testing.assert_array_equal(full(bicycle), truth["bicycle"])
    assert full(sky)[:10].all()
    assert not full(sky)[10:].any()  # the speck of sky is left out
    np.testing.assert_array_equal(full(group), truth["person"] | truth["bicycle"])


def test_a_person_who_touches_nothing_rides_nothing(tmp_path):
    miniature.write_panoptic(tmp_path)
    listing = tmp_path / "panoptic_segmentation" / "annotations" / "panoptic_val2017.json"
    content = json.loads(listing.read_text())
    content["annotations"][0]["segments_info"][1]["category_id"] = 1  # the bicycle becomes a second person
    listing.write_text(json.dumps(content))

    (record,) = read_coco_panoptic(tmp_path)

    assert Counter(item.kind for item in record.objects) == {"thing": 2, "stuff": 1}


def test_instances_as_polygons_and_run_lengths(tmp_path):
    miniature.write_instances(tmp_path)

    with_objects, without = read_coco_instances(tmp_path)

    assert without.objects == []
    square, angle, column = with_objects.objects  # without the crowd
    expected = np.zeros((3, HEIGHT, WIDTH), bool)
    expected[0, 20:50, 10:40] = True
    expected[1, 10:40, 50:60] = expected[1, 30:40, 60:80] = True
    expected[2, :, :3] = True
    for item, mask in zip((square, angle, column), expected, strict=True):
        np.testing.assert_array_equal(full(item), mask)


def test_a_polygon_covers_what_it_covers_by_half():
    triangle = [[4.0, 2.0, 60.0, 8.0, 20.0, 50.0]]
    mask = filled(triangle, HEIGHT, WIDTH)
    x0, y0, x1, y1, x2, y2 = triangle[0]
    area = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
    assert mask.sum() == pytest.approx(area, rel=0.03)  # outlines are drawn in full, a quarter of a pixel wide


def test_clothes_are_parts_of_a_whole_person(tmp_path):
    miniature.write_clothes(tmp_path)

    (record,) = read_clothes(tmp_path)

    assert [(item.kind, item.area) for item in record.objects[:2]] == [("part", 20 * 30), ("part", 29 * 20)]
    person = record.objects[2]
    assert person.kind == "whole"
    assert full(person)[10:60, 45].all()  # the unlabelled line between coat and trousers is closed


def test_small_objects_are_left_out(tmp_path):
    miniature.write(tmp_path / "labels" / "1.png", np.pad(np.full((7, 7), 3, np.uint8), 20))
    (record,) = read_clothes(tmp_path)
    assert record.objects == []


def test_photos_in_sub_folders_have_no_objects(tmp_path):
    for name in ("a/x.jpg", "b/c/y.jpg"):
        miniature.write(tmp_path / name, miniature.photo(0))
    assert [(record.path.name, record.objects) for record in read_photos(tmp_path)] == [("x.jpg", []), ("y.jpg", [])]


def test_all_sets_that_are_there(tmp_path):
    miniature.write_all(tmp_path)
    sources = Counter(record.source for record in read_all(tmp_path))
    assert sources == {"coco128_pan": 1, "coco128_instances": 2, "ccp": 1, "photos": 1}


def test_teacher_masks_are_added(tmp_path):
    root = miniature.write_all(tmp_path / "data")
    seen = miniature.disc(50, 30, 10)
    teacher = tmp_path / "teacher"
    miniature.write(teacher / "photos" / "p_0.png", seen * np.uint8(255))
    miniature.write(teacher / "photos" / "p_1.png", miniature.disc(5, 5, 2) * np.uint8(255))  # too small

    found = {record.name: record.objects for record in read_all(root, teacher)}

    (salient,) = found["photos/p"]
    assert salient.kind == "salient"
    np.testing.assert_array_equal(full(salient), seen)
    assert [item.kind for item in found["ccp/0001"]] == ["part", "part", "whole"]


def test_a_record_keeps_its_own_objects_with_the_teachers(tmp_path):
    own = ObjectMask.cropped(miniature.disc(20, 20, 9), "thing")
    miniature.write(tmp_path / "s" / "a_0.png", miniature.disc(50, 30, 10) * np.uint8(255))
    record = taught(ImageRecord(Path("a.jpg"), "s", [own]), tmp_path)
    assert [item.kind for item in record.objects] == ["thing", "salient"]


def test_the_teachers_outline_takes_the_annotators_place(tmp_path):
    first, second = (ObjectMask.cropped(miniature.disc(x, 20, 9), "thing") for x in (20, 60))
    better = miniature.disc(60, 20, 11)
    miniature.write(tmp_path / "s" / "a_outline_1.png", better * np.uint8(255))
    record = taught(ImageRecord(Path("a.jpg"), "s", [first, second]), tmp_path)
    assert [item.kind for item in record.objects] == ["thing", "thing"]
    assert record.objects[0] is first
    np.testing.assert_array_equal(full(record.objects[1]), better)


@pytest.mark.parametrize(
    ("reader", "named"),
    [
        (read_coco_panoptic, r"panoptic_\*.json"),
        (read_coco_instances, r"instances_\*.json"),
        (read_clothes, "labels"),
        (read_all, "coco128_pan, coco128_instances, ccp, photos"),
    ],
)
def test_what_is_missing_is_named(tmp_path, reader, named):
    with pytest.raises(FileNotFoundError, match=named):
        list(reader(tmp_path))


def test_an_empty_mask_has_an_empty_crop():
    item = ObjectMask.cropped(np.zeros((5, 5), bool), "thing")
    assert item.area == 0
    assert item.mask.shape == (0, 0)
