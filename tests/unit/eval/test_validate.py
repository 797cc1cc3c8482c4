"""Validation during training: what is measured of which records."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from vos_folders import SIZE, CopyingSession, square

from sam2.eval import validate
from sam2.eval.clicks import evaluate_example
from sam2.eval.datasets import ClickExample
from sam2.eval.validate import MAX_FRAMES, MAX_OBJECTS, validate_records
from sam2.modeling.build import build_model
from sam2.modeling.config import DecoderConfig, HieraConfig, MemoryConfig, ModelConfig

STILL_KEYS = ["box_iou", "click_iou_1", "click_iou_3", "click_iou_5"]


@dataclass
class Footage:
    """A record of noise with these masks by frame."""

    name: str
    frames: list[dict[int, np.ndarray] | None]

    @property
    def num_frames(self):
        return len(self.frames)

    @property
    def labelled(self):
        return tuple(index for index, masks in enumerate(self.frames) if masks is not None)

    def image(self, index):
        return np.random.default_rng([len(self.name), index]).integers(0, 255, (*SIZE, 3)).astype(np.uint8)

    def masks(self, index):
        masks = self.frames[index]
        assert masks is not None
        return masks


class Broken(Footage):
    """Cannot be read."""

    def masks(self, index):
        raise RuntimeError(f"{self.name} is broken")


@pytest.fixture(scope="module")
def model():
    """A SAM 2 of few random weights."""
    trunk = HieraConfig(
        embed_dim=16, stages=(1, 1, 2, 1), global_att_blocks=(3,), window_pos_embed_bkg_spatial_size=(7, 7)
    )
    config = ModelConfig(
        name="small",
        version="custom",
        trunk=trunk,
        image_size=256,
        d_model=32,
        decoder=DecoderConfig(mlp_dim=64),
        memory=MemoryConfig(dim=8, num_layers=1, dim_feedforward=64),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model(config)


@pytest.fixture
def copying(monkeypatch):
    """Clips are tracked by copying, without a model."""
    monkeypatch.setattr(validate, "VideoSession", CopyingSession)
    monkeypatch.setattr(CopyingSession, "asked", [], raising=False)


def test_stills_by_box_and_clicks(model):
    records = [Footage("a", [{1: square(5, 2), 2: square(30, 30)}]), Footage("b", [{7: square(20)}])]
    scores = validate_records(model.train(), records, limit=10)
    assert model.training
    assert list(scores) == [*STILL_KEYS, "score"]
    model.eval()
    expected = []
    for record in records:
        for mask in record.masks(0).values():
            found = evaluate_example(model, ClickExample("", record.image(0), mask))
            expected.append([found.box, found.clicks[0], found.clicks[2], found.clicks[4]])
    means = np.mean(expected, axis=0)
    assert [scores[key] for key in STILL_KEYS] == pytest.approx(means.tolist())
    assert scores["score"] == pytest.approx(means.mean())


def test_the_same_records_every_time(model):
    records = [Footage(f"{'x' * i}", [{1: square(3 * i)}]) for i in range(12)]
    asked = []

    class Noting(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    first = validate_records(model, Noting(records), limit=4)
    second = validate_records(model, Noting(records), limit=4)
    assert first == second
    assert asked == [0, 4, 7, 11] * 2


def test_clips_count_from_each_object_on(copying, model):
    """The late object is prompted on frame 2; the early one leaves on frame 3, which the copy does not notice."""
    early, late = square(5, 2), square(30, 30)
    frames = [None, {1: early}, {1: early, 2: late}, {2: late}, {2: late}]
    scores = validate_records(model, [Footage("a", frames)], limit=1)
    assert CopyingSession.asked == [(0, 1), (1, 2)]
    # object 1: right once, and wrong twice; object 2: right twice
    assert scores == pytest.approx({"j_and_f": (1 / 3 + 1) / 2, "score": (1 / 3 + 1) / 2})


def test_the_largest_objects_of_the_first_frames(copying, model):
    sizes = {number: square(4 * number, 2, side=4 + number) for number in range(1, MAX_OBJECTS + 3)}
    validate_records(model, [Footage("a", [sizes] * (MAX_FRAMES + 9))], limit=1)
    assert sorted(obj_id for _, obj_id in CopyingSession.asked) == sorted(sizes)[-MAX_OBJECTS:]


def test_stills_and_clips_count_alike(copying, model):
    still, clip = Footage("a", [{1: square(20)}]), Footage("b", [{1: square(20)}] * 3)
    scores = validate_records(model, [still, clip], limit=2)
    assert scores["j_and_f"] == 1
    of_stills = np.mean([scores[key] for key in STILL_KEYS])
    assert scores["score"] == pytest.approx((1 + of_stills) / 2)


def test_what_cannot_be_measured_is_left_out(copying, model):
    good = Footage("good", [{1: square(20)}] * 3)
    empty = [Footage("none", []), Footage("nothing", [{}]), Footage("empty", [{1: np.zeros(SIZE, bool)}])]
    scores = validate_records(model, [Broken("bad", [{}]), *empty, good], limit=9)
    assert scores == {"j_and_f": 1, "score": 1}
    with pytest.raises(RuntimeError, match="none of 1 records can be validated on: bad is broken"):
        validate_records(model, [Broken("bad", [{}])], limit=1)
    with pytest.raises(RuntimeError, match="none of 3 records can be validated on: they show nothing"):
        validate_records(model, empty, limit=3)


def test_nothing_to_validate_on(model):
    assert validate_records(model, [], limit=3) == {}
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        validate_records(model, [], limit=0)


def test_whoever_does_not_wait_gets_what_there_is(copying, model):
    answers = iter([True] * 4 + [False])  # before the still, before the clip, and before its first two frames
    records = [Footage("a", [{1: square(20)}]), Footage("b", [{1: square(20)}] * 9), Footage("c", [{1: square(20)}])]
    scores = validate_records(model.train(), records, limit=3, go_on=lambda: next(answers))
    assert list(scores) == STILL_KEYS
    assert model.training
    assert validate_records(model, records, limit=3, go_on=lambda: False) == {}
