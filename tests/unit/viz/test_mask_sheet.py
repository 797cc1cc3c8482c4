"""A sheet of all masks of a picture."""

import numpy as np
import pytest

from sam2.viz import mask_sheet, object_colour
from sam2.viz.sheet import CARD


@pytest.fixture
def photo() -> np.ndarray:
    photo = np.full((120, 160, 3), (20, 120, 40), np.uint8)
    photo[30:60, 30:70] = (250, 20, 230)
    photo[80:100, 100:150] = (10, 10, 200)
    return photo


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((120, 160), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 12).mean())


def test_each_object_stands_alone_on_its_card(photo: np.ndarray) -> None:
    masks = [box(30, 30, 70, 60), box(100, 80, 150, 100)]
    sheet = mask_sheet(photo, masks, ids=[4, 9], overlay=photo)
    cards = sheet[-400:]
    first, second = cards[:, :400], cards[:, 400:800]
    assert share(first, (250, 20, 230)) > 0.3
    assert share(first, (10, 10, 200)) == 0
    assert share(first, (20, 120, 40)) < 0.02, "nothing of what is around it, but for a soft edge"
    assert share(first, CARD) > 0.1
    assert share(first, object_colour(4)) > 0.001
    assert share(second, (10, 10, 200)) > 0.2
    assert share(second, object_colour(9)) > 0.001
    assert share(sheet[:-400], (250, 20, 230)) > 0.01, "the picture above"


def test_the_overlay_is_drawn_where_none_is_given(photo: np.ndarray) -> None:
    mask = box(30, 30, 70, 60)
    drawn, plain = mask_sheet(photo, [mask], ids=[1]), mask_sheet(photo, [mask], ids=[1], overlay=photo)
    assert drawn.shape == plain.shape
    assert (drawn[:-400] != plain[:-400]).any()
    np.testing.assert_array_equal(drawn[-380:], plain[-380:])


def test_masks_may_be_a_generator_and_of_any_type(photo: np.ndarray) -> None:
    masks = [box(30, 30, 70, 60), box(100, 80, 150, 100)]
    expected = mask_sheet(photo, masks, ids=[1, 2], captions=["0.91", "0.5"], overlay=photo)
    logits = (np.where(mask, 3.5, -2.0) for mask in masks)
    np.testing.assert_array_equal(
        mask_sheet(photo, logits, ids=[1, 2], captions=["0.91", "0.5"], overlay=photo), expected
    )


@pytest.mark.parametrize("count", [0, 1, 40, 700])
def test_any_number_of_objects(photo: np.ndarray, count: int) -> None:
    masks = (box(number % 150, number % 110, number % 150 + 1 + number % 9, 115) for number in range(count))
    captions = [f"object {number}, a long caption" for number in range(count)]
    sheet = mask_sheet(photo, masks, ids=range(1, count + 1), captions=captions, overlay=photo)
    assert sheet.shape[1] == 1600
    assert sheet.shape[0] < 16_000


def test_an_empty_mask_has_an_empty_card(photo: np.ndarray) -> None:
    sheet = mask_sheet(photo, [np.zeros((120, 160))], ids=[1], overlay=photo)
    assert share(sheet[-300:-20, 20:380], CARD) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": [np.zeros((5, 4))]}, r"masks\[0\] must have the image's shape"),
        ({"ids": [1, 2]}, r"ids must have one entry per mask \(1\), got 2"),
        ({"ids": []}, "ids must have one entry per mask"),
        ({"captions": ["a", "b"]}, r"captions must have one entry per id \(1\), got 2"),
        ({"overlay": np.zeros((4, 4), np.uint8)}, "overlay must be uint8"),
        ({"image": np.zeros((120, 160, 3))}, "image must be uint8"),
    ],
)
def test_wrong_input_is_named(photo: np.ndarray, change: dict, message: str) -> None:
    arguments = {"image": photo, "masks": [box(0, 0, 9, 9)], "ids": [1], "overlay": photo, **change}
    with pytest.raises(ValueError, match=message):
        mask_sheet(**arguments)
