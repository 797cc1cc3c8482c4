"""Objects do not disturb each other, keep their identifiers, and have no mask before their first prompt."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_tracker import ABSENT, LENGTH, SIZE, assert_same, click, clip, gap, logits, new_tracker, session, tracker

from sam2.io.frames import open_frames
from sam2.tracking import VideoSession
from sam2.tracking.history import History
from sam2.tracking.session import SessionOptions

LATE = 8


@pytest.mark.parametrize("history", [None, 2**30], ids=["no history", "history"])
def test_a_late_object_has_no_mask_before_its_first_prompt(history: int | None) -> None:
    video = session(history=history)
    click(video, 0, 1)
    click(video, LATE, 2, at=(90, 60))

    results = {result.frame_idx: result for result in video.propagate()}

    for frame in range(LATE):
        assert results[frame].obj_ids == (1, 2)
        assert (results[frame].low_res[1] == ABSENT).all()
        assert results[frame].object_scores[1] < 0
        assert not results[frame].mask(2).any()
        assert not video.tracks[2].is_tracked(frame)
    for frame in range(LATE, LENGTH):
        assert results[frame].mask(2).any()
        assert video.tracks[2].is_tracked(frame)


def test_a_late_object_in_reverse() -> None:
    video = session()
    click(video, LENGTH - 1, 1)
    click(video, LATE, 2)

    found = logits(video.propagate("reverse"))

    assert all((found[2, frame] == ABSENT).all() == (frame > LATE) for frame in range(LENGTH))


def test_a_late_object_has_masks_on_both_sides_when_both_directions_are_tracked() -> None:
    video = session()
    click(video, 0, 1)
    click(video, LATE, 2)

    found = logits(video.propagate("both"))

    assert len(found) == 2 * LENGTH
    assert all((mask > ABSENT).any() for mask in found.values())


def test_officially_a_late_object_is_tracked_from_memory_of_the_future() -> None:
    video = session(tracker(track_before_first_prompt=True))
    click(video, 0, 1)
    click(video, LATE, 2)

    found = logits(video.propagate())

    assert all((mask > ABSENT).any() for mask in found.values())
    assert all(video.tracks[2].is_tracked(frame) for frame in range(LENGTH))


def test_a_frame_before_the_first_prompt_is_prompted_as_untracked() -> None:
    video, fresh = session(history=2**30), session()
    click(video, 0, 1)
    click(video, LATE, 2)
    list(video.propagate())

    assert torch.equal(click(video, 3, 2, at=(70, 30)).low_res, click(fresh, 3, 2, at=(70, 30)).low_res)


CHANGES: dict[str, Callable[[VideoSession], object]] = {
    "add": lambda video: click(video, 0, 9, at=(20, 80)),
    "add late": lambda video: click(video, LATE, 9, at=(20, 80)),
    "prompt": lambda video: click(video, 12, 2, at=(20, 80)),
    "mask": lambda video: video.add_mask(3, 2, np.ones(SIZE, bool)),
    "remove": lambda video: video.remove_object(2),
    "clear": lambda video: (click(video, 5, 2), video.clear_prompts(5, 2)),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_to_one_object_leaves_the_others(change: str, when: str) -> None:
    plain, changed = session(history=2**30), session(history=2**30)
    for video in (plain, changed):
        for obj_id, x in ((5, 40), (2, 90), (7, 70)):
            click(video, 0, obj_id, at=(x, 50))
    if when == "after":
        list(changed.propagate())
    CHANGES[change](changed)

    want, got = logits(plain.propagate()), logits(changed.propagate())

    kept = [(obj_id, frame) for obj_id in (5, 7) for frame in range(LENGTH)]
    assert_same(want, got, keys=kept)
    others = [obj_id for obj_id in changed.obj_ids if obj_id != 9]
    assert others == ([5, 7] if change == "remove" else [5, 2, 7])


def test_a_correction_leaves_the_others_bit_for_bit_where_the_batch_is_the_same() -> None:
    video = session(history=2**30)
    click(video, 0, 1)
    click(video, 0, 2, at=(90, 60))
    before = logits(video.propagate())
    click(video, 0, 2, at=(20, 20), label=0)

    after = logits(video.propagate())

    assert_same(before, after, keys=[(1, frame) for frame in range(LENGTH)], exact=True)
    assert gap(before[2, 0], after[2, 0]) > 0.01


def test_tracking_some_objects_leaves_the_memory_of_the_others() -> None:
    plain, mixed = session(), session()
    for video in (plain, mixed):
        click(video, 0, 1)
        list(video.propagate(num_frames=12))
    click(mixed, 2, 2, at=(90, 60))
    list(mixed.propagate(obj_ids=[2], num_frames=4))

    want, got = logits(plain.propagate(start=12)), logits(mixed.propagate(start=12, obj_ids=[1]))

    assert_same(want, got, exact=True)


def test_identifiers_are_never_renumbered() -> None:
    video = session()
    for obj_id in (30, 10, 20):
        click(video, 0, obj_id)
    given = video.obj_ids
    video.remove_object(10)
    click(video, 0, 5)
    click(video, 0, 10)

    assert video.obj_ids == [30, 20, 5, 10]
    assert given == [30, 10, 20], "a list that was handed out does not change"
    assert next(iter(video.propagate())).obj_ids == (30, 20, 5, 10)


def test_a_removed_object_starts_anew() -> None:
    video, fresh = session(history=2**30), session()
    click(video, 0, 1)
    click(video, 0, 2, at=(90, 60))
    list(video.propagate())
    assert video.remove_object(1) == [0]
    click(video, 4, 1, at=(60, 60))
    click(fresh, 4, 1, at=(60, 60))

    assert_same(logits(video.propagate(obj_ids=[1])), logits(fresh.propagate()), exact=True)


@pytest.mark.parametrize("behaviour", [{}, {"track_before_first_prompt": True}], ids=["ours", "official"])
def test_batched_objects_equal_single_ones(behaviour: dict) -> None:
    """Prompts on different frames make groups of different pasts."""
    model = tracker(**behaviour)
    prompts = {1: [0], 2: [0], 3: [0, 5], 4: [5], 5: [3], 6: [0, 5, 11], 7: [3]}
    together = session(model)
    singles: dict = {}
    for obj_id, frames in prompts.items():
        alone = session(model)
        for frame in frames:
            for video in (together, alone):
                click(video, frame, obj_id, at=(12 * obj_id + 5, 30 + 8 * obj_id))
        singles.update(logits(alone.propagate(start=0)))

    assert_same(logits(together.propagate()), singles)


def test_more_objects_than_one_pass_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam2.tracking.engine.rows_at_once", lambda image_size: 2)
    few, one_pass = session(), session()
    for video in (few, one_pass):
        for obj_id in range(5):
            click(video, 0, obj_id, at=(20 * obj_id + 10, 50))
    got = logits(few.propagate(num_frames=4))
    monkeypatch.undo()

    assert_same(got, logits(one_pass.propagate(num_frames=4)))


def test_objects_share_pixels_in_memory_only_where_asked() -> None:
    apart, sharing = (session(tracker(non_overlap_masks_for_mem_enc=flag)) for flag in (False, True))
    for video in (apart, sharing):
        click(video, 0, 1)
        click(video, 0, 2, at=(90, 60))

    a, b = logits(apart.propagate()), logits(sharing.propagate())

    assert gap(a[1, 5], b[1, 5]) > 1e-3


def test_non_overlap_gives_each_pixel_to_one_object() -> None:
    video = session(tracker(non_overlap_masks=True))
    click(video, 0, 1)
    click(video, 0, 2, at=(45, 45))

    for result in video.propagate(num_frames=3):
        assert result.masks.sum(0).max() == 1


def test_features_are_made_once_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_tracker()
    calls = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda pixels: calls.append(len(pixels)) or encode(pixels))
    video = session(model)
    for obj_id in range(6):
        click(video, 0, obj_id, at=(10 * obj_id + 20, 50))
    list(video.propagate())

    assert sum(calls) <= LENGTH + 1


def test_a_history_belongs_to_one_session() -> None:
    history = History(1000)
    VideoSession(tracker(), clip(), options=SessionOptions(history=history))

    with pytest.raises(ValueError, match="history already belongs to a session"):
        VideoSession(tracker(), clip(), options=SessionOptions(history=history))


def test_a_session_closes_what_it_opened() -> None:
    video = open_frames(clip())
    closed = []
    video.close = lambda: closed.append(True)

    with VideoSession(tracker(), video) as session_on_given_frames:
        click(session_on_given_frames, 0)
    with VideoSession(tracker(), clip()) as session_of_its_own:
        assert session_of_its_own.num_frames == len(clip())
        session_of_its_own.frames.close = lambda: closed.append(False)

    assert closed == [False]
