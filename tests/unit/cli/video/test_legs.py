"""Which frames a run goes through."""

import pytest

from sam2.cli.video.legs import Leg, Span, has_begun, plan_legs
from sam2.cli.video.prompts import VideoPrompt

FIRST, LATE = VideoPrompt(1, ((1.0, 1.0),), (1,), frame=3), VideoPrompt(2, ((1.0, 1.0),), (1,), frame=6)


def legs(span: Span, *prompts: VideoPrompt) -> list[tuple[list[int], tuple[int, ...]]]:
    return [(list(leg.frames), leg.obj_ids) for leg in plan_legs(prompts, span, 10)]


def test_forward_starts_at_the_first_prompt() -> None:
    assert legs(Span(), FIRST, LATE) == [([3, 4, 5, 6, 7, 8, 9], (1, 2))]
    assert legs(Span(start=5, end=7), FIRST, LATE) == [([5, 6, 7], (1, 2))]
    assert legs(Span(start=0, end=4), FIRST, LATE) == [([0, 1, 2, 3, 4], (1, 2))]


def test_reverse_starts_at_the_last_prompt() -> None:
    assert legs(Span("reverse"), FIRST, LATE) == [([6, 5, 4, 3, 2, 1, 0], (1, 2))]
    assert legs(Span("reverse", start=2, end=4), FIRST, LATE) == [([4, 3, 2], (1, 2))]


def test_both_goes_back_with_whoever_has_begun() -> None:
    assert legs(Span("both"), FIRST, LATE) == [
        ([3, 4, 5, 6, 7, 8, 9], (1, 2)),
        ([5, 4, 3], (2,)),
        ([2, 1, 0], (1, 2)),
    ]
    assert legs(Span("both", start=2, end=7), FIRST, LATE) == [
        ([3, 4, 5, 6, 7], (1, 2)),
        ([5, 4, 3], (2,)),
        ([2], (1, 2)),
    ]
    assert legs(Span("both", start=5), FIRST, LATE) == [([5, 6, 7, 8, 9], (1, 2)), ([5], (2,))]
    assert legs(Span("both", end=2), FIRST, LATE) == [([2, 1, 0], (1, 2))]


@pytest.mark.parametrize("span", [Span("both"), Span("both", 2, 8), Span("both", 4, 4), Span("both", 0, 5)])
def test_both_gives_every_object_every_frame_once(span: Span) -> None:
    prompts = [FIRST, LATE, VideoPrompt(9, frame=0), VideoPrompt(2, frame=8)]
    found = plan_legs(prompts, span, 10)
    seen = [
        (frame, obj_id)
        for leg in found
        for frame in leg.frames
        for obj_id in leg.obj_ids
        if has_begun(leg, prompts, obj_id, frame)
    ]
    start, end = span.start or 0, 9 if span.end is None else span.end
    assert sorted(seen) == [(frame, obj_id) for frame in range(start, end + 1) for obj_id in (1, 2, 9)]


def test_an_object_at_frame_0_leaves_nothing_to_go_back_to() -> None:
    assert legs(Span("both"), VideoPrompt(1, frame=0)) == [(list(range(10)), (1,))]


def test_what_is_left_of_a_leg() -> None:
    assert list(Leg(range(6, 2, -1), (1,)).after(3).frames) == [3]
    assert not Leg(range(3), (1,)).after(3).frames


@pytest.mark.parametrize(
    ("span", "prompt", "message"),
    [
        (Span(), VideoPrompt(1, frame=10), r"a prompt on frame 10, but the video has 10 frames \(0 to 9\)"),
        (Span(start=10), FIRST, "--start 10: the video has 10 frames"),
        (Span(end=-1), FIRST, "--end -1"),
        (Span(start=5, end=4), FIRST, "--start 5 is after --end 4"),
        (Span(end=2), FIRST, "nothing to track forward in frames 0 to 2: the first prompt is on frame 3"),
        (Span("reverse", start=5), FIRST, "nothing to track reverse"),
    ],
)
def test_what_makes_no_sense(span: Span, prompt: VideoPrompt, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_legs([prompt], span, 10)
