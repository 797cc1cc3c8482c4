from itertools import pairwise

import numpy as np
import pytest

from sam2.viz import DrawnPrompts, contact_sheet, draw_overlay, object_colour
from sam2.viz.palette import NEGATIVE, POSITIVE


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def disk_mask(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns - x, rows - y) <= radius


def test_overlay_keeps_the_photo_and_draws_where_the_object_is(photo: np.ndarray) -> None:
    before = photo.copy()
    mask = disk_mask(120, 160, 80, 60, 30)
    drawn = draw_overlay(photo, [mask], dim=0.0)
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(photo, before)
    far = ~disk_mask(120, 160, 80, 60, 40)
    np.testing.assert_array_equal(drawn[far], photo[far])
    assert np.abs(drawn[mask].astype(int) - photo[mask]).mean() > 10
    edge = drawn[60, 50].astype(int)
    assert np.abs(edge - object_colour(1)).max() < 90


def test_mask_types_give_the_same_picture(photo: np.ndarray) -> None:
    mask = disk_mask(120, 160, 80, 60, 30)
    reference = draw_overlay(photo, [mask])
    for other in (mask.astype(np.float32), mask.astype(np.uint8) * 255, np.where(mask, 3.5, -2.0)):
        np.testing.assert_array_equal(draw_overlay(photo, other[None]), reference)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (33, 7), (700, 900)])
def test_any_size_and_any_mask(shape: tuple[int, int]) -> None:
    height, width = shape
    image = np.full((height, width, 3), 128, np.uint8)
    one_pixel = np.zeros(shape, bool)
    one_pixel[-1, -1] = True
    masks = [np.zeros(shape, bool), np.ones(shape, bool), one_pixel]
    prompts = [
        DrawnPrompts([(0, 0), (width + 50.0, -20.0)], [1, 0]),
        DrawnPrompts(box=(-10, -10, width + 10.0, height + 10.0)),
        DrawnPrompts(box=(0, 0, 0.5, 0.5)),
    ]
    assert draw_overlay(image, masks, ids=[3, 70, 1], prompts=prompts).shape == image.shape


def test_no_masks_leaves_the_photo_as_it_is(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_overlay(photo, []), photo)
    np.testing.assert_array_equal(draw_overlay(photo, np.zeros((1, 120, 160))), photo)


def test_clicks_are_green_and_red(photo: np.ndarray) -> None:
    drawn = draw_overlay(photo, np.zeros((1, 120, 160)), prompts=[DrawnPrompts([(40, 60), (120, 60)], [1, 0])])
    # beside the white plus and minus, inside the marker
    assert np.abs(drawn[62, 42].astype(int) - POSITIVE).max() < 60
    assert np.abs(drawn[62, 120].astype(int) - NEGATIVE).max() < 60


def test_colours_of_neighbours_differ_and_repeat_late() -> None:
    colours = [object_colour(number) for number in range(1, 22)]
    assert len(set(colours)) == 21
    assert object_colour(22) == object_colour(1)
    assert all(0 <= value <= 255 for colour in colours for value in colour)
    for one, two in pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, two, strict=True)) > 100


@pytest.mark.parametrize(
    ("image", "masks", "options", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), [], {}, "image must be a uint8 array"),
        (np.zeros((4, 4), np.uint8), [], {}, "image must be a uint8 array"),
        (np.zeros((4, 4, 3), np.uint8), [np.zeros((5, 4))], {}, r"masks\[0\] must have the image's shape"),
        (np.zeros((4, 4, 3), np.uint8), [np.zeros((4, 4))], {"ids": [1, 2]}, "ids must have one entry per mask"),
        (np.zeros((4, 4, 3), np.uint8), [np.zeros((4, 4))], {"prompts": []}, "prompts must have one entry"),
        (np.zeros((4, 4, 3), np.uint8), [], {"tint": 1.5}, "tint must be in 0..1"),
    ],
)
def test_wrong_input_is_named(image: np.ndarray, masks: list[np.ndarray], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_overlay(image, masks, **options)


def test_prompts_need_a_label_per_point() -> None:
    with pytest.raises(ValueError, match="one entry per point"):
        DrawnPrompts([(1, 2)], [])


def test_contact_sheet_keeps_shapes_and_order() -> None:
    wide = np.full((50, 200, 3), (200, 0, 0), np.uint8)
    tall = np.full((400, 100, 3), (0, 0, 200), np.uint8)
    sheet = contact_sheet(
        [wide, tall], captions=["wide", "a caption much too long for one cell of the sheet"], cell=120
    )
    assert sheet.shape[1] == 2 * 120 + 3 * 14
    red = (sheet == (200, 0, 0)).all(axis=2)
    blue = (sheet == (0, 0, 200)).all(axis=2)
    assert red.sum() == 120 * 30
    assert blue.sum() == 30 * 120
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "at least one image"),
        ([np.zeros((4, 4), np.uint8)], {}, r"images\[0\] must be uint8"),
        ([np.zeros((4, 4, 3), np.uint8)], {"captions": ["a", "b"]}, "one entry per image"),
        ([np.zeros((4, 4, 3), np.uint8)], {"cell": 2}, "cell >= 16"),
    ],
)
def test_contact_sheet_names_wrong_input(images: list[np.ndarray], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contact_sheet(images, **options)
