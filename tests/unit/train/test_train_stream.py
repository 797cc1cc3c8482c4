"""The stream of batches: what it holds follows from numbers, weights count, bad samples are named and counted."""

import itertools
import pickle
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import painted
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sam2.train.data.clip import ClipBatch
from sam2.train.data.config import NO_AUGMENTATION
from sam2.train.data.opening import JoinedRecords, TrainSource, open_training, split_records
from sam2.train.data.order import SampleOrder, SourceSize
from sam2.train.data.sources import SourceConfig
from sam2.train.data.stream import DataConfig, TrainStream


def stills(count: int = 6, name: str = "still", **fields) -> TrainSource:
    records = [painted.Painted(f"{name} {n}", discs=((30 + 5 * n, 40, 12), (90, 40, 10))) for n in range(count)]
    return TrainSource(SourceConfig(path=name, **fields), records, videos=False)


def videos(count: int = 4, name: str = "video", **fields) -> TrainSource:
    records = [painted.video(f"{name} {n}", pace=n) for n in range(count)]
    return TrainSource(SourceConfig(path=name, **fields), records, videos=True)


def stream(*sources: TrainSource, seed: int = 3, rank: int = 0, world_size: int = 1, **fields) -> TrainStream:
    settings = {"image_size": 32, "frames": 3, "workers": 0, **fields}
    return TrainStream(DataConfig(**settings), seed=seed, rank=rank, world_size=world_size, sources=sources)


def take(source: TrainStream, count: int, first: int = 0) -> list[ClipBatch]:
    return list(itertools.islice(source.batches(first), count))


def record_of(name: str) -> str:
    return name.split(" [")[0]


def assert_equal(one: ClipBatch, two: ClipBatch) -> None:
    for field in ("images", "masks", "clip_of", "seeds"):
        assert torch.equal(getattr(one, field), getattr(two, field)), field
    assert (one.names, one.step_seed) == (two.names, two.step_seed)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_draw_what_the_process_itself_draws(workers):
    sources = stills(), videos()
    alone = take(stream(*sources, batch_size=2), 6, first=5)
    helped = take(stream(*sources, batch_size=2, workers=workers), 6, first=5)

    for one, two in zip(alone, helped, strict=True):
        assert_equal(one, two)


def test_a_stream_is_taken_up_anywhere():
    sources = stills(), videos()
    whole = take(stream(*sources), 12)
    rest = take(stream(*sources), 5, first=7)

    for one, two in zip(whole[7:], rest, strict=True):
        assert_equal(one, two)


def test_two_processes_together_draw_what_one_draws_with_twice_the_batch():
    sources = stills(), videos()
    double = take(stream(*sources, batch_size=4, still_batch_size=6), 8)
    halves = [take(stream(*sources, batch_size=2, still_batch_size=3, rank=rank, world_size=2), 8) for rank in range(2)]

    for both, left, right in zip(double, *halves, strict=True):
        assert both.names == left.names + right.names
        assert both.step_seed == left.step_seed == right.step_seed
        assert torch.equal(both.images, torch.cat([left.images, right.images]))
        assert torch.equal(both.masks, torch.cat([left.masks, right.masks], 1))
        assert torch.equal(both.seeds, torch.cat([left.seeds, right.seeds]))
        assert torch.equal(both.clip_of, torch.cat([left.clip_of, right.clip_of + len(left)]))


def test_other_seeds_and_epochs_draw_otherwise():
    one, two = stream(stills(), seed=1), stream(stills(), seed=2)
    first, other, next_epoch = take(one, 6), take(two, 6), take(one, 6, first=6)

    assert [batch.names for batch in first] != [batch.names for batch in other]
    assert [batch.names for batch in first] != [batch.names for batch in next_epoch]
    seeds = [batch.step_seed for batch in (*first, *other, *next_epoch)]
    assert len(set(seeds)) == len(seeds)
    drawn = [seed for batch in (*first, *next_epoch) for seed in batch.seeds.tolist()]
    assert len(set(drawn)) == len(drawn)


def test_an_epoch_draws_every_record_as_often_as_its_weight_says():
    made = stream(stills(6, "a", weight=2.0), stills(8, "b", weight=0.5), videos(4, "c"))
    assert made.steps_per_epoch == 12 + 4 + 4
    for epoch in range(2):
        drawn = Counter(record_of(b.names[0]) for b in take(made, 20, first=20 * epoch))
        assert all(drawn[f"a {n}"] == 2 for n in range(6))
        assert all(drawn[f"c {n}"] == 1 for n in range(4))
        half = [drawn[f"b {n}"] for n in range(8)]
        assert sum(half) == 4
        assert max(half) == 1


def test_a_micro_step_is_of_one_kind():
    made = stream(stills(), videos(), batch_size=2, still_batch_size=3)
    batches = take(made, made.steps_per_epoch)

    assert {(batch.frames, len(batch)) for batch in batches} == {(1, 3), (3, 2)}
    assert made.steps_per_epoch == 2 + 2
    kinds = [[batch.frames for batch in take(made, 4, first=4 * epoch)] for epoch in range(4)]
    assert len({tuple(kind) for kind in kinds}) > 1  # in an order that changes


@pytest.mark.parametrize(("share", "lengths"), [(0.0, {1: 8}), (0.25, {1: 6, 3: 2}), (1.0, {3: 8})])
def test_a_share_of_the_stills_becomes_clips(share, lengths):
    batches = take(stream(stills(8), stills_as_clips=share), 8)
    assert Counter(batch.frames for batch in batches) == lengths


def test_a_source_may_have_clips_of_its_own_length():
    batches = take(stream(stills(3, frames=2), videos(3, frames=5), videos(2, "other")), 8)
    assert Counter(batch.frames for batch in batches) == {2: 3, 5: 3, 3: 2}


def test_what_is_drawn_is_cheap_to_send_to_a_worker():
    made = SampleOrder([SourceSize(100_000, 1.0, {1: 1.0})], {1: 2}, seed=0)
    made.step(3)
    copied = pickle.loads(pickle.dumps(made))

    assert len(pickle.dumps(made)) < 2000
    assert copied.step(77_777) == made.step(77_777)


@settings(max_examples=50)
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 30), st.floats(0.05, 3), st.floats(0, 1)),
        min_size=1,
        max_size=3,
    ),
    batch=st.integers(1, 5),
    seed=st.integers(0, 2**40),
)
def test_order_of_any_sources(sizes: Sequence[tuple[int, float, float]], batch: int, seed: int):
    """Every micro-step is full; an epoch draws each record within one of its weight, wrap-around apart."""
    sources = [SourceSize(n, weight, {1: 1 - share, 4: share}) for n, weight, share in sizes]
    order = SampleOrder(sources, {1: 2 * batch, 4: batch}, seed=seed)
    steps = [order.step(number) for number in range(order.steps_per_epoch)]

    drawn = Counter((draw.source, draw.record) for step in steps for draw in step.draws)
    assert all(len(step.draws) == (2 * batch if step.frames == 1 else batch) for step in steps)
    wanted = sum(max(1, round(n * weight)) for n, weight, _ in sizes)
    assert wanted <= sum(drawn.values()) < wanted + 3 * batch
    assert all(0 <= record < sizes[source][0] for source, record in drawn)
    seeds = [draw.seed for step in steps for draw in step.draws]
    assert len(set(seeds)) == len(seeds)


def broken(*, bad: int, of: int) -> TrainSource:
    """Records of which the first ``bad`` cannot be read."""
    records = [painted.Painted(f"photo {n}", broken=f"photo {n}.png: cut short" if n < bad else "") for n in range(of)]
    return TrainSource(SourceConfig(path="photos"), records, videos=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_is_named_once_and_replaced(workers):
    made = stream(broken(bad=2, of=5), workers=workers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = take(made, 15)

    told = sorted(str(warning.message) for warning in caught)
    assert told == ["skipped photo 0: photo 0.png: cut short", "skipped photo 1: photo 1.png: cut short"]
    assert [(bad.name, bad.cause) for bad in sorted(made.bad_samples, key=lambda bad: bad.name)] == [
        ("photo 0", "photo 0.png: cut short"),
        ("photo 1", "photo 1.png: cut short"),
    ]
    names = Counter(name for batch in batches for name in batch.names)
    assert set(names) == {"photo 2", "photo 3", "photo 4"}
    assert names["photo 2"] == 9  # in three epochs, in place of the two before it too


def test_a_replaced_sample_does_not_change_the_others():
    good, one_bad = stream(broken(bad=0, of=5)), stream(broken(bad=1, of=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = list(zip(take(good, 5), take(one_bad, 5), strict=True))

    for one, two in pairs:
        if one.names != ("photo 0",):
            assert_equal(one, two)


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_bad_samples_end_it(workers):
    made = stream(broken(bad=4, of=9), bad_samples=2, workers=workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"more than 2 bad samples .*photo \d: photo \d.png: cut short"):
            take(made, 9)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_of_nothing_but_bad_samples_ends_it(workers):
    made = stream(broken(bad=3, of=3), workers=workers)
    with pytest.raises(RuntimeError, match=r"^all samples of photos are bad; the last, photo \d: photo \d.png: cut"):
        take(made, 1)


@pytest.mark.parametrize("error", [OSError("x.jpg: truncated"), ValueError("x.png: 3 bits"), EOFError()])
def test_errors_of_reading_are_bad_samples_too(error):
    class Damaged(painted.Painted):
        def image(self, index):
            raise error

    source = TrainSource(SourceConfig(path="s"), [Damaged("x"), painted.Painted("good")], videos=False)
    with pytest.warns(UserWarning, match=f"skipped x: {error or 'EOFError'}"):
        batches = take(stream(source), 2)
    assert [batch.names for batch in batches] == [("good",), ("good",)]


def test_a_fault_of_the_program_is_no_bad_sample():
    class Faulty(painted.Painted):
        def image(self, index):
            raise ZeroDivisionError

    source = TrainSource(SourceConfig(path="s"), [Faulty("x")], videos=False)
    with pytest.raises(ZeroDivisionError):
        take(stream(source), 1)


def test_records_without_objects_make_batches_without_rows():
    source = TrainSource(SourceConfig(path="s"), [painted.Painted("x", discs=())], videos=False)
    batch = take(stream(source, batch_size=2), 1)[0]

    assert (batch.images.shape, batch.masks.shape) == ((2, 1, 32, 32, 3), (1, 0, 32, 32))


def test_ranks_are_checked():
    with pytest.raises(ValueError, match="rank must be within 0 to 1, got 2"):
        stream(stills(), rank=2, world_size=2)
    with pytest.raises(ValueError, match="seed must not be negative"):
        stream(stills(), seed=-1)
    with pytest.raises(ValueError, match="at least one source with a weight above 0"):
        TrainStream(DataConfig(), seed=0)


def test_a_tenth_is_held_out_whatever_the_order():
    records = [painted.Painted(f"photo {n}") for n in range(400)]
    train, held = split_records(records, 0.1)
    again, held_again = split_records(records[::-1], 0.1)

    assert len(train) + len(held) == 400
    assert 25 < len(held) < 55
    assert {record.name for record in held} == {record.name for record in held_again}
    assert not {record.name for record in train} & {record.name for record in held}
    assert len(again) == len(train)
    more = split_records(records, 0.2)[1]
    assert {record.name for record in held} < {record.name for record in more}


@pytest.mark.parametrize(("count", "share", "least"), [(0, 0.1, 0), (1, 0.9, 0), (10, 0.1, 1), (2, 0.999, 1)])
def test_small_sets_keep_something_on_both_sides(count, share, least):
    for name in "abcdefgh":
        train, validation = split_records([painted.Painted(f"{name} {n}") for n in range(count)], share)
        assert len(train) + len(validation) == count
        assert len(train) >= min(count, 1)
        assert len(validation) >= least


def test_joined_records_are_one_sequence():
    parts = [[painted.Painted(f"{part}{n}") for n in range(count)] for part, count in (("a", 2), ("b", 0), ("c", 3))]
    joined = JoinedRecords(parts)

    assert [record.name for record in joined] == ["a0", "a1", "c0", "c1", "c2"]
    assert [record.name for record in joined[1:3]] == ["a1", "c0"]
    assert joined[-1].name == "c2"
    with pytest.raises(IndexError):
        joined[5]
    assert len(JoinedRecords([])) == 0


def test_batches_are_frames_as_they_are_without_augmentation():
    made = stream(stills(1), augment=NO_AUGMENTATION, image_size=96)
    one, two = take(made, 2)

    assert torch.equal(one.images, two.images)
    assert one.seeds.tolist() != two.seeds.tolist()
    assert np.array_equal(one.images[0, 0, 0, 0], painted.GROUND)


def test_a_stream_can_be_sent_to_another_process():
    made = stream(stills(), videos(), batch_size=2)
    copied = pickle.loads(pickle.dumps(made))

    for one, two in zip(take(made, 3), take(copied, 3), strict=True):
        assert_equal(one, two)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures with masks, one of them cut short."""
    for n in range(12):
        record = painted.Painted(discs=((30 + 4 * n, 40, 15),))
        mask = record.masks(0)[0].astype(np.uint8) * 255
        Image.fromarray(record.image(0)).save(tmp_path / f"{n:02}.png")
        Image.fromarray(mask).save(tmp_path / f"{n:02}_mask.png")
    whole = (tmp_path / "03.png").read_bytes()
    (tmp_path / "03.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_folder_is_opened_split_and_drawn_from(folder):
    config = DataConfig(train=(SourceConfig(path=str(folder)),), image_size=64, held_out=0.2, workers=0)
    sources, validation = open_training(config)
    names = [{record.name for record in records} for records in (sources[0].records, validation)]
    assert len(names[0]) + len(names[1]) == 12
    assert 1 <= len(names[1]) <= 6
    assert not names[0] & names[1]

    made = TrainStream(config, seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drawn = {name for batch in take(made, 2 * made.steps_per_epoch) for name in batch.names}
    broken = {name for name in names[0] if "03" in name}
    assert drawn == names[0] - broken
    assert [("03.png" in str(warning.message)) for warning in caught] == [True] * len(broken)


def test_validation_sources_leave_the_training_whole(folder):
    here = SourceConfig(path=str(folder))
    sources, validation = open_training(DataConfig(train=(here,), validation=(here,)))
    assert (len(sources[0].records), len(validation)) == (12, 12)

    sources, validation = open_training(DataConfig(train=(here,), held_out=0.0))
    assert (len(sources[0].records), len(validation)) == (12, 0)
