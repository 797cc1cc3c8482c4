"""The official choice of memories against a slow restatement of its rules, on random pasts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import MemorySelection, closest_prompted, oldest_needed, select_memories

NUM_MASKMEM = 7
PREVIOUS = 15
"""Pointers of other frames at most."""


def _restated(
    frame: int,
    prompted: list[int],
    tracked: set[int],
    *,
    stride: int,
    limit: int,
    num_frames: int,
    reverse: bool,
    past_only: bool = True,
    signed: bool = True,
) -> MemorySelection:
    """The rules in words, one after the other; time is mirrored for a reverse pass."""

    def mirrored(index: int) -> int:
        return -index if reverse else index

    # 1. Prompted frames: all, or the nearest on each side and then the nearest of the rest.
    near = list(prompted)
    if limit != -1 and len(prompted) > limit:
        near = []
        if any(t < frame for t in prompted):
            near.append(max(t for t in prompted if t < frame))
        if any(t >= frame for t in prompted):
            near.append(min(t for t in prompted if t >= frame))
        rest = [t for t in prompted if t not in near]
        while len(near) < limit:
            nearest = min(rest, key=lambda t: (abs(t - frame), prompted.index(t)))
            near.append(nearest)
            rest.remove(nearest)
    others = tracked | {t for t in prompted if t not in near}
    memories = [(t, 6) for t in near]

    # 2. Six more, newest last: the previous frame, and before it the five youngest multiples of the stride, of those
    # at least two frames ago.
    now = mirrored(frame)
    multiples = [t for t in range(now - 2, now - 2 - 6 * stride, -1) if t % stride == 0][:5]
    places = [now - 1, *multiples]
    for slot in range(5, -1, -1):
        t = mirrored(places[slot])
        if t in others:
            memories.append((t, slot))

    # 3. Pointers: of those prompted frames, the past ones; then of the fifteen previous frames, within the video.
    scale = min(num_frames, PREVIOUS + 1)
    pointers = []
    for t in near:
        ago = now - mirrored(t)
        if ago >= 0 or not past_only:
            pointers.append((t, ago if signed else abs(ago)))
    for ago in range(1, scale):
        t = mirrored(now - ago)
        if 0 <= t < num_frames and t in others:
            pointers.append((t, ago))
    return MemorySelection(tuple(memories), tuple(pointers), scale)


@st.composite
def pasts(draw: st.DrawFn) -> dict:
    num_frames = draw(st.integers(1, 40))
    frames = st.integers(0, num_frames - 1)
    prompted = draw(st.lists(frames, min_size=1, max_size=6, unique=True))
    return {
        "frame": draw(frames),
        "prompted": prompted,
        "tracked": draw(st.sets(frames, max_size=40)) - set(prompted),
        "stride": draw(st.integers(1, 3)),
        "limit": draw(st.sampled_from([-1, 2, 3, 4])),
        "num_frames": num_frames,
        "reverse": draw(st.booleans()),
        "past_only": draw(st.booleans()),
        "signed": draw(st.booleans()),
    }


def _selected(past: dict, tracked: set[int] | None = None, *, stream: bool = False) -> MemorySelection:
    behaviour = Behaviour(
        memory_temporal_stride_for_eval=past["stride"],
        max_cond_frames_in_attn=past["limit"],
        only_obj_ptrs_in_the_past_for_eval=past["past_only"],
        use_signed_tpos_enc_to_obj_ptrs=past["signed"],
    )
    known = past["tracked"] if tracked is None else tracked
    return select_memories(
        past["frame"],
        past["prompted"],
        known.__contains__,
        behaviour=behaviour,
        num_maskmem=NUM_MASKMEM,
        num_frames=None if stream else past["num_frames"],
        reverse=past["reverse"],
    )


@settings(max_examples=400, deadline=None)
@given(pasts())
def test_the_choice_is_the_official_one(past: dict) -> None:
    assert _selected(past) == _restated(**past)


@settings(max_examples=200, deadline=None)
@given(pasts())
def test_what_is_older_than_needed_is_never_read(past: dict) -> None:
    """Nor by any later frame of the same direction: what a bank drops is not missed."""
    behaviour = Behaviour(memory_temporal_stride_for_eval=past["stride"])
    sign = -1 if past["reverse"] else 1
    memory, pointer = oldest_needed(
        past["frame"], behaviour=behaviour, num_maskmem=NUM_MASKMEM, reverse=past["reverse"]
    )
    end = -1 if past["reverse"] else past["num_frames"]
    for later in range(past["frame"], end, sign):
        selection = _selected({**past, "frame": later})
        others = past["tracked"]
        assert all(sign * (t - memory) >= 0 for t, _ in selection.memories if t in others)
        assert all(sign * (t - pointer) >= 0 for t, _ in selection.pointers if t in others)


@settings(max_examples=100, deadline=None)
@given(pasts())
def test_a_stream_is_a_video_of_sixteen_frames_or_more(past: dict) -> None:
    past = {**past, "reverse": False, "num_frames": max(past["num_frames"], 16)}

    assert _selected(past, stream=True) == _selected(past)


def test_a_whole_window() -> None:
    selection = select_memories(
        20, [0], set(range(1, 20)).__contains__, behaviour=Behaviour(), num_maskmem=7, num_frames=100
    )

    assert selection.memories == ((0, 6), (14, 5), (15, 4), (16, 3), (17, 2), (18, 1), (19, 0))
    assert selection.slots == (6, 5, 4, 3, 2, 1, 0)
    assert selection.pointers == ((0, 20), *((20 - d, d) for d in range(1, 16)))
    assert selection.max_pointers == 16


def test_missing_frames_are_passed_over() -> None:
    selection = select_memories(
        9, [0], {3, 5, 8}.__contains__, behaviour=Behaviour(), num_maskmem=7, num_frames=10, reverse=False
    )

    assert selection.memories == ((0, 6), (3, 5), (5, 3), (8, 0))
    assert selection.pointers == ((0, 9), (8, 1), (5, 4), (3, 6))
    assert selection.max_pointers == 10


def test_a_limit_leaves_room_for_one_on_each_side() -> None:
    assert closest_prompted(5, [0, 4, 6, 9], 2) == ([4, 6], {0, 9})
    assert closest_prompted(5, [0, 4, 5, 9], 3) == ([4, 5, 9], {0})
    assert closest_prompted(5, [0, 4], 2) == ([0, 4], set())
    for limit in (0, 1):
        with pytest.raises(ValueError, match="max_cond_frames_in_attn must be -1 or at least 2"):
            closest_prompted(5, [0, 4, 9], limit)
