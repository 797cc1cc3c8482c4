import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, frames, ring, still

from sam2.interop.annotations import AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.rle import encode_mask


def box(**fields) -> ObjectAnnotation:
    return ObjectAnnotation((1, 2, 5, 4), **fields)


def test_a_mask_knows_its_box_and_area() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3] = 200

    item = ObjectAnnotation.from_mask(mask, label="car", track_id=3)

    assert (item.box, item.xywh, item.size, item.area) == ((3, 2, 4, 4), (3, 2, 1, 2), (1, 2), 2)
    assert (item.label, item.track_id) == ("car", 3)
    assert np.array_equal(item.mask(), mask > 0)


def test_an_empty_mask_has_an_empty_box() -> None:
    assert ObjectAnnotation.from_mask(np.zeros((6, 8), bool)).box == (0, 0, 0, 0)


def test_a_box_has_an_area_and_no_mask() -> None:
    item = box(label="car")

    assert (item.area, item.xywh, item.rle) == (8, (1, 2, 4, 2), None)
    with pytest.raises(ValueError, match="'car' has a box only"):
        item.mask()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"box": (1, 2, 3)}, "box must be"),
        ({"box": (5, 2, 1, 4)}, "x0 <= x1"),
        ({"box": (1, 4, 5, 2)}, "y0 <= y1"),
        ({"box": (1, 2, np.nan, 4)}, "finite"),
        ({"box": (1, 2, np.inf, 4)}, "finite"),
        ({"label": ""}, "label"),
        ({"rle": {"size": [2, 2], "counts": "0"}}, "expected 2 x 2"),
        ({"rle": {"size": [2, 2], "counts": "é"}}, "alphabet"),
    ],
)
def test_objects_that_make_no_sense_are_refused(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectAnnotation(**{"box": (1, 2, 5, 4), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "name"),
        ({"width": 0}, "a.jpg: width and height must be at least 1"),
        ({"frame": 3}, "needs both video and frame"),
        ({"video": VideoInfo("v", 8, 6)}, "needs both video and frame"),
        ({"video": VideoInfo("v", 8, 6), "frame": -1}, "frame >= 0"),
        ({"objects": (ObjectAnnotation.from_mask(np.ones((8, 6), bool)),)}, "a.jpg is 8 x 6, one of its masks 6 x 8"),
        ({"objects": (box(track_id=2), box(track_id=2))}, r"track_id must be unique in a picture, got \[2, 2\]"),
    ],
)
def test_pictures_that_make_no_sense_are_refused(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        AnnotatedImage(**{"name": "a.jpg", "width": 8, "height": 6, **values})


def test_a_picture_with_other_objects() -> None:
    picture = still()
    other = picture.with_objects([box()])

    assert (other.name, other.size, len(other.objects)) == (picture.name, (HEIGHT, WIDTH), 1)
    assert len(picture.objects) == 4


def test_classes_that_appear_are_appended() -> None:
    found = Annotations([still(), *frames()], ("person", "car"))

    assert found.labels == ("person", "car", "tree", "sign, or not", "dog")
    assert len(found) == 4
    assert list(found) == found.images


def test_videos_are_listed_once() -> None:
    assert [video.name for video in Annotations([*frames("a"), *frames("b"), still()]).videos] == ["a", "b"]


def test_encodings_are_taken_as_they_are() -> None:
    rle = encode_mask(ring())

    assert ObjectAnnotation.from_rle(rle).rle is rle
    assert ObjectAnnotation.from_rle(rle).area == ring().sum()
