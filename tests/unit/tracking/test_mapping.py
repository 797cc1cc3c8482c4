"""What code that looks into ``inference_state`` finds there, and what it may write."""

import copy
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from small_tracker import LENGTH, SIZE, clip, tracker

from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking.mapping import OfficialState
from sam2.utils.transforms import frame_to_pixels

KEYS = {
    *("images", "num_frames", "offload_video_to_cpu", "offload_state_to_cpu", "video_height", "video_width", "device"),
    *("storage_device", "point_inputs_per_obj", "mask_inputs_per_obj", "cached_features", "constants", "obj_id_to_idx"),
    *("obj_idx_to_id", "obj_ids", "output_dict_per_obj", "temp_output_dict_per_obj", "frames_tracked_per_obj"),
}
OUTPUT_KEYS = {"maskmem_features", "maskmem_pos_enc", "pred_masks", "obj_ptr", "object_score_logits"}


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    return SAM2VideoPredictor(tracker())


@pytest.fixture
def state(predictor: SAM2VideoPredictor) -> OfficialState:
    """Two objects: 7 by a click on frame 0, 3 by a mask on frame 2."""
    state = predictor.init_state(clip())
    predictor.add_new_points_or_box(state, 0, 7, points=[[40, 40]], labels=[1])
    predictor.add_new_mask(state, 2, 3, clip()[2, :, :, 0] > 200)
    return state


def masks(results) -> dict[int, torch.Tensor]:
    return {frame: logits for frame, _, logits in results}


# ---------------------------------------------------------------- reading


def test_all_official_keys_are_there(state) -> None:
    assert isinstance(state, Mapping)
    assert set(state) == KEYS
    assert len(state) == len(KEYS)
    assert "images" in state
    assert state.get("nothing") is None
    with pytest.raises(KeyError, match="nothing"):
        _ = state["nothing"]


def test_a_state_is_one_thing_not_the_sum_of_its_keys(predictor) -> None:
    first, second = predictor.init_state(clip()), predictor.init_state(clip())

    assert first == first
    assert first != second
    assert len({first, second}) == 2
    assert first


def test_plain_values(state) -> None:
    assert state["num_frames"] == LENGTH
    assert (state["video_height"], state["video_width"]) == SIZE
    assert state["device"] == state["storage_device"] == torch.device("cpu")
    assert dict(state["obj_id_to_idx"]) == {7: 0, 3: 1}
    assert dict(state["obj_idx_to_id"]) == {0: 7, 1: 3}
    assert state["obj_ids"] == [7, 3]
    assert state["obj_ids"] is not state["obj_ids"]


def test_prompts(state, predictor) -> None:
    points = state["point_inputs_per_obj"]
    assert list(points[0]) == [0]
    scale = predictor.image_size / torch.tensor([SIZE[1], SIZE[0]])
    torch.testing.assert_close(points[0][0]["point_coords"], (40 * scale)[None, None])
    assert points[0][0]["point_labels"].tolist() == [[1]]
    assert dict(points[1]) == {}

    mask = state["mask_inputs_per_obj"][1][2]
    assert mask.shape == (1, 1, 256, 256)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_outputs_move_from_drafts_to_memory(state, predictor) -> None:
    drafts, outputs = state["temp_output_dict_per_obj"], state["output_dict_per_obj"]
    assert list(drafts[0]["cond_frame_outputs"]) == [0]
    assert drafts[0]["cond_frame_outputs"][0]["maskmem_features"] is None
    assert list(outputs[0]["cond_frame_outputs"]) == []

    shown = masks(predictor.propagate_in_video(state))

    # the views are of now
    assert list(drafts[0]["cond_frame_outputs"]) == []
    assert list(outputs[0]["cond_frame_outputs"]) == [0]
    assert list(outputs[1]["cond_frame_outputs"]) == [2]
    assert list(outputs[0]["non_cond_frame_outputs"]) == list(range(1, LENGTH))
    assert list(outputs[1]["non_cond_frame_outputs"]) == list(range(3, LENGTH))
    for frame in (0, 3, LENGTH - 1):
        kind = "cond_frame_outputs" if frame == 0 else "non_cond_frame_outputs"
        output = outputs[0][kind][frame]
        assert set(output) == OUTPUT_KEYS
        assert output["maskmem_features"].shape == (1, 16, 16, 16)
        assert output["maskmem_features"].dtype == torch.bfloat16
        assert output["maskmem_pos_enc"][0].shape == (1, 16, 16, 16)
        assert output["obj_ptr"].shape == (1, 32)
        assert output["object_score_logits"].shape == (1, 1)
        full = torch.nn.functional.interpolate(output["pred_masks"], SIZE, mode="bilinear", align_corners=False)
        assert torch.equal(full[0], shown[frame][0])


def test_which_frames_were_tracked(state, predictor) -> None:
    assert dict(state["frames_tracked_per_obj"][0]) == {}

    list(predictor.propagate_in_video(state, start_frame_idx=2, max_frame_num_to_track=1))
    list(predictor.propagate_in_video(state, start_frame_idx=1, reverse=True))

    tracked = {frame: entry["reverse"] for frame, entry in state["frames_tracked_per_obj"][0].items()}
    assert tracked == {0: True, 2: False, 3: False}  # frame 1 came before the first prompt, in reverse


def test_what_went_to_disk_is_without_its_memory(predictor) -> None:
    state = predictor.init_state(clip(), history_budget=0)
    predictor.add_new_points_or_box(state, 0, 7, points=[[40, 40]], labels=[1])
    list(predictor.propagate_in_video(state))

    old, young = (state["output_dict_per_obj"][0]["non_cond_frame_outputs"][t] for t in (2, LENGTH - 2))

    assert old["maskmem_features"] is None
    assert old["pred_masks"].shape == young["pred_masks"].shape == (1, 1, 64, 64)
    assert young["maskmem_features"] is not None


def test_cached_features(state, predictor) -> None:
    (frame,) = state["cached_features"]
    image, features = state["cached_features"][frame]

    want = predictor.forward_image(image)
    assert torch.equal(image, frame_to_pixels(clip()[frame], 256)[None])
    for key in ("backbone_fpn", "vision_pos_enc"):
        for found, expected in zip(features[key], want[key], strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert state["constants"]["maskmem_pos_enc"][0].shape == (1, 16, 16, 16)


def test_views_are_not_written(state) -> None:
    outputs = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    with pytest.raises(TypeError, match="read-only"):
        outputs[5] = {}
    with pytest.raises(TypeError, match="read-only"):
        outputs.pop(5, None)
    with pytest.raises(TypeError, match="read-only"):
        del state["point_inputs_per_obj"][0][0]
    with pytest.raises(TypeError, match="read-only"):
        state["obj_id_to_idx"].clear()
    with pytest.raises(KeyError):
        _ = state["output_dict_per_obj"][2]


# ---------------------------------------------------------------- images


def test_images_are_the_pixels_of_frames(state) -> None:
    images = state["images"]

    assert len(images) == LENGTH
    assert images.shape == (LENGTH, 3, 256, 256)
    assert images.dtype == torch.float32
    assert torch.equal(images[3], frame_to_pixels(clip()[3], 256))
    assert torch.equal(images[-1], images[LENGTH - 1])
    assert torch.equal(images[1:3], torch.stack([images[1], images[2]]))
    assert torch.equal(images[np.array([4, 2])], torch.stack([images[4], images[2]]))
    assert images[:0].shape == (0, 3, 256, 256)
    assert sum(1 for _ in images) == LENGTH
    with pytest.raises(IndexError):
        _ = images[LENGTH]


def test_torch_takes_images_as_a_tensor(predictor) -> None:
    images = predictor.init_state(clip()[:3])["images"]

    assert torch.stack([images, images]).shape == (2, 3, 3, 256, 256)
    assert torch.mean(images, dim=(0, 2, 3)).shape == (3,)
    assert images.to(torch.float16).dtype == torch.float16


# ---------------------------------------------------------------- writing


def test_frames_may_be_fed_as_pixels(predictor) -> None:
    """Code that streams by growing ``images`` and ``num_frames``."""
    whole, fed = predictor.init_state(clip()[:6]), predictor.init_state(clip()[:1])
    pixels = whole["images"][:]
    for state in (whole, fed):
        predictor.add_new_points_or_box(state, 0, 1, points=[[40, 40]], labels=[1])
    found = masks(predictor.propagate_in_video(fed))

    for t in range(1, 6):
        fed["images"] = torch.cat([fed["images"], pixels[t : t + 1]])
        fed["num_frames"] = t + 1
        found |= masks(predictor.propagate_in_video(fed, start_frame_idx=t, max_frame_num_to_track=0))

    want = masks(predictor.propagate_in_video(whole))
    assert found.keys() == want.keys()
    # the scale of pointers' distances grows with the video, as officially; the first frames show that pixels are exact
    assert torch.equal(found[0], want[0])
    for t in range(1, 6):
        assert ((found[t] > 0) == (want[t] > 0)).float().mean() > 0.95


@pytest.mark.parametrize("kind", [torch.Tensor.clone, list, lambda x: x.double()])
def test_pixels_of_bytes_are_exact(predictor, kind) -> None:
    state, other = predictor.init_state(clip()[:3]), predictor.init_state(clip()[3:5])

    other["images"] = kind(state["images"][:])

    assert other["num_frames"] == 3
    assert (other["video_height"], other["video_width"]) == SIZE
    assert torch.equal(other["images"][:], state["images"][:])
    other["images"] = other["images"]
    assert torch.equal(other["images"][:], state["images"][:])


def test_images_may_be_another_video(predictor) -> None:
    state = predictor.init_state(clip()[:3])
    predictor.add_new_points_or_box(state, 0, 1, points=[[4, 4]], labels=[1])

    state["images"] = clip(4, size=(64, 80))

    assert (state["num_frames"], state["video_height"], state["video_width"]) == (4, 64, 80)
    assert torch.equal(state["images"][0], frame_to_pixels(clip(4, size=(64, 80))[0], 256))
    (_, image), *_ = [(frame, entry[0]) for frame, entry in state["cached_features"].items()] or [(0, None)]
    assert image is None  # features of the old frames are gone


def test_the_size_of_results_may_be_written(predictor) -> None:
    state = predictor.init_state(clip())

    state["video_height"], state["video_width"] = 48, 64
    logits = predictor.add_new_points_or_box(state, 0, 1, points=[[20, 20]], labels=[1])[2]

    assert logits.shape == (1, 1, 48, 64)
    other = predictor.init_state(clip())
    predictor.add_new_points_or_box(other, 0, 1, points=[[40, 40]], labels=[1])
    torch.testing.assert_close(state.result_at(0).low_res, other.result_at(0).low_res, atol=1e-3, rtol=0)


def test_fewer_frames_may_be_tracked(state, predictor) -> None:
    state["num_frames"] = 4

    assert list(masks(predictor.propagate_in_video(state))) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"0\.\.3"):
        predictor.add_new_points_or_box(state, 4, 7, points=[[1, 1]], labels=[1])


@pytest.mark.parametrize("key", [*sorted(KEYS - {"images", "num_frames", "video_height", "video_width"}), "tracking"])
def test_other_keys_are_refused_with_what_to_call(state, key: str) -> None:
    with pytest.raises(TypeError, match=rf"state\['{key}'\] cannot be written, only images.*; use ."):
        state[key] = {}
    with pytest.raises(TypeError, match="cannot be written"):
        del state[key]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_frames", 0),
        ("num_frames", None),
        ("num_frames", 2.5),
        ("video_height", -3),
        ("images", torch.zeros(2, 3, 128, 128)),
        ("images", []),
        ("images", torch.zeros(0, 3, 256, 256)),
    ],
)
def test_values_that_cannot_be_used_change_nothing(state, key: str, value: object) -> None:
    before = state["images"][1]

    with pytest.raises(ValueError, match=key if key != "video_height" else "video_height must be"):
        state[key] = value

    assert state["num_frames"] == LENGTH
    assert (state["video_height"], state["video_width"]) == SIZE
    assert torch.equal(state["images"][1], before)


def test_states_are_saved_not_pickled(state) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="save_state"):
            attempt(state)
