"""Augmentation: the geometry of views, and colours that change together."""

import math

import numpy as np
import painted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sam2.train.data.colours import ColourChange, change_clip, change_colours
from sam2.train.data.config import NO_AUGMENTATION, AugmentConfig
from sam2.train.data.cutouts import cut_out, make_sprite
from sam2.train.data.footage import read_frame
from sam2.train.data.motion import Flight, Wobble
from sam2.train.data.view import FILL, View, draw_view, whole_view

SEEDS = st.integers(0, 2**32)
UNTURNED = {"affine": 0.0, "flip": 0.0}
FRAME = read_frame(painted.Painted(), 0)


def noise(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "side"), [(60, 90, 32), (60, 90, 128), (64, 64, 64), (300, 40, 96)])
def test_the_whole_view_is_the_official_resize(height, width, side):
    image = noise(height, width)
    expected = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))

    np.testing.assert_array_equal(whole_view(image.shape).image(image, side), expected)


@pytest.mark.parametrize(("side", "by"), [(120, 2), (60, 1), (20, 3)])
def test_masks_take_the_nearest_pixel(side, by):
    mask = noise(60, 60)[..., 0] > 128
    seen = whole_view(mask.shape).mask(mask, side)

    expected = np.repeat(np.repeat(mask, 2, 0), 2, 1) if side > 60 else mask[by // 2 :: by, by // 2 :: by]
    np.testing.assert_array_equal(seen, expected)


def test_mirrored_views_are_mirrored():
    image, mask = noise(), noise()[..., 0] > 128
    plain, mirrored = View((10, 5, 70, 55)), View((10, 5, 70, 55), mirrored=True)

    np.testing.assert_array_equal(mirrored.image(image, 40), plain.image(image, 40)[:, ::-1])
    # 60 x 50 pixels on 41 x 41: no middle of a cell falls between two pixels
    np.testing.assert_array_equal(mirrored.mask(mask, 41), plain.mask(mask, 41)[:, ::-1])


def test_a_turn_by_nothing_changes_next_to_nothing():
    box, nothing = (10, 5, 70, 55), np.eye(2, 3)
    image = np.asarray(Image.fromarray(noise(6, 9)).resize((90, 60), Image.Resampling.BICUBIC))
    for side in (32, 160):
        plain, turned = (View(box, turn=turn).image(image, side).astype(int) for turn in (None, nothing))
        inner = np.s_[2:-2, 2:-2]  # at the border one knows what comes next, the other does not
        assert np.abs(plain - turned)[inner].mean() < 2


def test_a_quarter_turn_is_one():
    image, mask = FRAME.image[:, :80], FRAME.mask(0)[:, :80]
    quarter = View((0, 0, 80, 80), turn=np.array([[0.0, -1, 1], [1, 0, 0]]))  # (x, y) to (1 - y, x): clockwise

    np.testing.assert_array_equal(quarter.mask(mask, 80), np.rot90(mask, -1))
    np.testing.assert_array_equal(quarter.image(image, 80), np.rot90(image, -1))


def test_beyond_the_picture_is_the_mean_colour_and_no_object():
    far = View((0, 0, 120, 80), turn=np.array([[1.0, 0, 3], [0, 1, 0]]))
    assert (far.image(FRAME.image, 32) == FILL).all()
    assert not far.mask(np.ones((80, 120), bool), 32).any()
    half = View((0, 0, 120, 80), turn=np.array([[1.0, 0, 0.5], [0, 1, 0]]))
    assert (half.image(FRAME.image, 32)[:, :15] == FILL).all()
    assert half.mask(np.ones((80, 120), bool), 32).sum() == 16 * 32


@settings(deadline=None)
@given(
    seed=SEEDS,
    side=st.sampled_from([48, 96, 160]),
    crop=st.sampled_from([0.0, 1.0]),
    height=st.integers(40, 200),
    width=st.integers(40, 200),
)
def test_images_and_masks_go_the_same_way(seed, side, crop, height, width):
    record = painted.Painted(height=height, width=width, discs=((width / 2, height / 2, min(height, width) / 3),))
    frame = read_frame(record, 0)
    config = AugmentConfig(crop=crop, shift=0.2, zoom=(0.6, 1.5))
    view = draw_view(np.random.default_rng(seed), config, frame.image.shape)

    seen = view.image(frame.image, side), frame.seen_mask(0, view, side)

    # Masks go by the nearest pixel of the record and colours are blended: they differ by a pixel of it, enlarged.
    rim = 2 + math.ceil(1.5 * 2 * side / min(height, width))
    assert painted.misplaced(*seen, 0, rim=rim) < 0.002


@given(seed=SEEDS, height=st.integers(1, 300), width=st.integers(1, 300))
def test_crops_lie_in_the_picture(seed, height, width):
    config = AugmentConfig(**UNTURNED, crop=1.0)
    left, top, right, bottom = draw_view(np.random.default_rng(seed), config, (height, width)).box

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(seed=SEEDS, x=st.integers(0, 100), y=st.integers(0, 60), width=st.integers(1, 20), height=st.integers(1, 20))
def test_crops_around_an_object_show_all_of_it(seed, x, y, width, height):
    config = AugmentConfig(**UNTURNED, crop=1.0, crop_objects=1.0, crop_scale=(0.05, 0.5))
    view = draw_view(np.random.default_rng(seed), config, (80, 120), around=(x, y, x + width, y + height))
    left, top, right, bottom = view.box

    assert left <= x < x + width <= right
    assert top <= y < y + height <= bottom


def test_without_augmentation_a_view_is_the_whole():
    for seed in range(20):
        view = draw_view(np.random.default_rng(seed), NO_AUGMENTATION, (60, 90))
        assert (view.box, view.mirrored, view.turn) == ((0, 0, 90, 60), False, None)


def test_affine_maps_stay_within_their_limits():
    config = AugmentConfig(flip=0.0, shear=0.0, degrees=30.0)
    angles = []
    for seed in range(60):
        turn = draw_view(np.random.default_rng(seed), config, (80, 80)).turn
        assert turn is not None
        np.testing.assert_allclose(turn[:, :2] @ turn[:, :2].T, np.eye(2), atol=1e-9)
        np.testing.assert_allclose(turn @ [0.5, 0.5, 1], [0.5, 0.5])
        angles.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    assert -30 <= min(angles) < -15
    assert 15 < max(angles) <= 30


def test_a_turn_keeps_right_angles_of_the_picture_not_of_the_square():
    config = AugmentConfig(flip=0.0, shear=0.0, degrees=40.0)
    turn = draw_view(np.random.default_rng(1), config, (50, 200)).turn
    sides = np.array([200, 50])
    in_pixels = turn[:, :2] / sides[None] * sides[:, None]

    np.testing.assert_allclose(in_pixels @ in_pixels.T, np.eye(2), atol=1e-9)


def test_colour_changes_do_what_they_say():
    image = noise()
    grey = image.astype(float) @ [0.299, 0.587, 0.114]
    close = {"atol": 1.01}

    np.testing.assert_array_equal(change_colours(image, (ColourChange(),)), image)
    np.testing.assert_allclose(change_colours(image, (ColourChange(brightness=0.5),)), image * 0.5, **close)
    low = change_colours(image, (ColourChange(contrast=0.5),))
    np.testing.assert_allclose(low, 0.5 * image + 0.5 * grey.mean(), **close)
    pale = change_colours(image, (ColourChange(saturation=0.25),))
    np.testing.assert_allclose(pale, 0.25 * image + 0.75 * grey[..., None], **close)
    np.testing.assert_allclose(change_colours(image, (ColourChange(grey=True),)), grey[..., None] + [0, 0, 0], **close)


def test_a_third_of_the_colour_circle_turns_red_to_green():
    red = np.full((4, 4, 3), (200, 0, 0), np.uint8)
    turned = change_colours(red, (ColourChange(hue=-2 * np.pi / 3),))[0, 0]

    assert turned[1] > 2 * max(turned[0], turned[2])


def test_one_change_after_the_other_is_as_both_at_once():
    image = np.asarray(noise() // 2 + 40, np.uint8)
    one = ColourChange(brightness=1.1, contrast=0.9)
    two = ColourChange(saturation=0.8, contrast=1.1)

    stepwise = change_colours(change_colours(image, (one,)), (two,))
    np.testing.assert_allclose(change_colours(image, (one, two)).astype(int), stepwise.astype(int), atol=3)


def test_a_clip_changes_together_but_for_the_small_part():
    images = np.repeat(noise()[None], 5, 0)
    shared = AugmentConfig(frame_brightness=0, frame_contrast=0, frame_saturation=0, brightness=0.4, hue=0.5)
    frames = change_clip(np.random.default_rng(0), images, shared)
    assert (frames == frames[0]).all()
    assert (frames != images).any()

    own = change_clip(np.random.default_rng(0), images, AugmentConfig())
    assert all((own[t] != own[0]).any() for t in range(1, 5))
    again = change_clip(np.random.default_rng(0), images, AugmentConfig())
    np.testing.assert_array_equal(own, again)


def test_a_grey_clip_is_grey_in_all_frames():
    frames = change_clip(np.random.default_rng(0), np.stack([noise(), noise(seed=1)]), AugmentConfig(grey=1.0))
    assert np.ptp(frames.astype(int), axis=-1).max() <= 1


def test_blur_and_noise_come_when_asked_for():
    images = np.repeat(painted.Painted().image(0)[None], 2, 0)
    none = dict.fromkeys(("brightness", "contrast", "saturation", "grey"), 0.0)
    none |= dict.fromkeys(("frame_brightness", "frame_contrast", "frame_saturation"), 0.0)

    def changed(**fields) -> np.ndarray:
        return change_clip(np.random.default_rng(0), images, AugmentConfig(**none, **fields)).astype(int)

    np.testing.assert_array_equal(changed(), images)
    noisy = changed(noise=1.0) - images
    assert 1 < noisy[images == 90].std() < 11
    assert (noisy[0] != noisy[1]).any()
    blurred = changed(blur=1.0)
    assert np.abs(np.diff(blurred[0], axis=1)).max() < np.abs(np.diff(images[0].astype(int), axis=1)).max()
    np.testing.assert_array_equal(blurred[0], blurred[1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.1}, "flip must be within 0 to 1"),
        ({"hue": 0.6}, "hue must be within 0 to 0.5"),
        ({"zoom": (2.0, 1.0)}, "zoom must be"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale must be"),
        ({"degrees": float("nan")}, "degrees"),
        ({"mosaic_kind": "none"}, "mosaic_kind"),
    ],
)
def test_impossible_augmentation_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**fields)


def test_only_whole_objects_are_cut_out():
    image = np.zeros((50, 50, 3), np.uint8)
    mask = np.zeros((50, 50), bool)
    mask[10:30, 15:40] = True
    cutout = cut_out(image, mask)
    assert cutout is not None
    assert (cutout.pixels.shape, cutout.mask.shape) == ((20, 25, 3), (20, 25))
    touching, tiny, everything = np.zeros((3, 50, 50), bool)
    touching[10:30, :20], tiny[3:5, 3:5], everything[1:49, 1:49] = True, True, True

    assert [cut_out(image, one) for one in (touching, tiny, everything)] == [None, None, None]


def test_a_sprite_covers_what_it_paints():
    cutout = cut_out(FRAME.image, FRAME.mask(0))
    assert cutout is not None
    rest = Wobble(np.zeros((2, 5, 5, 2), np.float32), 0.0, 0.1)
    flight = Flight(
        centre=np.array([[0.25, 0.5], [0.75, 0.5], [3.0, 0.5], [0.5, 0.5]]),
        angle=np.zeros(4),
        size=np.full(4, 0.4),
        squeeze=np.zeros(4),
        hidden=np.array([False, False, False, True]),
        wobble=rest,
    )
    sprite = make_sprite(np.random.default_rng(0), cutout, flight, side=100)
    for t, middle in enumerate((25, 75)):
        frame = np.full((100, 100, 3), 90, np.uint8)
        covered = sprite.paint(frame, t)
        rows, columns = np.nonzero(covered)
        assert (rows.mean(), columns.mean()) == pytest.approx((49.5, middle - 0.5), abs=1.5)
        assert np.ptp(columns) == pytest.approx(40, abs=3)
        changed = (frame != 90).any(-1)
        assert changed[covered].mean() > 0.99
        assert changed.sum() < 1.2 * covered.sum()  # a feathered edge
    for t in (2, 3):  # out of the frame, hidden
        frame = np.full((100, 100, 3), 90, np.uint8)
        assert not sprite.paint(frame, t).any()
        assert (frame == 90).all()
