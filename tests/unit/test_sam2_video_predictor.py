"""The official calls over sessions: what they take, give and refuse. What tracking does is tested in ``tracking/``."""

import contextlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from tracking.small_tracker import ABSENT, LENGTH, SIZE, clip, new_tracker, tracker

from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import FrameResult, OfficialMemory, VideoSession
from sam2.tracking.mapping import OfficialState

LAST = LENGTH - 1


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    """Shared and therefore read-only."""
    return SAM2VideoPredictor(tracker())


@pytest.fixture
def state(predictor: SAM2VideoPredictor) -> OfficialState:
    return predictor.init_state(clip())


def click(predictor: SAM2VideoPredictor, state: VideoSession, frame: int, obj_id: int = 1, **options: object):
    return predictor.add_new_points_or_box(state, frame, obj_id, points=[[40, 40]], labels=[1], **options)


def frames_of(results) -> list[int]:
    return [frame for frame, _, _ in results]


# ---------------------------------------------------------------- the model


def test_over_a_model_it_shares_all_weights_and_changes_none() -> None:
    model = new_tracker()
    before = model.behaviour

    predictor = SAM2VideoPredictor(model)

    theirs, own = model.state_dict(keep_vars=True), predictor.state_dict(keep_vars=True)
    assert own.keys() == theirs.keys()
    assert all(own[name] is theirs[name] for name in theirs)
    assert model.behaviour == before
    assert not predictor.training
    assert (predictor.image_size, predictor.hidden_dim, predictor.mem_dim) == (256, 32, 16)
    assert (predictor.num_maskmem, predictor.num_feature_levels, predictor.device) == (7, 3, torch.device("cpu"))


def test_what_is_done_to_the_model_is_done_to_the_predictor() -> None:
    model = new_tracker()
    predictor = SAM2VideoPredictor(model)

    model.cast_(torch.bfloat16)

    assert predictor.compute_dtype == torch.bfloat16
    assert predictor.to("cpu") is predictor


def test_postprocessing_is_added_unless_it_is_switched_off() -> None:
    with_it, without = SAM2VideoPredictor(tracker()), SAM2VideoPredictor(tracker(), postprocessing=False)

    assert (with_it.fill_hole_area, with_it.binarize_mask_from_pts_for_mem_enc) == (8, True)
    assert without.behaviour == tracker().behaviour


@pytest.mark.parametrize("arguments", [(), ("nano",), (tracker(), tracker())])
def test_it_is_made_of_a_model(arguments: tuple) -> None:
    with pytest.raises(TypeError, match=r"image_encoder|takes a model|takes no other parts"):
        SAM2VideoPredictor(*arguments)


def test_official_attributes_are_read_and_set() -> None:
    model = new_tracker()
    predictor = SAM2VideoPredictor(model)

    predictor.fill_hole_area = 0
    predictor.non_overlap_masks = True
    predictor.max_cond_frames_in_attn = 3

    behaviour = predictor.behaviour
    assert (behaviour.fill_hole_area, behaviour.non_overlap_masks, behaviour.max_cond_frames_in_attn) == (0, True, 3)
    assert predictor.add_all_frames_to_correct_as_cond
    assert not model.behaviour.non_overlap_masks


def test_attributes_act_at_once() -> None:
    predictor = SAM2VideoPredictor(new_tracker())
    state = predictor.init_state(clip())
    click(predictor, state, 0, 1)
    predictor.non_overlap_masks = True

    _, _, logits = predictor.add_new_points_or_box(state, 0, 2, points=[[60, 50]], labels=[1])

    assert int((logits > 0).sum(0).max()) <= 1


def test_the_bundled_model_by_name() -> None:
    predictor = SAM2VideoPredictor.from_pretrained("nano", device="cpu")

    assert type(predictor) is SAM2VideoPredictor
    assert predictor.fill_hole_area == 8
    assert not predictor.training


# ---------------------------------------------------------------- prompts


def test_prompts_give_all_objects_in_the_order_of_their_first_prompts(predictor, state) -> None:
    click(predictor, state, 0, 7)
    mask = clip()[0, :, :, 0] > 200

    frame, obj_ids, logits = predictor.add_new_mask(state, 0, 3, mask)
    later = predictor.add_new_points_or_box(state, 2, 3, box=[30, 20, 60, 60])

    assert (frame, obj_ids) == (0, [7, 3])
    assert logits.shape == (2, 1, *SIZE)
    assert logits.dtype == torch.float32
    assert (later[0], later[1]) == (2, [7, 3])
    assert (later[2][0] == ABSENT).all()  # not prompted there, not tracked yet
    assert (later[2][1] > ABSENT).any()


def test_clicks_add_up_where_old_ones_are_kept(predictor, state) -> None:
    click(predictor, state, 0)
    first = predictor.add_new_points_or_box(state, 0, 1, [[90, 60]], [0], clear_old_points=False)[2]
    assert state["point_inputs_per_obj"][0][0]["point_labels"].tolist() == [[1, 0]]

    click(predictor, state, 0)

    assert state["point_inputs_per_obj"][0][0]["point_labels"].tolist() == [[1]]
    assert (first > 0).any()


def test_unit_coordinates_and_the_former_name(predictor) -> None:
    states = [predictor.init_state(clip()) for _ in range(2)]
    height, width = SIZE

    pixels = predictor.add_new_points(states[0], 0, 1, points=[[40, 40]], labels=[1])[2]
    units = predictor.add_new_points(states[1], 0, 1, [[40 / width, 40 / height]], [1], normalize_coords=False)[2]

    torch.testing.assert_close(pixels, units, atol=1e-3, rtol=0)


def test_prompts_are_taken_back(predictor, state) -> None:
    click(predictor, state, 0)
    shown = click(predictor, state, 5)[2]

    frame, obj_ids, logits = predictor.clear_all_prompts_in_frame(state, 5, 1)

    assert (frame, obj_ids, logits.shape) == (5, [1], shown.shape)
    assert (logits == ABSENT).all()
    assert predictor.clear_all_prompts_in_frame(state, 0, 1, need_output=False) is None
    with pytest.raises(RuntimeError, match="No input points or masks are provided for object id 1"):
        next(predictor.propagate_in_video(state))
    with pytest.raises(KeyError, match="obj_id 2"):
        predictor.clear_all_prompts_in_frame(state, 5, 2)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"box": [1, 1, 20, 20], "clear_old_points": False}, "cannot add box without clearing old points"),
        ({"points": [[1, 1]]}, "points and labels must be provided together"),
        ({}, "at least one of points or box"),
    ],
)
def test_official_refusals(predictor, state, prompt: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.add_new_points_or_box(state, 0, 1, **prompt)
    assert state.obj_ids == []


def test_removing_an_object_gives_the_others_where_it_had_prompts(predictor, state) -> None:
    click(predictor, state, 0, 1)
    click(predictor, state, 0, 2)
    click(predictor, state, 4, 2)
    kept = state.result_at(0, [1]).logits

    obj_ids, shown = predictor.remove_object(state, 2)

    assert obj_ids == [1]
    assert [frame for frame, _ in shown] == [0, 4]
    assert torch.equal(shown[0][1], kept)
    assert (shown[1][1] == ABSENT).all()
    assert predictor.remove_object(state, 2) == ([1], [])
    with pytest.raises(RuntimeError, match="Cannot remove object id 2"):
        predictor.remove_object(state, 2, strict=True)
    assert predictor.remove_object(state, 1) == ([], [])


def test_removing_without_output(predictor, state) -> None:
    click(predictor, state, 0, 1)
    click(predictor, state, 0, 2)

    assert predictor.remove_object(state, 1, need_output=False) == ([2], [])


def test_a_reset_keeps_the_video_and_the_lists_of_callers(predictor, state) -> None:
    given = click(predictor, state, 0, 9)[1]
    list(predictor.propagate_in_video(state, max_frame_num_to_track=1))

    predictor.reset_state(state)

    assert given == [9]
    assert state.obj_ids == []
    assert state["num_frames"] == LENGTH
    assert frames_of(_tracked(predictor, state, 3)) == list(range(3, LENGTH))


def _tracked(predictor, state, frame: int) -> list:
    click(predictor, state, frame)
    return list(predictor.propagate_in_video(state))


# ---------------------------------------------------------------- tracking


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, range(4, LENGTH)),
        ({"reverse": True}, range(4, -1, -1)),  # from the earliest prompt, in reverse too
        ({"max_frame_num_to_track": 3}, range(4, 8)),  # one more than it says
        ({"max_frame_num_to_track": 0}, range(4, 5)),
        ({"start_frame_idx": 7, "max_frame_num_to_track": 2}, range(7, 10)),
        ({"start_frame_idx": 7, "max_frame_num_to_track": 2, "reverse": True}, range(7, 4, -1)),
        ({"start_frame_idx": LAST, "max_frame_num_to_track": 9}, range(LAST, LENGTH)),
        ({"start_frame_idx": 0, "reverse": True}, range(0)),
        ({"start_frame_idx": LENGTH}, range(0)),
    ],
)
def test_which_frames_are_tracked(predictor, state, options: dict, expected: range) -> None:
    click(predictor, state, 9)
    click(predictor, state, 4, 2)

    assert frames_of(predictor.propagate_in_video(state, **options)) == list(expected)


def test_results_are_those_of_the_session(predictor, state) -> None:
    session = VideoSession(predictor, clip())
    session.add_points(0, 1, points=[[40, 40]], labels=[1])
    click(predictor, state, 0)

    results = zip(predictor.propagate_in_video(state), session.propagate(), strict=True)

    for (frame, obj_ids, logits), result in results:
        assert (frame, obj_ids) == (result.frame_idx, [1])
        assert logits.shape == (1, 1, *SIZE)
        assert logits.dtype == torch.float32
        assert torch.equal(logits, result.logits)


def test_results_are_the_callers_own_and_without_a_graph(predictor, state) -> None:
    shown = click(predictor, state, 0)
    results = [shown, *predictor.propagate_in_video(state, max_frame_num_to_track=2)]

    assert len({id(obj_ids) for _, obj_ids, _ in results}) == len(results)
    for _, _, logits in results:
        assert not logits.requires_grad
        logits.clamp_(min=0)  # refused for tensors of inference mode


def test_the_loop_is_left_and_gone_on_with(predictor) -> None:
    whole, parts = predictor.init_state(clip()), predictor.init_state(clip())
    for state in (whole, parts):
        click(predictor, state, 0)
    want = {frame: logits for frame, _, logits in predictor.propagate_in_video(whole)}

    for frame, _, _ in predictor.propagate_in_video(parts):
        if frame == 6:
            break
    rest = list(predictor.propagate_in_video(parts, start_frame_idx=7))

    assert frames_of(rest) == list(range(7, LENGTH))
    assert all(torch.equal(logits, want[frame]) for frame, _, logits in rest)


def test_without_prompts_nothing_is_tracked(predictor, state) -> None:
    results = predictor.propagate_in_video(state)  # a generator: it raises when it is asked for the first frame

    with pytest.raises(RuntimeError, match="please add inputs first"):
        next(results)
    with pytest.raises(RuntimeError, match="please add inputs first"):
        predictor.propagate_in_video_preflight(state)


@pytest.mark.parametrize("options", [{"max_frame_num_to_track": -1}, {"start_frame_idx": -1}])
def test_numbers_that_make_no_sense(predictor, state, options: dict) -> None:
    click(predictor, state, 0)

    with pytest.raises(ValueError, match=f"{'max_frame' if 'max_frame_num_to_track' in options else 'start'}"):
        next(predictor.propagate_in_video(state, **options))


def test_preflight_takes_the_prompts(predictor, state) -> None:
    click(predictor, state, 0)
    assert list(state["temp_output_dict_per_obj"][0]["cond_frame_outputs"]) == [0]

    predictor.propagate_in_video_preflight(state)

    assert list(state["temp_output_dict_per_obj"][0]["cond_frame_outputs"]) == []
    assert state["output_dict_per_obj"][0]["cond_frame_outputs"][0]["maskmem_features"].dtype == torch.bfloat16


def test_progress(predictor, state) -> None:
    click(predictor, state, 0)
    calls: list[tuple[int, int]] = []

    list(predictor.propagate_in_video(state, max_frame_num_to_track=2, progress=lambda *done: calls.append(done)))

    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_both_directions_with_scores(predictor, state) -> None:
    click(predictor, state, 5)

    results = list(predictor.propagate(state))

    assert all(isinstance(result, FrameResult) for result in results)
    assert sorted(result.frame_idx for result in results) == list(range(LENGTH))
    assert all(result.ious.shape == (1,) and result.boxes.shape == (1, 4) for result in results)


# ---------------------------------------------------------------- states


@pytest.mark.parametrize("budget", [0, None])
def test_the_history_has_a_budget(predictor, budget: int | None) -> None:
    state = predictor.init_state(clip(), history_budget=budget)
    click(predictor, state, 0)
    shown = {frame: logits for frame, _, logits in predictor.propagate_in_video(state)}

    past = state.result_at(3).logits

    if budget is None:
        assert (past == ABSENT).all()
    else:
        assert ((past > 0) != (shown[3] > 0)).float().mean() < 0.01  # half precision on disk


def test_a_memory_policy_is_used(predictor) -> None:
    asked: list[int] = []

    class Watching(OfficialMemory):
        def select(self, question):
            asked.append(question.frame)
            return super().select(question)

    state = predictor.init_state(clip(), policy=Watching())
    click(predictor, state, 0)
    list(predictor.propagate_in_video(state, max_frame_num_to_track=2))

    assert asked == [1, 2]


def test_states_may_be_kept_on_the_cpu(predictor) -> None:
    state = predictor.init_state(
        clip(), offload_video_to_cpu=True, offload_state_to_cpu=True, async_loading_frames=True
    )

    assert state.storage_device == torch.device("cpu")
    assert state["offload_video_to_cpu"]
    assert state["offload_state_to_cpu"]


@pytest.mark.parametrize("wrong", [None, {"num_frames": 3}])
def test_states_come_of_init_state(predictor, wrong: object) -> None:
    with pytest.raises(TypeError, match="inference_state must be what init_state returned"):
        predictor.add_new_points_or_box(wrong, 0, 1, points=[[1, 1]], labels=[1])


def test_a_video_is_needed(predictor, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="video_path must be"):
        predictor.init_state(None)
    with pytest.raises(FileNotFoundError):
        predictor.init_state(str(tmp_path / "no.mp4"))


# ---------------------------------------------------------------- as people write it


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_the_official_snippet_runs_without_cuda(predictor: SAM2Base, tmp_path: Path) -> None:
    for index, frame in enumerate(clip()[:4]):
        Image.fromarray(frame).save(tmp_path / f"{index:05d}.jpg")
    video_segments: dict[int, dict[int, Tensor]] = {}

    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        state = predictor.init_state(str(tmp_path))

        # add new prompts and instantly get the output on the same frame
        frame_idx, object_ids, masks = predictor.add_new_points_or_box(
            state, frame_idx=0, obj_id=1, points=[[40, 40]], labels=[1]
        )
        assert (frame_idx, object_ids, masks.shape) == (0, [1], (1, 1, *SIZE))

        # propagate the prompts to get masklets throughout the video
        for frame_idx, object_ids, masks in predictor.propagate_in_video(state):
            video_segments[frame_idx] = {obj_id: (masks[i] > 0.0).cpu().numpy() for i, obj_id in enumerate(object_ids)}

    assert list(video_segments) == [0, 1, 2, 3]
    assert video_segments[3][1].shape == (1, *SIZE)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, contextlib.nullcontext])
def test_any_grad_mode_gives_the_same(predictor, mode) -> None:
    def run() -> list[Tensor]:
        state = predictor.init_state(clip())
        click(predictor, state, 0)
        return [logits for _, _, logits in predictor.propagate_in_video(state, max_frame_num_to_track=2)]

    with mode():
        found = run()

    assert all(torch.equal(a, b) for a, b in zip(found, run(), strict=True))
