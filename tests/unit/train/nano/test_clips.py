"""Clips made of stills: what moves, what is hidden, and that masks are those of the pixels."""

from dataclasses import replace

import miniature
import numpy as np
import pytest

from sam2.train.data.motion import Camera, Flight, Wobble, wander
from sam2.train.nano.data.clips import ClipConfig, ClipSampler
from sam2.train.nano.data.loader import clip_batches
from sam2.train.nano.data.pack import open_packed, pack

CONFIG = ClipConfig(image_size=128, frames=5, masks=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    pack(miniature.records(folder / "photos"), folder / "cache")
    return folder / "cache"


@pytest.fixture(scope="module")
def data(cache):
    return open_packed(cache)


def draw(data, seed, config=CONFIG):
    return ClipSampler(data, config).draw(np.random.default_rng(seed))


def test_a_clip_is_frames_and_the_masks_of_objects_that_the_first_one_shows(data):
    for seed in range(8):
        clip = draw(data, seed)
        assert (clip.images.shape, clip.images.dtype) == ((5, 128, 128, 3), np.uint8)
        assert (clip.masks.shape, clip.masks.dtype) == ((5, 2, 64, 64), bool)
        assert (clip.masks[0].mean((1, 2)) >= CONFIG.min_area).all()


def test_the_same_chance_gives_the_same_clip(data):
    first, again, other = draw(data, 1), draw(data, 1), draw(data, 2)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert not np.array_equal(first.images, other.images)


def test_things_move(data):
    moved = [not np.array_equal(clip.masks[0], clip.masks[-1]) for clip in (draw(data, seed) for seed in range(8))]
    assert sum(moved) >= 6


def test_masks_are_those_of_the_pixels(data):
    # The miniature photos are red where there is a thing, and grey elsewhere; red things are all that is pasted.
    config = replace(CONFIG, masks=6, min_area=0.0005)
    inside, outside = [], []
    for seed in range(12):
        clip = draw(data, seed, config)
        redness = clip.images[..., 0].astype(float) - clip.images[..., 1:].mean(-1)
        redness = redness.reshape(5, 64, 2, 64, 2).mean((2, 4))
        followed = clip.masks.any(1)
        if followed.mean() < 0.5:  # the sky is followed, too
            inside.append(np.median(redness[followed]))
            outside.append(np.median(redness[~followed]))
    assert len(inside) >= 4
    assert np.median(inside) > np.median(outside) + 20


def test_an_object_that_is_hidden_has_no_mask(data):
    sampler = ClipSampler(data, replace(CONFIG, pasted=(0.0, 1.0)))
    (sprite,) = sampler._sprites(np.random.default_rng(0))
    hidden = np.array([False, True, False, False, False])
    still = replace(sprite.flight, centre=np.full((5, 2), 0.5), hidden=hidden)
    sprite = replace(sprite, flight=still)
    frame = np.zeros((128, 128, 3), np.uint8)
    assert not sprite.draw_on(frame, 1).any()
    assert not frame.any()
    shown = sprite.draw_on(frame, 0)
    assert shown.any()
    assert frame.any()


def test_what_passes_in_front_covers(data):
    sampler = ClipSampler(data, replace(CONFIG, pasted=(0.0, 0.0, 1.0)))
    covered = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        back, front = sampler._sprites(rng)
        front = replace(front, flight=front.flight.meeting(rng, back.flight))
        alone, over = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)
        for t in range(1, 5):
            covered += int((back.draw_on(alone, t) & front.draw_on(over, t)).any())
    assert covered >= 10


def test_clips_without_cut_outs_are_photos_under_a_camera(tmp_path):
    records = miniature.records(tmp_path / "photos")
    for record in records:
        record.objects[:] = [item for item in record.objects if item.kind == "stuff"]
    pack(records, tmp_path / "cache")
    clip = draw(open_packed(tmp_path / "cache"), 0)
    assert clip.masks[0].any()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_of_clips_can_be_taken_up_anywhere(cache, workers):
    config = replace(CONFIG, image_size=64, lengths=((2, 0.5), (3, 0.5)))

    def stream(first):
        options = {"batch_size": 2, "seed": (5, 0), "workers": workers}
        return clip_batches(cache, config, first=first, **options)

    numbered = [batch for batch, _ in zip(stream(0), range(6), strict=False)]
    assert {batch.images.shape[1] for batch in numbered} == {2, 3}
    assert [batch.images.shape[1] for batch in numbered] == [config.length_of(number, 5) for number in range(6)]
    later = next(iter(stream(4)))
    assert later.images.equal(numbered[4].images)
    assert later.masks.equal(numbered[4].masks)


def test_a_path_starts_where_it_is_and_moves_at_about_its_speed():
    paths = np.stack([wander(np.random.default_rng(seed), 6, 2, 0.1) for seed in range(200)])
    assert not paths[:, 0].any()
    assert np.abs(np.diff(paths, axis=1)).mean() == pytest.approx(0.08, rel=0.25)


def test_a_camera_at_rest_shows_the_middle_of_the_still():
    zero = np.zeros(3)
    camera = Camera(np.zeros((3, 2)), zero, zero, 0.5, Wobble(np.zeros((2, 5, 5, 2), np.float32), 0, 0.1))
    where = camera.map_at(1, 8, 16)
    np.testing.assert_allclose(where[0, :, 0], np.arange(8) + 4, atol=1e-4)
    np.testing.assert_allclose(where[:, 0, 1], np.arange(8) + 4, atol=1e-4)


def test_flights_meet():
    rng = np.random.default_rng(0)
    for _ in range(10):
        other = Flight.draw(rng, 6)
        met = Flight.draw(rng, 6).meeting(rng, other)
        distance = np.linalg.norm(met.centre[:, None] - other.centre[None], axis=-1)
        assert distance[1:].min() < 0.2
