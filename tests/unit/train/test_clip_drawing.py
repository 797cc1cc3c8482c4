"""Samples drawn from records: which frames and objects, and that masks stay on what they are masks of."""

import numpy as np
import painted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2.train.data.clip import ClipSample, collate
from sam2.train.data.config import NO_AUGMENTATION, AugmentConfig, DataConfig
from sam2.train.data.drawing import ClipDrawer, UnreadableRecordError, pick_frames

PLAIN = DataConfig(image_size=64, augment=NO_AUGMENTATION)
GEOMETRY = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "grey"), 0.0),
    **dict.fromkeys(("frame_brightness", "frame_contrast", "frame_saturation"), 0.0),
}
"""Colours as they are."""


def draw(record, *, frames=1, seed=0, donors=(), **changes) -> ClipSample:
    config = DataConfig(**{"image_size": 64, "augment": NO_AUGMENTATION, **changes})
    return ClipDrawer(config, donors or (record,)).draw(record, frames=frames, seed=seed)


def assert_same(one: ClipSample, two: ClipSample) -> None:
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.masks, two.masks)
    assert (one.object_ids, one.name, one.seed) == (two.object_ids, two.name, two.seed)


def shape_of(sample: ClipSample) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return sample.images.shape, sample.masks.shape


@pytest.mark.parametrize(("record", "frames"), [(painted.Painted(), 1), (painted.video(), 8), (painted.Painted(), 8)])
@pytest.mark.parametrize("augment", [NO_AUGMENTATION, AugmentConfig(), AugmentConfig(mosaic=1.0, copy_paste=1.0)])
def test_a_sample_has_the_shape_asked_for_and_follows_from_its_seed(record, frames, augment):
    first, again, other = (draw(record, frames=frames, seed=seed, augment=augment) for seed in (5, 5, 6))

    assert first.images.shape == (frames, 64, 64, 3)
    assert 1 <= first.masks.shape[1] <= 3
    assert_same(first, again)
    assert frames == 1 or (first.images != other.images).any()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**62),
    crop=st.sampled_from([0.0, 1.0]),
    affine=st.sampled_from([0.0, 1.0]),
    mosaic=st.sampled_from([0.0, 1.0]),
    kind=st.sampled_from(["still", "video", "filmed"]),
)
def test_masks_lie_on_their_objects(seed, crop, affine, mosaic, kind):
    augment = AugmentConfig(**GEOMETRY, crop=crop, affine=affine, mosaic=mosaic, zoom=(0.7, 1.4), shift=0.1)
    record = painted.video() if kind == "video" else painted.Painted()
    frames = 1 if kind == "still" else 4

    sample = draw(record, frames=frames, seed=seed, augment=augment, image_size=128, cutouts=(1.0,), reverse=0.5)

    for image, masks in zip(sample.images, sample.masks, strict=True):
        for number, mask in zip(sample.object_ids, masks, strict=True):
            # In a mosaic of copies only one copy of an object is it: there, look where the mask is.
            seen = np.where(mask[..., None], image, 0) if mosaic else image
            assert painted.misplaced(seen, mask, number) < 0.001


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**62), kind=st.sampled_from(["still", "video", "filmed"]))
def test_what_a_cut_out_hides_is_no_longer_in_the_mask(seed, kind):
    record = painted.video() if kind == "video" else painted.Painted()
    augment = AugmentConfig(**GEOMETRY, affine=0, copy_paste=1.0)

    sample = draw(record, frames=1 if kind == "still" else 4, seed=seed, augment=augment, image_size=128, max_objects=5)

    assert not (sample.masks.sum(1) > 1).any()  # what lies over another hides it
    for image, masks in zip(sample.images, sample.masks, strict=True):
        for number, mask in zip(sample.object_ids, masks, strict=True):
            if number >= 0:  # the rim is as wide as a cut-out's feathered edge
                assert painted.misplaced(np.where(mask[..., None], image, 0), mask, number, rim=4) < 0.003


def test_cut_outs_are_pasted_and_followed():
    record, config = painted.Painted(discs=((20, 20, 9),)), AugmentConfig(**GEOMETRY, affine=0, copy_paste=1.0)
    samples = [draw(record, seed=seed, augment=config) for seed in range(12)]
    plain = [draw(record, seed=seed, augment=AugmentConfig(**GEOMETRY, affine=0)) for seed in range(12)]

    assert sum(min(sample.object_ids) < 0 for sample in samples) > 8
    assert all(sample.object_ids == (0,) for sample in plain)


def test_mixed_mosaics_show_objects_of_four_records():
    records = [painted.Painted(f"record {n}", discs=((60, 40, 20),)) for n in range(3)]
    augment = AugmentConfig(**GEOMETRY, affine=0, mosaic=1.0, mosaic_kind="mixed")

    sample = draw(records[0], donors=records, augment=augment, max_objects=9, image_size=128)

    assert len(sample.object_ids) == len(set(sample.object_ids)) == 4
    union = sample.masks[0].any(0)
    quarters = [union[y : y + 64, x : x + 64].mean() for y in (0, 64) for x in (0, 64)]
    assert min(quarters) > 0.1
    assert painted.misplaced(sample.images[0], union, 0) < 0.001


def test_copied_mosaics_follow_one_of_the_four():
    augment = AugmentConfig(**GEOMETRY, affine=0, mosaic=1.0)
    record = painted.Painted(discs=((40, 40, 20),))
    places = set()
    for seed in range(40):
        sample = draw(record, seed=seed, augment=augment, image_size=128)
        red = np.abs(sample.images[0].astype(int) - painted.COLOURS[0]).max(-1) < 40
        quarters = [(y, x) for y in (0, 64) for x in (0, 64) if red[y : y + 64, x : x + 64].mean() > 0.05]
        assert len(quarters) == 4
        rows, columns = np.nonzero(sample.masks[0, 0])
        places.add((int(rows.mean()) // 64, int(columns.mean()) // 64))
        assert len({(y // 64, x // 64) for y, x in zip(rows, columns, strict=True)}) == 1
    assert len(places) == 4


def test_objects_are_among_those_that_the_first_frame_shows():
    """Disc 1 comes into the picture at frame 10, which lies after every first frame."""
    late = painted.Painted("late", tuple(range(12)), 12, discs=((30, 40, 10), (-35, 40, 10)), pace=3.0)
    for seed in range(10):
        sample = draw(late, frames=8, seed=seed)
        assert sample.object_ids == (0,)
        assert sample.masks[0].any((1, 2)).all()


def test_no_more_objects_than_asked_for_and_all_are_drawn_in_turn():
    record = painted.Painted(discs=tuple((15 + 22 * n, 40, 9) for n in range(5)))
    drawn = [draw(record, seed=seed, max_objects=2).object_ids for seed in range(40)]

    assert {len(ids) for ids in drawn} == {2}
    assert {number for ids in drawn for number in ids} == {0, 1, 2, 3, 4}


def test_objects_that_are_too_small_are_left_out():
    record = painted.Painted(discs=((30, 40, 20), (90, 40, 3)))

    assert set(draw(record, min_area=0.0).object_ids) == {0, 1}
    assert draw(record, min_area=0.01).object_ids == (0,)


@pytest.mark.parametrize("frames", [1, 4])
def test_a_record_without_objects_is_a_sample_without_rows(frames):
    record = painted.Painted(discs=())
    sample = draw(record, frames=frames, augment=AugmentConfig(copy_paste=1.0))

    assert shape_of(sample) == ((frames, 64, 64, 3), (frames, 0, 64, 64))
    batch = collate([sample, sample], step_seed=0)
    assert batch.masks.shape == (frames, 0, 64, 64)
    assert (batch.clip_of.shape, batch.seeds.shape) == ((0,), (0,))


def test_a_first_frame_with_an_object_is_looked_for():
    record = painted.video(frames=9, empty=(0, 1))
    found = [bool(draw(record, frames=2, seed=seed).object_ids) for seed in range(30)]

    assert all(found)


def test_an_object_is_absent_where_it_has_no_mask():
    record = painted.video(frames=4, empty=(2,))
    sample = draw(record, frames=4)

    assert sample.masks.any((2, 3)).all(1).tolist() == [True, True, False, True]


def test_only_labelled_frames_are_used():
    record = painted.video(frames=40, every=4)
    samples = [draw(record, frames=3, seed=seed) for seed in range(5)]  # the record refuses others

    assert all("[" in sample.name for sample in samples)


@given(
    count=st.integers(1, 30),
    frames=st.integers(1, 12),
    stride=st.integers(1, 4),
    reverse=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 1000),
)
def test_frames_go_by_equal_steps_or_back_and_forth(count, frames, stride, reverse, seed):
    labelled = tuple(range(0, 4 * count, 4))
    config = DataConfig(max_stride=stride, reverse=reverse)
    drawn = pick_frames(np.random.default_rng(seed), labelled, frames, config=config)
    places = np.array(drawn) // 4

    assert len(drawn) == frames
    assert set(drawn) <= set(labelled)
    steps = np.diff(places)
    if count >= frames:
        assert len(set(steps)) <= 1
        assert all(1 <= (-step if reverse else step) <= stride for step in steps)
    elif count > 1:
        assert (np.abs(steps) == 1).all()
    else:
        assert not steps.any()


def test_a_stride_is_used_where_the_clip_is_long_enough():
    config = DataConfig(max_stride=3)
    steps = {
        int(np.diff(pick_frames(np.random.default_rng(seed), range(100), 4, config=config))[0]) for seed in range(30)
    }
    assert steps == {1, 2, 3}


def test_a_video_without_masks_is_bad():
    record = painted.Painted("nothing", (), 5)
    with pytest.raises(UnreadableRecordError) as caught:
        draw(record, frames=4)
    assert caught.value.name == "nothing"
    assert "no frame has masks" in caught.value.cause


def test_a_still_becomes_a_clip_that_moves():
    record = painted.Painted(discs=((60, 40, 20),))
    moved = []
    for seed in range(8):
        sample = draw(record, frames=6, seed=seed, cutouts=(1.0,))
        assert shape_of(sample) == ((6, 64, 64, 3), (6, 1, 64, 64))
        moved.append(int(np.abs(sample.images[0].astype(int) - sample.images[-1]).max()))
    assert max(moved) > 100
    assert sum(difference > 30 for difference in moved) >= 5


def test_a_still_of_another_record_can_be_pasted_from_and_a_bad_one_is_named():
    record, donor = painted.Painted(discs=()), painted.Painted("donor", broken="donor.png: cut short")
    with pytest.raises(UnreadableRecordError) as caught:
        draw(record, donors=(donor,), augment=AugmentConfig(copy_paste=1.0))

    assert (caught.value.name, caught.value.cause) == ("donor", "donor.png: cut short")


def test_masks_of_another_size_are_refused():
    class Odd(painted.Painted):
        def masks(self, index):
            return {3: np.ones((5, 7), bool)}

        def image(self, index):
            return np.zeros((80, 120, 3), np.uint8)

    with pytest.raises(UnreadableRecordError, match="frame 0 is 120 x 80, the mask of object 3 7 x 5"):
        draw(Odd())


def test_a_batch_keeps_the_objects_of_its_clips_apart():
    one, none, two = draw(painted.Painted()), draw(painted.Painted(discs=())), draw(painted.Painted(), seed=9)
    batch = collate([one, none, two], step_seed=7)

    assert batch.clip_of.tolist() == [0] * 3 + [2] * 3
    assert (len(batch), batch.frames, batch.step_seed) == (3, 1, 7)
    np.testing.assert_array_equal(batch.masks[:, 3:].numpy(), two.masks)
    assert len(set(batch.seeds.tolist())) == 6
    alone = collate([two], step_seed=1)
    assert alone.seeds.tolist() == batch.seeds[3:].tolist()
    assert batch.to("cpu").names == batch.names


def test_clips_of_different_lengths_make_no_batch():
    samples = [draw(painted.video(), frames=frames) for frames in (2, 3)]
    with pytest.raises(ValueError, match="equal numbers and sizes of frames"):
        collate(samples, step_seed=0)
    with pytest.raises(ValueError, match="must not be empty"):
        collate([], step_seed=0)


def test_samples_check_their_shapes():
    images, masks = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 1, 8, 8), bool)
    with pytest.raises(ValueError, match=r"masks must be \(2, 2, 8, 8\) bool"):
        ClipSample(images, masks, (1, 2), "name", 0)
    with pytest.raises(ValueError, match="images must be"):
        ClipSample(images[..., 0], masks, (1,), "name", 0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        ClipSample(images, masks, (1,), "name", -1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"held_out": 1.0}, "held_out"),
        ({"frames": 0}, "frames must be at least 1"),
        ({"image_size": 100}, "multiple of 32"),
        ({"cutouts": (0.5,)}, "cutouts"),
        ({"reverse": 1.5}, "reverse must be within 0 to 1"),
        ({"still_batch_size": 0}, "still_batch_size"),
    ],
)
def test_configurations_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**fields)
