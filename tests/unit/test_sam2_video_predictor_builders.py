"""The builders of the video predictors."""

from pathlib import Path

import pytest
import torch

import sam2
from sam2.build_sam import (
    build_sam2,
    build_sam2_camera_predictor,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO
from sam2.sam2_camera_predictor import SAM2CameraPredictor
from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

NANO_CONFIG = "configs/nano/nano.yaml"
VIDEO_TARGET = "sam2.sam2_video_predictor.SAM2VideoPredictor"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official-style checkpoint of nano with random weights."""
    path = tmp_path_factory.mktemp("weights") / "nano.pt"
    torch.save({"model": build_model(NANO).state_dict()}, path)
    return path


def test_the_official_call(weights: Path) -> None:
    predictor = build_sam2_video_predictor(NANO_CONFIG, weights, "cpu")

    expected = torch.load(weights, weights_only=True)["model"]
    assert type(predictor) is SAM2VideoPredictor
    assert all(torch.equal(value, expected[name]) for name, value in predictor.state_dict().items())
    assert not predictor.training
    assert predictor.add_all_frames_to_correct_as_cond


@pytest.mark.parametrize("wanted", [True, False])
def test_postprocessing_for_videos(wanted: bool, weights: Path) -> None:
    predictor = build_sam2_video_predictor(NANO_CONFIG, weights, "cpu", apply_postprocessing=wanted)

    assert predictor.fill_hole_area == (8 if wanted else 0)
    assert predictor.binarize_mask_from_pts_for_mem_enc is wanted
    assert predictor.sam_mask_decoder.dynamic_multimask_via_stability is wanted


def test_overrides_of_behaviour(weights: Path) -> None:
    overrides = [
        "++model.add_all_frames_to_correct_as_cond=false",
        "++model.track_before_first_prompt=true",
        "++model.image_size=256",
        "++model.non_overlap_masks=true",
    ]

    predictor = build_sam2_video_predictor(NANO_CONFIG, weights, "cpu", hydra_overrides_extra=overrides)

    assert not predictor.add_all_frames_to_correct_as_cond
    assert predictor.track_before_first_prompt
    assert predictor.non_overlap_masks
    assert predictor.image_size == 256


def test_the_kind_that_compiles(weights: Path) -> None:
    predictor = build_sam2_video_predictor(NANO_CONFIG, weights, "cpu", vos_optimized=True)

    assert isinstance(predictor, SAM2VideoPredictorVOS)
    assert type(SAM2VideoPredictorVOS.from_pretrained(weights, device="cpu")) is SAM2VideoPredictorVOS


def test_dtype_and_mode(weights: Path) -> None:
    predictor = build_sam2_video_predictor(NANO_CONFIG, weights, "cpu", mode="train", dtype="bfloat16")

    assert predictor.training
    assert predictor.compute_dtype == torch.bfloat16


def test_by_name_and_by_file(weights: Path) -> None:
    assert isinstance(build_sam2_video_predictor_hf(str(weights), device="cpu"), SAM2VideoPredictor)
    assert isinstance(build_sam2_video_predictor_hf("nano", device="cpu", vos_optimized=True), SAM2VideoPredictorVOS)
    assert isinstance(SAM2VideoPredictor.from_pretrained(weights, device="cpu"), SAM2VideoPredictor)


def test_a_subclass_makes_its_own_kind(weights: Path) -> None:
    class Mine(SAM2VideoPredictor):
        pass

    assert type(Mine.from_pretrained(weights, device="cpu")) is Mine


def test_the_target_of_a_configuration(weights: Path) -> None:
    model = build_sam2(NANO_CONFIG, weights, "cpu", hydra_overrides_extra=[f"++model._target_={VIDEO_TARGET}"])

    assert type(model) is SAM2VideoPredictor
    assert model.fill_hole_area == 0  # that is what build_sam2 means by post-processing


def test_unknown_arguments_are_said_to_do_nothing(weights: Path) -> None:
    for build in (build_sam2_video_predictor, build_sam2_camera_predictor):
        with pytest.warns(UserWarning, match="ignores unknown arguments: x") as caught:
            build(NANO_CONFIG, weights, "cpu", x=1)
        assert caught[0].filename == __file__


def test_no_checkpoint_warns_where_it_was_called() -> None:
    with pytest.warns(UserWarning, match="random weights") as caught:
        build_sam2_video_predictor(NANO_CONFIG, None, "cpu")

    assert caught[0].filename == __file__


def test_the_camera_predictor(weights: Path) -> None:
    predictor = build_sam2_camera_predictor(NANO_CONFIG, weights, "cpu", vos_optimized=True)

    assert isinstance(predictor, SAM2CameraPredictor)
    assert predictor.fill_hole_area == 8
    assert isinstance(SAM2CameraPredictor.from_pretrained(weights, device="cpu"), SAM2CameraPredictor)


def test_import_paths() -> None:
    from sam2.sam2_video_predictor_legacy import SAM2VideoPredictor as Legacy

    assert Legacy is SAM2VideoPredictor is sam2.SAM2VideoPredictor
    assert sam2.build_sam2_video_predictor is build_sam2_video_predictor
    assert sam2.VideoSession.__name__ == "VideoSession"
