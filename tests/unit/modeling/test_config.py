"""What a model is and how it behaves: presets, and sizes that are refused."""

import dataclasses

import pytest

from sam2.modeling.config import (
    NANO,
    PRESETS,
    Behaviour,
    EfficientNetLiteConfig,
    HieraConfig,
    ModelConfig,
    check_image_size,
    default_behaviour,
    with_postprocessing,
)


@pytest.mark.parametrize("size", [256, 288, 512, 1024, 2048])
def test_image_sizes(size: int) -> None:
    check_image_size(size)


@pytest.mark.parametrize("size", [0, -32, 224, 255, 257, 500, 1000, 1023, 2080, True])
def test_image_sizes_that_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"multiple of 32 in 256\.\.2048, got"):
        check_image_size(size)
    with pytest.raises(ValueError, match="image_size"):
        dataclasses.replace(NANO, image_size=size)


def test_presets() -> None:
    sizes = ("tiny", "small", "base_plus", "large")

    assert set(PRESETS) == {f"{v}_hiera_{s}" for v in ("sam2", "sam2.1") for s in sizes} | {"nano"}
    assert PRESETS["sam2.1_hiera_large"].backbone_channel_list == (1152, 576, 288, 144)
    assert PRESETS["sam2_hiera_base_plus"].backbone_channel_list == (896, 448, 224, 112)


def test_version_2_lacks_what_2_1_added() -> None:
    old, new = PRESETS["sam2_hiera_tiny"], PRESETS["sam2.1_hiera_tiny"]

    assert (old.no_obj_embed_spatial, new.no_obj_embed_spatial) == (False, True)
    assert (old.proj_tpos_enc_in_obj_ptrs, new.proj_tpos_enc_in_obj_ptrs) == (False, True)
    assert not default_behaviour(old).add_tpos_enc_to_obj_ptrs
    assert default_behaviour(new).add_tpos_enc_to_obj_ptrs


def test_postprocessing_is_what_the_official_builders_add() -> None:
    image = with_postprocessing(Behaviour(), video=False)
    video = with_postprocessing(Behaviour(), video=True)

    assert image.dynamic_multimask_via_stability
    assert (image.dynamic_multimask_stability_delta, image.dynamic_multimask_stability_thresh) == (0.05, 0.98)
    assert (image.fill_hole_area, image.binarize_mask_from_pts_for_mem_enc) == (0, False)
    assert (video.fill_hole_area, video.binarize_mask_from_pts_for_mem_enc) == (8, True)


def test_trunks_check_their_numbers() -> None:
    with pytest.raises(ValueError, match="window_spec has 3 entries for 4 stages"):
        HieraConfig(window_spec=(8, 4, 14))
    with pytest.raises(ValueError, match=r"global_att_blocks must lie in 0\.\.23"):
        HieraConfig(global_att_blocks=(12, 24))


def test_width_scales_the_convolutional_trunk() -> None:
    assert EfficientNetLiteConfig().channels == (24, 40, 112, 320)
    assert EfficientNetLiteConfig(width=0.5).channels == (16, 24, 56, 160)


def test_configs_are_values() -> None:
    copy = dataclasses.replace(NANO)

    assert copy == NANO
    assert isinstance(copy, ModelConfig)
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.image_size = 1024  # type: ignore[misc]
