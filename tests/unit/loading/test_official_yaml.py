"""Official configurations become the project's records, or an error that says why not."""

import pytest

from sam2.loading.locate import find_config, packaged_configs
from sam2.loading.official_yaml import OfficialModel, parse_official
from sam2.loading.overrides import apply_overrides
from sam2.modeling.config import PRESETS, Behaviour, default_behaviour


def parse(*overrides: str, config: str = "sam2.1_hiera_t.yaml") -> OfficialModel:
    return parse_official(apply_overrides(find_config(config), overrides))


@pytest.mark.parametrize(("config", "preset"), packaged_configs().items())
def test_a_packaged_file_equals_its_preset(config: str, preset: str) -> None:
    official = parse_official(find_config(config))

    assert official.config == PRESETS[preset]
    assert official.behaviour == default_behaviour(PRESETS[preset])
    assert not official.compile_image_encoder


def test_overrides_reach_the_network() -> None:
    official = parse(
        "++model.image_size=512",
        "++model.memory_attention.layer.self_attention.feat_sizes=[32,32]",
        "++model.memory_attention.layer.cross_attention.feat_sizes=[32,32]",
        "++model.image_encoder.trunk.drop_path_rate=0.1",
        "++model.num_maskmem=5",
    )

    assert official.config.image_size == 512
    assert official.config.trunk.drop_path_rate == 0.1
    assert official.config.memory.num_maskmem == 5


def test_another_size_of_picture_keeps_the_name_of_the_model() -> None:
    assert parse("++model.image_size=512").config.name == "SAM 2.1 tiny"
    assert parse("++model.num_maskmem=5").config.version == "custom"


def test_overrides_reach_the_behaviour() -> None:
    official = parse(
        "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.1",
        "++model.add_all_frames_to_correct_as_cond=false",
        "++model.fill_hole_area=8",
        "++model.max_cond_frames_in_attn=4",
        "++model.compile_image_encoder=True",
    )

    assert official.target == "sam2.sam2_video_predictor.SAM2VideoPredictor"
    assert official.compile_image_encoder
    assert official.behaviour == Behaviour(
        dynamic_multimask_via_stability=True,
        dynamic_multimask_stability_delta=0.1,
        add_all_frames_to_correct_as_cond=False,
        fill_hole_area=8,
        max_cond_frames_in_attn=4,
    )


def test_an_absent_flag_means_the_default_of_the_official_class() -> None:
    behaviour = parse("~model.multimask_output_in_sam", "~model.sigmoid_scale_for_mem_enc").behaviour

    assert behaviour.multimask_output_in_sam is False
    assert behaviour.sigmoid_scale_for_mem_enc == 1.0


def test_the_base_plus_trunk_lives_on_class_defaults() -> None:
    trunk = find_config("sam2_hiera_b+.yaml")["model"]["image_encoder"]["trunk"]

    assert set(trunk) == {"_target_", "embed_dim", "num_heads"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("++model.imag_size=512", "unknown key model.imag_size; the nearest supported key is 'image_size'"),
        ("++model.image_encoder.trunk.embed_dims=96", "trunk.embed_dims; the nearest supported key is 'embed_dim'"),
        ("++model.pred_obj_scores=false", "model.pred_obj_scores: only True is supported, got False"),
        ("~model.use_high_res_features_in_sam", "use_high_res_features_in_sam.*absent, which officially means False"),
        ("++model.use_mlp_for_obj_ptr_proj=1", "use_mlp_for_obj_ptr_proj: only True"),
        ("++model.image_encoder.scalp=2", "image_encoder.scalp: only 1"),
        ("++model.image_encoder.neck.fpn_interp_model=bilinear", "fpn_interp_model: only 'nearest'"),
        ("++model.image_encoder.trunk.embed_dim=112", r"backbone_channel_list must be \[896, 448, 224, 112\]"),
        ("++model.image_encoder.trunk.stages=[1,2]", "window_spec has 4 entries for 2 stages"),
        ("++model.image_encoder.trunk.weights_path=x.pt", "load a checkpoint of the whole model"),
        ("++model.image_size=500", "multiple of 32"),
        ("++model.image_size=big", "model.image_size must be an integer, got 'big'"),
        ("++model.multimask_output_in_sam=1", "must be true or false"),
        ("++model.memory_attention.layer.self_attention.dropout=0.2", "self_attention.dropout: only 0.1"),
        ("++model.memory_attention.layer.self_attention.rope_theta=1.0", "rope_theta must be the same"),
        ("++model.memory_encoder.out_dim=32", "num_pos_feats: only 32"),
        ("++model.memory_attention=3", "model.memory_attention must be a mapping"),
        ("~model.memory_encoder", "model.memory_encoder is missing"),
        ("++model._target_=training.model.sam2.SAM2Train", "training configuration"),
        ("++model._target_=os.system", "model._target_ must be"),
        ("++model.image_encoder.trunk._target_=timm.resnet", "trunk._target_ must be"),
    ],
)
def test_says_what_is_not_supported(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(override)
