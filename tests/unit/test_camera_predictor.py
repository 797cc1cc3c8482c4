"""The calls of the real-time fork, over streams."""

import numpy as np
import pytest
import torch
from PIL import Image
from tracking.small_tracker import ABSENT, SIZE, clip, tracker

from sam2.sam2_camera_predictor import SAM2CameraPredictor
from sam2.sam2_video_predictor import SAM2VideoPredictor


@pytest.fixture
def camera() -> SAM2CameraPredictor:
    return SAM2CameraPredictor(tracker())


def test_a_stream_equals_the_video(camera) -> None:
    offline = SAM2VideoPredictor(tracker())
    state = offline.init_state(clip())
    offline.add_new_points_or_box(state, 0, 3, box=[20, 20, 60, 60])
    want = {frame: logits for frame, _, logits in offline.propagate_in_video(state)}

    camera.load_first_frame(clip()[0])
    frame_idx, obj_ids, logits = camera.add_new_prompt(0, 3, bbox=[20, 20, 60, 60])
    assert (frame_idx, obj_ids, logits.shape, logits.dtype) == (0, [3], (1, 1, *SIZE), torch.float32)

    for t, frame in enumerate(clip()[1:], 1):
        obj_ids, logits = camera.track(frame)
        assert obj_ids == [3]
        assert torch.equal(logits, want[t])
        assert camera.frame_idx == t


def test_objects_come_at_any_time_and_in_any_way(camera) -> None:
    camera.load_first_frame(clip()[0])
    camera.add_new_points(0, 1, [[40, 40]], [1])
    camera.track(clip()[1])
    mask = clip()[1, :, :, 2] > 200

    frame_idx, obj_ids, logits = camera.add_new_mask(camera.frame_idx, 2, mask)

    assert (frame_idx, obj_ids, len(logits)) == (1, [1, 2], 2)
    assert (((logits[1, 0] > 0).numpy() == mask).mean()) > 0.95
    assert camera.track(clip()[2])[0] == [1, 2]
    assert camera.remove_object(1) == [2]
    assert camera.track(clip()[3])[0] == [2]


@pytest.mark.parametrize("box", [[20, 20, 60, 60], [[20, 20, 60, 60]], [[20, 20], [60, 60]]])
def test_boxes_in_every_form(camera, box: list) -> None:
    camera.load_first_frame(clip()[0])
    want = camera.add_new_prompt(0, 1, bbox=[20, 20, 60, 60])[2]
    camera.reset_state()

    for form in (np.array(box, np.float32), torch.tensor(box)):
        camera.load_first_frame(clip()[0])
        assert torch.equal(camera.add_new_prompt(0, 1, bbox=form)[2], want)


def test_a_frame_to_prompt_on(camera) -> None:
    camera.load_first_frame(clip()[0])
    camera.add_new_points(0, 1, [[40, 40]], [1])

    assert camera.add_conditioning_frame(clip()[1]) == 1

    _, obj_ids, logits = camera.add_new_points(1, 2, [[90, 60]], [1])
    assert obj_ids == [1, 2]
    assert (logits[0] > ABSENT).any()  # tracked there as well


def test_frames_of_any_kind(camera) -> None:
    frames = clip()[:2]
    results = []
    for kind in (np.asarray, Image.fromarray, lambda x: torch.from_numpy(x.copy()).permute(2, 0, 1)):
        camera.load_first_frame(kind(frames[0]))
        camera.add_new_points(0, 1, [[40, 40]], [1])
        results.append(camera.track(kind(frames[1]))[1])
    camera.load_first_frame(np.ascontiguousarray(frames[0][..., ::-1]), bgr=True)
    camera.add_new_points(0, 1, [[40, 40]], [1])
    results.append(camera.track(np.ascontiguousarray(frames[1][..., ::-1]))[1])

    assert all(torch.equal(result, results[0]) for result in results)


def test_it_begins_anew(camera) -> None:
    camera.load_first_frame(clip()[0])
    camera.add_new_points(0, 1, [[40, 40]], [1])
    camera.track(clip()[1])

    camera.load_first_frame(clip(2, size=(64, 64))[0])

    assert camera.frame_idx == 0
    assert camera.condition_state["obj_ids"] == []
    assert camera.condition_state["video_height"] == 64


def test_after_a_reset_the_stream_goes_on(camera) -> None:
    camera.load_first_frame(clip()[0])
    camera.add_new_points(0, 1, [[40, 40]], [1])
    camera.track(clip()[1])

    camera.reset_state()

    with pytest.raises(RuntimeError, match="please add points first"):
        camera.track(clip()[2])
    camera.add_new_points(1, 5, [[40, 40]], [1])
    camera.propagate_in_video_preflight()
    assert camera.track(clip()[2])[0] == [5]


def test_a_first_frame_is_needed(camera) -> None:
    camera.reset_state()  # nothing to forget
    for call in (lambda: camera.track(clip()[0]), lambda: camera.add_new_points(0, 1, [[1, 1]], [1])):
        with pytest.raises(RuntimeError, match="load_first_frame"):
            call()


def test_a_frame_that_cannot_be_used_leaves_the_stream(camera) -> None:
    camera.load_first_frame(clip()[0])
    camera.add_new_points(0, 1, [[40, 40]], [1])

    with pytest.raises(ValueError, match="size of the first one"):
        camera.track(clip(2, size=(64, 64))[0])
    with pytest.raises((TypeError, ValueError)):
        camera.load_first_frame(3)

    assert camera.track(clip()[1])[0] == [1]
    with pytest.raises(RuntimeError, match="not kept"):
        _ = camera.condition_state["images"][0]
