"""What each step is given, and what held-out data training is measured on."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from sam2.train.data.sources import ClipRecord
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.loader import size_at
from sam2.train.nano.data.pack import open_packed
from sam2.train.nano.held_out import held_out_objects, held_out_records
from sam2.train.nano.stream import NanoStream

CONFIG = NanoConfig(
    steps=6,
    sizes=((64, 0.5), (96, 0.5)),
    clip_sizes=((64, 1.0),),
    batch_size=2,
    masks=2,
    workers=0,
    clip_share=0.5,
    clip_batch=1,
    lengths=((2, 0.5), (3, 0.5)),
)


def test_steps_on_clips_are_spread_evenly():
    config = replace(CONFIG, clip_share=0.4)
    assert [config.is_clip(step) for step in range(10)] == [False, False, True, False, True] * 2
    assert config.clips_before(10) == 4
    assert not any(replace(CONFIG, clip_share=0.0).is_clip(step) for step in range(10))
    assert all(replace(CONFIG, clip_share=1.0).is_clip(step) for step in range(10))


def test_sizes_come_in_order_and_take_fewer_images():
    config = NanoConfig(steps=1, sizes=((256, 0.5), (384, 0.3), (512, 0.2)), batch_size=8)
    assert [size_at(config.sizes, p) for p in (0, 0.49, 0.51, 0.79, 0.81, 1.0)] == [256, 256, 384, 384, 512, 512]
    assert [config.batch_at(size) for size in (256, 384, 512, 2048)] == [8, 5, 4, 2]
    assert config.final_size == 512


def test_stills_and_clips_come_at_the_scheduled_size(cache):
    drawn = list(islice(NanoStream(cache, CONFIG).batches(), CONFIG.steps))
    assert [batch.step for batch in drawn] == list(range(6))
    assert [batch.is_clip for batch in drawn] == [False, True] * 3
    assert [batch.images.shape[-2] for batch in drawn if not batch.is_clip] == [64, 64, 96]
    for batch in drawn:
        assert batch.frames == (batch.images.shape[1] if batch.is_clip else 1)
        assert batch.to("cpu", non_blocking=True) is batch


def test_a_stream_can_be_taken_up_anywhere(cache):
    whole = list(islice(NanoStream(cache, CONFIG).batches(), 5))
    for first in (1, 2, 4):
        for batch, expected in zip(NanoStream(cache, CONFIG).batches(first), whole[first:], strict=False):
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.batch.masks, expected.batch.masks)


def test_processes_share_a_batch_and_draw_their_own(cache):
    config = replace(CONFIG, batch_size=8, clip_share=0.0)
    first, second = (next(iter(NanoStream(cache, config, rank=rank, world_size=2).batches())) for rank in range(2))
    alone = next(iter(NanoStream(cache, config).batches()))
    assert len(first.images) + len(second.images) == len(alone.images)
    assert not torch.equal(first.images, second.images)


def test_held_out_records_are_the_same_ones_every_time(cache):
    data = open_packed(cache)
    chosen = held_out_objects(data, 10)
    assert chosen == held_out_objects(data, 10)
    assert all(data.images[image]["held_out"] for image, _ in chosen)

    records = held_out_records(cache, objects=1, clips=2, size=64)
    assert [record.num_frames for record in records] == [1, 10, 10]
    assert len({record.name for record in records}) == 3
    for record in records:
        assert isinstance(record, ClipRecord)
        for index in record.labelled:
            image, masks = record.image(index), record.masks(index)
            assert image.dtype == np.uint8
            for mask in masks.values():
                assert mask.shape == image.shape[:2]
                assert mask.any()
    still = records[0]
    (mask,) = still.masks(0).values()
    row = data.masks[chosen[0][1]] if held_out_objects(data, 1) == chosen[:1] else None
    if row is not None:
        assert int(mask.sum()) == int(row["area"])
    again = held_out_records(cache, objects=1, clips=2, size=64)
    assert np.array_equal(again[2].image(3), records[2].image(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 1, "amp": "half"}, "amp must be"),
        ({"steps": 1, "clip_share": 2.0}, "clip_share must be in 0..1, got 2.0"),
        ({"steps": 1, "sizes": ((256, 0.5),)}, "must sum to 1, got 0.5"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        NanoConfig(**options)
