"""A correction on a frame that was tracked stays, and steers the frames after it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_tracker import CLOSE, LENGTH, SIZE, assert_same, click, gap, logits, session, tracker

from sam2.tracking import VideoSession

FRAME = 9
STEERED = 0.01
"""How far a correction moves the next frames' logits at least; float noise is below 1e-4."""


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    yy, xx = np.mgrid[: SIZE[0], : SIZE[1]]
    return (xx - x) ** 2 + (yy - y) ** 2 < radius**2


CORRECTIONS: dict[str, Callable[[VideoSession, int], object]] = {
    "points": lambda video, frame: click(video, frame, at=(100, 80), label=0),
    "box": lambda video, frame: video.add_points(frame, 1, box=[10, 10, 60, 60]),
    "mask": lambda video, frame: video.add_mask(frame, 1, _disc(90, 60, 20)),
}


@pytest.mark.parametrize("kind", CORRECTIONS)
@pytest.mark.parametrize("history", [None, 2**30], ids=["no history", "history"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_correction_stays_and_steers(kind: str, history: int | None, direction: str) -> None:
    video = session(history=history)
    prompted = 0 if direction == "forward" else LENGTH - 1
    click(video, prompted)
    before = logits(video.propagate(direction))
    shown = CORRECTIONS[kind](video, FRAME)

    after = logits(video.propagate(direction, start=prompted))

    assert len(before) == len(after) == LENGTH
    torch.testing.assert_close(after[1, FRAME], shown.low_res[0], **CLOSE)
    step = 1 if direction == "forward" else -1
    for frame in (FRAME, FRAME + step, FRAME + 5 * step):
        assert gap(after[1, frame], before[1, frame]) > STEERED
    assert torch.equal(after[1, prompted], before[1, prompted])


@pytest.mark.parametrize("kind", CORRECTIONS)
def test_a_correction_steers_from_its_own_frame_on(kind: str) -> None:
    video = session(history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    shown = CORRECTIONS[kind](video, FRAME)

    after = logits(video.propagate(start=FRAME))

    assert [frame for _, frame in after] == list(range(FRAME, LENGTH))
    assert torch.equal(after[1, FRAME], shown.low_res[0])
    assert gap(after[1, FRAME + 1], before[1, FRAME + 1]) > STEERED
    assert torch.equal(video.result_at(FRAME).low_res[0], shown.low_res[0])


def test_a_correction_starts_from_the_mask_that_is_there() -> None:
    fresh, tracked = session(), session(history=2**30)
    click(tracked, 0)
    list(tracked.propagate())

    first, corrected = click(fresh, FRAME, at=(100, 80)), click(tracked, FRAME, at=(100, 80))

    assert gap(first.low_res, corrected.low_res) > STEERED


def test_a_correction_stays_on_a_prompted_frame() -> None:
    video = session()
    click(video, 0)
    before = logits(video.propagate())
    shown = click(video, 0, at=(100, 80), label=0)

    after = logits(video.propagate())

    assert torch.equal(after[1, 0], shown.low_res[0])
    assert gap(after[1, 1], before[1, 1]) > STEERED


def test_several_corrections_all_stay() -> None:
    video = session(history=2**30)
    click(video, 0)
    list(video.propagate())
    shown = {frame: click(video, frame, at=(100, 80), label=0).low_res[0].clone() for frame in (4, 12, 8)}

    after = logits(video.propagate())

    for frame, mask in shown.items():
        assert torch.equal(after[1, frame], mask)


@pytest.mark.parametrize("kind", CORRECTIONS)
def test_officially_a_correction_is_tracked_over(kind: str) -> None:
    video = session(tracker(add_all_frames_to_correct_as_cond=False), history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    CORRECTIONS[kind](video, FRAME)

    after = logits(video.propagate())

    assert_same(after, before, exact=True)


def test_officially_a_correction_is_read_by_a_pass_that_starts_after_it() -> None:
    video = session(tracker(add_all_frames_to_correct_as_cond=False), history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    click(video, FRAME, at=(100, 80), label=0)

    after = logits(video.propagate(start=FRAME + 1))

    assert gap(after[1, FRAME + 1], before[1, FRAME + 1]) > 1e-3
    assert list(video.tracks[1].bank.prompted) == [0]


def test_officially_a_correction_of_a_prompted_frame_is_lost() -> None:
    video = session(tracker(add_all_frames_to_correct_as_cond=False), history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    click(video, 0, at=(100, 80), label=0)

    assert_same(logits(video.propagate()), before, exact=True)


def test_a_first_prompt_off_the_track_conditions_in_both_behaviours() -> None:
    for keep in (True, False):
        video = session(tracker(add_all_frames_to_correct_as_cond=keep))
        click(video, 0)
        list(video.propagate(num_frames=4))
        click(video, 10)
        video.commit()

        assert list(video.tracks[1].bank.prompted) == [0, 10]


def test_clearing_a_correction_brings_tracking_back() -> None:
    video = session(history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    click(video, FRAME, at=(100, 80), label=0)
    video.clear_prompts(FRAME, 1)

    assert video.tracks[1].is_tracked(FRAME), "taking back an answer that nothing used forgets nothing else"
    assert_same(logits(video.propagate()), before, exact=True)


def test_clearing_a_used_correction_takes_its_effect_back() -> None:
    video = session(history=2**30)
    click(video, 0)
    before = logits(video.propagate())
    click(video, FRAME, at=(100, 80), label=0)
    list(video.propagate())
    video.clear_prompts(FRAME, 1)

    assert_same(logits(video.propagate()), before, exact=True)


def test_more_points_refine() -> None:
    together, one_by_one = session(), session()
    points, labels = [[40, 40], [100, 80], [60, 20]], [1, 0, 1]
    for point, label in zip(points, labels, strict=True):
        one_by_one.add_points(0, 1, points=[point], labels=[label], clear_old_points=False)
    together.add_points(0, 1, points=points, labels=labels)

    prompts = one_by_one.tracks[1].prompts[0]

    assert torch.equal(prompts.points, together.tracks[1].prompts[0].points)
    assert prompts.labels.tolist() == labels


def test_a_box_comes_before_the_clicks_that_refine_it() -> None:
    video = session()
    video.add_points(0, 1, box=[10, 10, 60, 60])
    video.add_points(0, 1, points=[[20, 20]], labels=[0], clear_old_points=False)

    assert video.tracks[1].prompts[0].labels.tolist() == [2, 3, 0]
    with pytest.raises(ValueError, match="clear_old_points"):
        video.add_points(0, 1, box=[10, 10, 60, 60], clear_old_points=False)


def test_mask_and_points_of_one_frame_replace_each_other() -> None:
    video = session()
    click(video, 0)
    video.add_mask(0, 1, _disc(40, 40, 20))
    assert video.tracks[1].prompts[0].mask is not None
    click(video, 0)
    assert video.tracks[1].prompts[0].mask is None
