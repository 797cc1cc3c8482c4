"""``track_step`` driven by hand, with dicts that the caller keeps, as annotation tools do."""

from typing import Any

import numpy as np
import pytest
import torch
from small_models import seeded, small_config
from torch import Tensor

from sam2.modeling.config import Behaviour
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking import VideoSession
from sam2.utils.transforms import frame_to_pixels

LENGTH = 10
SIZE = 96, 128
CLOSE = {"atol": 1e-3, "rtol": 0.0}
CLICK = (40.0, 50.0)


@pytest.fixture(scope="module")
def model() -> SAM2Base:
    """Without hole filling, which belongs to the predictor."""
    behaviour = Behaviour(binarize_mask_from_pts_for_mem_enc=True, dynamic_multimask_via_stability=True)
    model = seeded(small_config(), behaviour=behaviour)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(1.0)
    return model


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (LENGTH, 6, 8, 3), np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)


class Annotator:
    """What a tool does that keeps its own memory: one object, one call a frame."""

    def __init__(self, model: SAM2Base, num_frames: int) -> None:
        self.model = model
        self.num_frames = num_frames
        self.past: dict[str, dict[int, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def step(self, index: int, frame: np.ndarray, **given: Any) -> dict[str, Any]:
        prompted = bool(given)
        image = frame_to_pixels(frame, self.model.image_size)[None]
        _, feats, codes, sizes = self.model._prepare_backbone_features(self.model.forward_image(image))
        output = self.model.track_step(
            frame_idx=index,
            is_init_cond_frame=prompted,
            current_vision_feats=feats,
            current_vision_pos_embeds=codes,
            feat_sizes=sizes,
            point_inputs=given.get("points"),
            mask_inputs=given.get("mask"),
            output_dict=self.past if self.past["cond_frame_outputs"] else {},
            num_frames=self.num_frames,
            track_in_reverse=False,
            run_mem_encoder=True,
            prev_sam_mask_logits=None,
        )
        # Officially the predictor, not the model, stores memories in bfloat16.
        kept = {**output, "maskmem_features": output["maskmem_features"].to(torch.bfloat16)}
        self.past["cond_frame_outputs" if prompted else "non_cond_frame_outputs"][index] = kept
        return output


def points_of(model: SAM2Base) -> dict[str, Tensor]:
    scale = torch.tensor([model.image_size / SIZE[1], model.image_size / SIZE[0]])
    return {"point_coords": (torch.tensor([[CLICK]]) * scale), "point_labels": torch.tensor([[1]], dtype=torch.int32)}


@torch.inference_mode()
def test_a_click_followed_by_hand_equals_a_session(model: SAM2Base, frames: np.ndarray) -> None:
    session = VideoSession(model, frames)
    session.add_points(0, 1, points=[CLICK], labels=[1])
    want = {result.frame_idx: result for result in session.propagate()}
    tool = Annotator(model, LENGTH)

    for index, frame in enumerate(frames):
        given = {"points": points_of(model)} if index == 0 else {}
        output = tool.step(index, frame, **given)

        torch.testing.assert_close(output["pred_masks"], want[index].low_res, **CLOSE)
        torch.testing.assert_close(output["object_score_logits"][:, 0], want[index].object_scores, **CLOSE)


@torch.inference_mode()
def test_a_mask_followed_by_hand_equals_a_session(model: SAM2Base, frames: np.ndarray) -> None:
    """Officially a tool's masks are not marked as the user's when memory is made of them, the predictor's are."""
    plain = seeded(small_config())
    mask = torch.zeros(1, 1, 256, 256)
    mask[:, :, 60:180, 50:200] = 1
    session = VideoSession(plain, frames)
    session.add_mask(0, 1, mask[0, 0])
    want = {result.frame_idx: result for result in session.propagate(num_frames=3)}
    tool = Annotator(plain, LENGTH)

    for index in range(3):
        output = tool.step(index, frames[index], **({"mask": mask} if index == 0 else {}))
        # The session makes its first memory from the mask at a quarter of the size.
        torch.testing.assert_close(output["pred_masks"], want[index].low_res, atol=0.1 if index else 1e-3, rtol=0)


@torch.inference_mode()
def test_what_comes_back(model: SAM2Base, frames: np.ndarray) -> None:
    tool = Annotator(model, LENGTH)
    output = tool.step(0, frames[0], points=points_of(model))

    side, channels = model.image_size, model.hidden_dim
    assert output["pred_masks"].shape == (1, 1, side // 4, side // 4)
    assert output["pred_masks_high_res"].shape == (1, 1, side, side)
    assert output["obj_ptr"].shape == (1, channels)
    assert output["object_score_logits"].shape == (1, 1)
    assert output["maskmem_features"].shape == (1, model.mem_dim, side // 16, side // 16)
    assert output["maskmem_features"].dtype == torch.float32
    assert [code.shape for code in output["maskmem_pos_enc"]] == [output["maskmem_features"].shape]
    assert output["point_inputs"] is not None
    assert output["mask_inputs"] is None


@torch.inference_mode()
def test_without_a_memory_encoder_there_is_no_memory(model: SAM2Base, frames: np.ndarray) -> None:
    _, feats, codes, sizes = model._prepare_backbone_features(
        model.forward_image(frame_to_pixels(frames[0], model.image_size)[None])
    )
    output = model.track_step(0, True, feats, codes, sizes, points_of(model), None, {}, LENGTH, run_mem_encoder=False)

    assert output["maskmem_features"] is None
    assert output["maskmem_pos_enc"] is None


@torch.inference_mode()
def test_memory_and_earlier_logits_are_read(model: SAM2Base, frames: np.ndarray) -> None:
    tool = Annotator(model, LENGTH)
    tool.step(0, frames[0], points=points_of(model))
    _, feats, codes, sizes = model._prepare_backbone_features(
        model.forward_image(frame_to_pixels(frames[1], model.image_size)[None])
    )

    def masks(first: bool, earlier: Tensor | None) -> Tensor:
        return model.track_step(
            1, first, feats, codes, sizes, points_of(model), None, tool.past, LENGTH, prev_sam_mask_logits=earlier
        )["pred_masks"]

    with_memory, without = masks(False, None), masks(True, None)
    corrected = masks(False, torch.full((1, 1, 64, 64), 10.0))

    assert not torch.equal(with_memory, without)
    assert not torch.equal(with_memory, corrected)


def test_points_and_a_mask_exclude_each_other(model: SAM2Base) -> None:
    with pytest.raises(ValueError, match="point_inputs or mask_inputs, got both"):
        model.track_step(0, True, [], [], [], points_of(model), torch.ones(1, 1, 256, 256), {}, LENGTH)


def test_features_are_flattened_and_back(model: SAM2Base) -> None:
    pixels = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        output = model.forward_image(pixels)
        _, feats, codes, sizes = model._prepare_backbone_features(output)

    assert sizes == [(64, 64), (32, 32), (16, 16)]
    for flat, code, (h, w), level in zip(feats, codes, sizes, output["backbone_fpn"], strict=True):
        assert flat.shape[:2] == (h * w, 2)
        assert code.shape[0] == h * w
        assert torch.equal(flat.permute(1, 2, 0).reshape(level.shape), level)
