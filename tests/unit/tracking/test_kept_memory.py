"""What is dropped is not missed: windows against keeping all, and histories that spill."""

from dataclasses import replace

import pytest
import torch
from small_tracker import (
    ABSENT,
    LENGTH,
    KeepAll,
    assert_same,
    click,
    gap,
    logits,
    new_tracker,
    session,
    tracker,
)

from sam2.tracking import VideoSession
from sam2.tracking.history import History
from sam2.tracking.records import FrameOutput

HALF = 0.02
"""Logits on disk are half-precision: off by this much at most where they are below 32."""


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("max_cond", [-1, 2])
def test_a_window_equals_keeping_all(stride: int, max_cond: int) -> None:
    model = tracker(memory_temporal_stride_for_eval=stride, max_cond_frames_in_attn=max_cond)
    windowed, keeping = session(model), session(model, policy=KeepAll())
    for video in (windowed, keeping):
        for frame in (0, 5, 11):
            click(video, frame, 1)
        click(video, 2, 2, at=(90, 60))

    assert_same(logits(windowed.propagate()), logits(keeping.propagate()), exact=True)
    assert len(keeping.tracks[1].bank.recent) == LENGTH - 3
    assert len(windowed.tracks[1].bank.recent) < LENGTH - 3


def test_a_window_in_reverse() -> None:
    windowed, keeping = session(), session(policy=KeepAll())
    for video in (windowed, keeping):
        click(video, LENGTH - 1)

    assert_same(logits(windowed.propagate("reverse")), logits(keeping.propagate("reverse")), exact=True)


def test_corrections_on_the_last_frame_read_a_whole_window() -> None:
    windowed, keeping = session(), session(policy=KeepAll())
    shown = []
    for video in (windowed, keeping):
        click(video, 0)
        list(video.propagate(num_frames=12))
        shown.append(click(video, 11, at=(100, 80), label=0).low_res)

    assert torch.equal(*shown)
    assert_same(logits(windowed.propagate(start=11)), logits(keeping.propagate(start=11)), exact=True)


def test_without_a_history_tracking_goes_back_with_what_is_left() -> None:
    video = session()
    click(video, 0)
    before = logits(video.propagate())

    corrected = click(video, 4, at=(100, 80), label=0)
    again = logits(video.propagate(start=5, num_frames=3))
    reverse = logits(video.propagate("reverse", start=10))

    assert torch.isfinite(corrected.low_res).all()
    assert gap(again[1, 5], before[1, 5]) > 0
    assert len(reverse) == 11
    assert all(torch.isfinite(mask).all() for mask in (*again.values(), *reverse.values()))


def test_taking_back_the_only_prompt_leaves_a_frame_that_can_be_prompted() -> None:
    video, fresh = session(), session()
    click(video, 0)
    list(video.propagate())
    video.clear_prompts(0, 1)

    with pytest.raises(RuntimeError, match="No input points or masks are provided for object id 1"):
        video.propagate()
    video.reset()
    assert torch.equal(click(video, 9).low_res, click(fresh, 9).low_res)


def test_prompting_anew_where_no_memory_is_left() -> None:
    video = session()
    click(video, 0)
    list(video.propagate())
    video.clear_prompts(0, 1)
    click(video, 8)

    assert len(logits(video.propagate())) == LENGTH - 8


def _edit(budget: int) -> tuple[VideoSession, dict]:
    """Track, go back further than the window reaches, correct there, track on."""
    video = session(history=budget)
    click(video, 0, 1)
    click(video, 0, 2, at=(90, 60))
    list(video.propagate())
    click(video, 8, 1, at=(100, 80), label=0)
    return video, logits(video.propagate(start=8))


def test_a_history_on_disk_gives_what_one_in_memory_gives() -> None:
    (disk, spilled), (memory, kept) = _edit(0), _edit(2**30)

    assert disk.history is not None
    assert memory.history is not None
    assert disk.history.bytes_in_memory == 0
    assert memory.history.bytes_in_memory > 0
    for key, logit in kept.items():
        assert gap(spilled[key], logit) < HALF


def test_a_budget_is_respected() -> None:
    budget = 300_000
    video = session(history=budget)
    click(video, 0)
    assert video.history is not None
    sizes = [video.history.bytes_in_memory for _ in video.propagate()]

    assert max(sizes) <= budget
    assert max(sizes) > budget / 2
    assert video.history.frames(1) == list(range(1, LENGTH))


@pytest.mark.parametrize("budget", [0, 100_000, 2**30])
def test_every_frame_can_be_shown_again(budget: int) -> None:
    video = session(tracker(fill_hole_area=30), history=budget)
    click(video, 0)
    shown = {result.frame_idx: result for result in video.propagate()}

    for frame, result in shown.items():
        again = video.result_at(frame)
        assert gap(again.low_res, result.low_res) < HALF
        assert torch.equal(again.object_scores, result.object_scores)
        assert torch.equal(again.ious, result.ious)


def test_corrections_where_memory_was_spilled() -> None:
    disk, memory = session(history=0), session(history=2**30)
    answers = []
    for video in (disk, memory):
        click(video, 0)
        list(video.propagate())
        answers.append(click(video, 9, at=(100, 80), label=0).low_res)

    assert gap(*answers) < HALF


def test_pointers_and_scores_are_recalled_without_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the six memories of the window need their frames again, the pointers of nine more do not."""
    model = new_tracker()
    video = session(model, history=0)
    click(video, 0)
    list(video.propagate())
    encoded = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda pixels: encoded.append(1) or encode(pixels))
    list(video.propagate(start=LENGTH - 1))

    click(video, LENGTH - 1, at=(100, 80), label=0)

    assert len(encoded) <= 8


def test_removing_an_object_empties_its_history() -> None:
    video, _ = _edit(0)
    video.remove_object(1)

    assert video.history is not None
    assert video.history.frames(1) == []
    assert video.history.frames(2)
    assert video.result_at(5).obj_ids == (2,)


def test_a_reset_empties_the_history() -> None:
    video, _ = _edit(0)
    video.reset()

    assert video.history is not None
    assert len(video.history) == 0
    assert video.obj_ids == []
    with pytest.raises(RuntimeError, match="add inputs first"):
        video.propagate()
    click(video, 0)
    assert len(list(video.propagate())) == LENGTH


def test_what_is_not_known_is_shown_as_absent() -> None:
    video = session(history=0)
    click(video, 0)
    result = video.result_at(7)

    assert (result.low_res == ABSENT).all()
    assert not result.masks.any()


class TestHistory:
    @staticmethod
    def output(value: float, *, filled: bool = False) -> FrameOutput:
        raw = torch.full((1, 1, 64, 64), float(value))
        logits = raw.clone() + 1 if filled else raw
        return FrameOutput(
            logits,
            raw,
            torch.full((1, 1), value / 10),
            torch.full((1, 1), -float(value)),
            torch.linspace(0, float(value), 32)[None],
            torch.zeros(1, 16, 16, 16, dtype=torch.bfloat16),
        )

    @pytest.mark.parametrize("filled", [False, True])
    def test_disk_and_back(self, filled: bool) -> None:
        history = History(0)
        for frame in range(5):
            history.put(3, frame, self.output(frame + 0.25, filled=filled))

        found = history.get(3, 2)

        assert found is not None
        assert found.logits is not None
        assert found.raw is not None
        assert found.memory is None
        want = self.output(2.25, filled=filled)
        for name in ("logits", "raw", "iou", "object_score", "pointer"):
            assert torch.equal(getattr(found, name), getattr(want, name)), name
        assert (found.logits is found.raw) != filled

    def test_the_oldest_go_first(self) -> None:
        one = self.output(1).num_bytes
        history = History(3 * one)
        for frame in range(5):
            history.put(1, frame, self.output(frame))

        in_memory = [frame for frame in range(5) if history.get(1, frame).memory is not None]  # type: ignore[union-attr]

        assert in_memory == [2, 3, 4]
        assert history.bytes_in_memory == 3 * one

    def test_a_later_output_takes_the_place_of_an_earlier_one(self) -> None:
        for budget in (0, 2**30):
            history = History(budget)
            history.put(1, 0, self.output(1))
            history.put(1, 0, self.output(2))

            assert len(history) == 1
            assert history.get(1, 0).object_score == -2  # type: ignore[union-attr]

    def test_bytes_are_counted_once(self) -> None:
        plain, filled = self.output(1), self.output(1, filled=True)

        assert filled.num_bytes - plain.num_bytes == 64 * 64 * 4
        assert plain.num_bytes == 4 * (64 * 64 + 1 + 1 + 32) + 2 * 16**3
        assert plain.to("cpu").num_bytes == plain.num_bytes
        assert replace(plain, memory=None).num_bytes < plain.num_bytes

    def test_deleting(self) -> None:
        history = History(self.output(1).num_bytes)
        for obj_id in (1, 2):
            for frame in range(3):
                history.put(obj_id, frame, self.output(frame))
        history.delete(1, 2)
        history.delete(2)

        assert history.frames(1) == [0, 1]
        assert history.frames(2) == []
        assert history.get(2, 0) is None
        assert history.bytes_in_memory == 0
        history.clear()
        assert len(history) == 0

    def test_bad_budget(self) -> None:
        with pytest.raises(ValueError, match="budget must be at least 0 bytes, got -1"):
            History(-1)

    def test_a_file_does_not_grow_with_every_pass(self) -> None:
        history = History(0)
        sizes = []
        for _ in range(20):
            for frame in range(10):
                noisy = replace(
                    self.output(frame), raw=torch.randn(1, 1, 256, 256), logits=torch.full((1, 1, 256, 256), frame)
                )
                history.put(1, frame, noisy)
            sizes.append(history.bytes_on_disk)

        assert max(sizes) <= 3 * sizes[0]
        assert [float(history.get(1, frame).logits.mean()) for frame in range(10)] == list(range(10))  # type: ignore[union-attr]
