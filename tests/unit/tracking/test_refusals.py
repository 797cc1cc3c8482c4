"""What cannot be used is refused by name, and the session is as it was."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_tracker import LENGTH, SIZE, click, clip, new_tracker, session, snapshot, tracker

from sam2.tracking import VideoSession
from sam2.tracking.stepping import propagate_together, step_together

NAN = float("nan")

PROMPTS: list[tuple[str, Callable[[VideoSession, int], object], type[Exception], str]] = [
    ("NaN point", lambda v, o: v.add_points(0, o, points=[[NAN, 3]], labels=[1]), ValueError, "points must be finite"),
    ("NaN box", lambda v, o: v.add_points(0, o, box=[0, 0, NAN, 9]), ValueError, "box must be finite"),
    ("reversed box", lambda v, o: v.add_points(0, o, box=[50, 50, 10, 10]), ValueError, "box must be"),
    ("two boxes", lambda v, o: v.add_points(0, o, box=[[0, 0, 9, 9]] * 2), ValueError, "box must be of one object"),
    ("no labels", lambda v, o: v.add_points(0, o, points=[[3, 3]]), ValueError, "points and labels"),
    ("no points", lambda v, o: v.add_points(0, o, labels=[1]), ValueError, "points and labels"),
    ("nothing", lambda v, o: v.add_points(0, o), ValueError, "at least one of points or box"),
    ("empty", lambda v, o: v.add_points(0, o, points=np.zeros((0, 2)), labels=[]), ValueError, "at least one point"),
    ("labels short", lambda v, o: v.add_points(0, o, points=[[3, 3]] * 2, labels=[1]), ValueError, "labels must have"),
    ("odd label", lambda v, o: v.add_points(0, o, points=[[3, 3]], labels=[7]), ValueError, "labels must be"),
    ("3-d points", lambda v, o: v.add_points(0, o, points=[[3, 3, 3]], labels=[1]), ValueError, "points must have"),
    (
        "box after points",
        lambda v, o: v.add_points(0, o, box=[0, 0, 9, 9], clear_old_points=False),
        ValueError,
        "clear_old_points",
    ),
    ("past the end", lambda v, o: click(v, LENGTH, o), ValueError, rf"frame_idx must be in 0\.\.{LENGTH - 1}"),
    ("negative frame", lambda v, o: click(v, -1, o), ValueError, "frame_idx must be in"),
    ("no frame", lambda v, o: click(v, 1.5, o), ValueError, "frame_idx must be an integer"),
    ("bool frame", lambda v, o: click(v, True, o), ValueError, "frame_idx must be an integer, got True"),
    ("bool id", lambda v, o: click(v, 0, True), ValueError, "obj_id must be an integer, got True"),
    ("text id", lambda v, o: click(v, 0, "dog"), ValueError, "obj_id must be an integer, got 'dog'"),
    ("3-d mask", lambda v, o: v.add_mask(0, o, np.ones((2, *SIZE))), ValueError, "mask must have shape"),
    ("1-d mask", lambda v, o: v.add_mask(0, o, np.ones(9)), ValueError, "mask must have shape"),
    ("no mask", lambda v, o: v.add_mask(0, o, np.ones((0, 9))), ValueError, "mask must have shape"),
    ("NaN mask", lambda v, o: v.add_mask(0, o, np.full(SIZE, NAN)), ValueError, "mask must be finite"),
    ("text mask", lambda v, o: v.add_mask(0, o, [["a", "b"]]), ValueError, "mask must"),
    ("ragged mask", lambda v, o: v.add_mask(0, o, [[1], [1, 0]]), ValueError, "mask must"),
    ("mask off the end", lambda v, o: v.add_mask(LENGTH, o, np.ones(SIZE)), ValueError, "frame_idx must be in"),
    ("clear unknown", lambda v, o: v.clear_prompts(0, 77), KeyError, "obj_id 77 is not among"),
    ("remove unknown", lambda v, o: v.remove_object(77), KeyError, "obj_id 77 is not among"),
]


@pytest.mark.parametrize("obj_id", [1, 5], ids=["known object", "new object"])
@pytest.mark.parametrize(("call", "error", "message"), [p[1:] for p in PROMPTS], ids=[p[0] for p in PROMPTS])
def test_a_refused_prompt_changes_nothing(
    call: Callable, error: type[Exception], message: str, obj_id: int, used: VideoSession
) -> None:
    before = snapshot(used)

    with pytest.raises(error, match=message):
        call(used, obj_id)

    assert snapshot(used) == before


@pytest.fixture(scope="module")
def used() -> VideoSession:
    """A session with a past; every test that takes it leaves it as it was."""
    video = session(history=10**6)
    click(video, 0)
    list(video.propagate(num_frames=5))
    click(video, 3)
    return video


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "backward"}, "direction must be one of forward, reverse, both"),
        ({"start": LENGTH}, "start must be in"),
        ({"start": -1}, "start must be in"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"num_frames": 2.5}, "num_frames must be an integer"),
        ({"obj_ids": [4]}, r"obj_ids must be among \[1\], got \[4\]"),
        ({"obj_ids": []}, "obj_ids must be among"),
        ({"obj_ids": [True]}, "obj_id must be an integer"),
    ],
)
def test_a_refused_pass_changes_nothing(options: dict, message: str, used: VideoSession) -> None:
    before = snapshot(used)

    with pytest.raises(ValueError, match=message):
        used.propagate(**options)

    assert snapshot(used) == before


def test_without_prompts_there_is_nothing_to_track() -> None:
    with pytest.raises(RuntimeError, match="add inputs first"):
        session().propagate()


def test_a_stream_refuses_old_frames_and_other_sizes() -> None:
    video = VideoSession(tracker())
    for frame in clip()[:4]:
        video.step(frame)
    click(video, 3)
    before = snapshot(video)

    with pytest.raises(RuntimeError, match="is gone"):
        click(video, 1, 9)
    with pytest.raises(ValueError, match="size"):
        video.step(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="image"):
        video.step(np.zeros((4, 4, 4, 4), np.uint8))

    assert snapshot(video) == before


def test_a_step_that_is_refused_for_one_session_changes_none() -> None:
    first, second = VideoSession(tracker()), VideoSession(tracker())
    second.step(clip()[0])

    with pytest.raises(ValueError, match="size"):
        step_together([first, second], [clip()[0], clip()[0][:50]])

    assert first.num_frames == 0
    assert first.step(clip()[0][:50]).size == (50, SIZE[1]), "the first frame still decides the size"
    assert second.num_frames == 1


def test_sessions_to_be_stepped_together_share_a_model() -> None:
    with pytest.raises(ValueError, match="share one model"):
        step_together([VideoSession(tracker()), VideoSession(new_tracker())], [clip()[0]] * 2)
    with pytest.raises(ValueError, match="at least one session"):
        step_together([], [])
    with pytest.raises(ValueError, match="one per session"):
        step_together([VideoSession(tracker())], [])
    with pytest.raises(RuntimeError, match="add inputs first"):
        next(propagate_together([session()]))


def test_numbers_of_numpy_and_torch_are_integers() -> None:
    video = session()
    click(video, np.int64(2), np.int32(3))
    click(video, torch.tensor(2), torch.tensor(4))  # type: ignore[arg-type]

    assert video.obj_ids == [3, 4]
    assert all(type(obj_id) is int for obj_id in video.obj_ids)
