"""Samples: shapes, chance, what may be asked for, and that masks move with their pixels."""

import cv2
import miniature
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2.train.data.augment import (
    Window,
    degrade,
    jitter_colours,
    object_window,
    random_window,
    smear,
    whole_window,
)
from sam2.train.nano.data import samples
from sam2.train.nano.data.loader import batches
from sam2.train.nano.data.pack import PackedData, is_held_out, open_packed, pack
from sam2.train.nano.data.records import ImageRecord, ObjectMask
from sam2.train.nano.data.samples import SampleConfig, Sampler, hang_on_ropes, paste, paste_tied


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    pack(miniature.records(folder / "photos"), folder / "cache")
    return folder / "cache"


@pytest.fixture
def data(cache) -> PackedData:
    return open_packed(cache)


def draw(data, seed=0, count=1, **changes):
    rng = np.random.default_rng(seed)
    sampler = Sampler(data, SampleConfig(image_size=64, masks=3, **changes))
    return [sampler.draw(rng) for _ in range(count)]


def test_shapes_and_kinds_of_numbers(data):
    for sample in draw(data, count=10):
        assert (sample.image.shape, sample.image.dtype) == ((64, 64, 3), np.uint8)
        assert (sample.masks.shape, sample.masks.dtype) == ((3, 32, 32), bool)


def test_the_same_seed_gives_the_same_samples(data):
    first, again, other = (draw(data, seed, count=4) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.masks, two.masks)
    assert any((one.image != two.image).any() for one, two in zip(first, other, strict=True))


def test_objects_are_no_smaller_than_asked_for(data):
    samples = draw(data, count=40, min_area=0.02, absent_share=0, composite_share=0)
    areas = np.concatenate([sample.masks.mean((1, 2)) for sample in samples])
    assert areas.min() >= 0.02


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_the_objects_is_absent(data, share):
    empty = [not mask.any() for sample in draw(data, count=10, absent_share=share) for mask in sample.masks]
    assert np.mean(empty) == share


def test_masks_lie_on_their_objects(data):
    """Discs are red; whatever was cropped, mirrored and recoloured, they are redder than what surrounds them."""
    wanted = {"thing": 1.0, "whole": 0, "group": 0, "part": 0, "stuff": 0, "salient": 0}
    right = []
    for sample in draw(data, count=20, absent_share=0, composite_share=0, rope_share=0, kind_weights=wanted):
        image = sample.image[::2, ::2].astype(int)
        redness = image[..., 0] - image[..., 1]
        right += [redness[mask].mean() > redness[~sample.masks.any(0)].mean() + 5 for mask in sample.masks]
    assert np.mean(right) > 0.85  # a few photos turn grey


def test_ropes_belong_to_what_hangs_on_them():
    image = np.full((128, 128, 3), 90, np.uint8)
    hung, other = np.zeros((2, 64, 64), bool)
    hung[20:36, 10:20], other[:, 40:] = True, True

    for seed in range(20):
        drawn, (tied, rest), weights = hang_on_ropes(np.random.default_rng(seed), image, [hung, other], [1.0, 3.0])
        assert (tied & hung).sum() == hung.sum()
        assert not (tied & rest).any()
        assert (tied & ~hung).any()
        changed = (drawn != image).any(-1)
        assert not changed[40:72, 20:40].any()  # the object itself is as it was
        assert changed.reshape(64, 2, 64, 2).any((1, 3))[tied & ~hung].all()
        assert weights == [3.0, 3.0]


def test_large_objects_get_no_ropes():
    image, large = np.zeros((128, 128, 3), np.uint8), np.ones((64, 64), bool)

    drawn, masks, weights = hang_on_ropes(np.random.default_rng(0), image, [large], [1.0])

    assert drawn is image
    assert masks[0] is large
    assert weights == [1.0]


def test_what_is_crowded_is_drawn_less_often(tmp_path):
    """A frame around a disc, whose box says little about what is meant, and the disc."""
    frame, disc = np.ones((72, 96), bool), miniature.disc(48, 36, 30)
    frame[4:68, 4:92] = False
    objects = [ObjectMask.cropped(mask, "thing") for mask in (frame, disc)]
    named = (ImageRecord(tmp_path / f"{number}.png", "photos", objects) for number in range(20))
    record = next(record for record in named if not is_held_out(record.name))
    miniature.write(record.path, miniature.photo(0))
    pack([record], tmp_path / "cache")
    packed = open_packed(tmp_path / "cache")

    def share_of_frames(crowding: float) -> float:
        options = {"crowding": crowding, "absent_share": 0, "composite_share": 0, "rope_share": 0, "whole_share": 1.0}
        masks = np.concatenate([sample.masks for sample in draw(packed, count=40, **options)])
        return float(np.mean([not mask[12:20, 12:20].any() for mask in masks]))

    assert share_of_frames(0.35) < 0.5 * share_of_frames(1e9)


def test_held_out_photos_are_drawn_by_nobody_but_who_asks(data):
    held = np.flatnonzero(data.images["held_out"])
    assert 0 < len(held) < len(data.images)
    opened = []

    class Watched(PackedData):
        def image(self, index):
            opened.append(index)
            return PackedData.image(self, index)

    watched = Watched(data.images, data.masks, data.pixels, data.bits)
    draw(watched, count=60, composite_share=0.5)
    assert not set(opened) & set(held)
    opened.clear()
    rng = np.random.default_rng(0)
    Sampler(watched, SampleConfig(image_size=64), held_out=True).draw(rng)
    assert set(opened) <= set(held)


def test_nothing_to_draw_is_an_error(data):
    with pytest.raises(ValueError, match="positive source weight"):
        Sampler(data, SampleConfig(source_weights={"coco128_pan": 0.0}))


def test_batches_are_the_same_from_any_start_and_with_workers(cache):
    config = SampleConfig(image_size=64, masks=2)

    def take(count, **options):
        stream = batches(cache, config, batch_size=2, seed=(3, 0), **options)
        return [next(stream) for _ in range(count)]

    whole = take(4, workers=0)
    assert whole[0].images.shape == (2, 64, 64, 3)
    assert whole[0].masks.shape == (2, 2, 32, 32)
    assert not whole[0].images.equal(whole[1].images)
    for late, early in zip(take(2, workers=0, first=2), whole[2:], strict=True):
        assert late.images.equal(early.images)
        assert late.masks.equal(early.masks)
    for one, two in zip(take(3, workers=2), whole, strict=False):
        assert one.images.equal(two.images)


sides = st.integers(40, 200)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 2**20), fractions=st.tuples(*[st.floats(0.05, 0.9)] * 4))
def test_windows_lie_in_the_photo(height, width, seed, fractions):
    rng = np.random.default_rng(seed)
    x, y = int(fractions[0] * width), int(fractions[1] * height)
    columns, rows = max(1, int(fractions[2] * (width - x))), max(1, int(fractions[3] * (height - y)))
    around = object_window(rng, height, width, box=(x, y, columns, rows))
    for window in (around, random_window(rng, height, width), whole_window(rng, height, width)):
        assert window.x >= 0
        assert window.y >= 0
        assert 0 < window.width <= width - window.x
        assert 0 < window.height <= height - window.y
    assert around.x <= x + columns // 2 < around.x + around.width
    assert around.y <= y + rows // 2 < around.y + around.height


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_window_crops_photo_and_mask_alike(mirrored):
    mask = miniature.disc(50, 30, 14)
    image = np.repeat(mask[..., None] * np.uint8(255), 3, 2)
    window = Window(30, 10, 50, 40, mirrored)
    crop = window.crop(image, 32)[..., 0] > 127
    np.testing.assert_array_equal(window.crop_mask(mask[16:45, 36:65].astype(np.uint8), 36, 16, 32), crop)
    assert window.crop_mask(np.ones((5, 5), np.uint8), 0, 0, 32) is None


def test_pasting_puts_the_patch_where_the_mask_says():
    image = np.zeros((64, 64, 3), np.uint8)
    patch = np.full((20, 30, 3), 255, np.uint8)
    shape = miniature.disc(15, 10, 9, 20, 30).astype(np.uint8)
    for seed in range(10):
        pasted_on, mask = paste(np.random.default_rng(seed), image, patch, shape)
        assert (pasted_on.shape, mask.shape) == ((64, 64, 3), (32, 32))
        shown = pasted_on[..., 1].reshape(32, 2, 32, 2).mean((1, 3)) > 60
        assert (shown & mask).sum() / (shown | mask).sum() > 0.7
    assert not image.any()  # the photo itself is left as it was


def test_tied_parts_are_one_object_with_its_ropes():
    """Grey parts and coloured ropes on black: what is not black is the object."""
    black = np.zeros((128, 128, 3), np.uint8)
    part = (np.full((40, 20, 3), 200, np.uint8), np.ones((40, 20), np.uint8))
    for seed in range(8):
        image, mask = paste_tied(np.random.default_rng(seed), black, [part, part])
        assert mask.shape == (64, 64)
        seen = cv2.resize(image.max(-1), (64, 64), interpolation=cv2.INTER_AREA)
        # But for half-covered cells of the outline, which are feathered, and ropes that happen to be dark.
        assert (seen[mask] > 25).mean() > 0.8
        assert seen[~mask].mean() < 8
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] <= 3


def test_colours_and_noise_keep_the_shape():
    image = miniature.photo(0)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        changed = degrade(rng, jitter_colours(rng, image))
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)


@settings(max_examples=50, deadline=None)
@given(length=st.floats(1, 30), angle=st.floats(0, np.pi))
def test_what_moves_is_smeared_along_its_way_and_about_its_middle(length, angle):
    image = np.zeros((101, 101), np.uint8)
    image[40:61, 40:61] = 255
    moved = smear(image, length=length, angle=angle).astype(float)
    rows, columns = np.mgrid[:101, :101] - 50
    total = moved.sum()
    assert total == pytest.approx(image.sum(), rel=0.02)
    middle = np.array([(moved * columns).sum(), (moved * rows).sum()]) / total
    assert np.abs(middle).max() < 0.6
    along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
    still = (image * along.astype(float) ** 2).sum() / image.sum()
    spread = (moved * (along - (moved * along).sum() / total) ** 2).sum() / total - still
    assert spread == pytest.approx(length**2 / 12, abs=2 + 0.15 * length**2 / 12)
    assert (moved * (across - (moved * across).sum() / total) ** 2).sum() / total - still < 2


def test_cut_outs_that_move_fade_at_their_ends(monkeypatch):
    """Where they fade the ground shows through; the mask is what is more there than the ground is."""
    patch, shape = np.full((40, 40, 3), 255, np.uint8), np.ones((40, 40), np.uint8)
    faded = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(samples, "MOVING_SHARE", share)
        seen = []
        for seed in range(20):
            image, mask = paste(np.random.default_rng(seed), np.zeros((128, 128, 3), np.uint8), patch, shape)
            light = image.max(-1).astype(float) / max(image.max(), 1)
            seen.append(((light > 0.15) & (light < 0.85)).mean())
            small = cv2.resize(light, (64, 64), interpolation=cv2.INTER_AREA)
            assert (mask == (small > 0.5)).mean() > 0.97
        faded[share] = np.mean(seen)
    assert faded[1.0] > 1.5 * faded[0.0]
