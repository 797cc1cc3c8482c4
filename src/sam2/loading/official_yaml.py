"""Official YAML (the tree that Hydra would instantiate) to the project's records, and nothing instantiated.

Where a key is absent, the default of the official class holds, so that a user's own file means what it means there.
Keys that would ask for a network this project does not build are refused by name.
"""

from dataclasses import dataclass, replace
from typing import Any

from sam2.loading.schema import Section
from sam2.modeling.config import (
    PRESETS,
    Behaviour,
    DecoderConfig,
    EfficientNetLiteConfig,
    HieraConfig,
    MemoryConfig,
    ModelConfig,
    TrunkConfig,
)

BASE_CLASS = "sam2.modeling.sam2_base.SAM2Base"
VIDEO_CLASSES = (
    "sam2.sam2_video_predictor.SAM2VideoPredictor",
    "sam2.sam2_video_predictor.SAM2VideoPredictorVOS",
    "sam2.sam2_camera_predictor.SAM2CameraPredictor",
)
_HIERA = "sam2.modeling.backbones.hieradet.Hiera"
_EFFICIENTNET = "sam2.modeling.backbones.efficientnet_lite.EfficientNetLite"


@dataclass(frozen=True, slots=True)
class OfficialModel:
    """What an official configuration says.

    Attributes:
        config: the network.
        behaviour: how it is to behave, before ``apply_postprocessing``.
        target: the class that ``model._target_`` names, e.g. ``"sam2.modeling.sam2_base.SAM2Base"``.
        compile_image_encoder: whether the image encoder is to be compiled.
    """

    config: ModelConfig
    behaviour: Behaviour
    target: str
    compile_image_encoder: bool


def parse_official(tree: dict[str, Any]) -> OfficialModel:
    """Read a configuration tree with a ``model`` key.

    Raises:
        ValueError: an unknown key (the message names the nearest supported one), a flag at a value that is not
            supported, a value of the wrong type, or parts that do not fit together.
    """
    model = Section(tree.get("model"), "model")
    target = _target(model)
    config = _model_config(model)
    behaviour = _behaviour(model)
    _fixed_flags(model)
    compiled = model.flag("compile_image_encoder", False)
    model.finish()
    return OfficialModel(_named(config), behaviour, target, compiled)


def _target(model: Section) -> str:
    try:
        return model.target(BASE_CLASS, *VIDEO_CLASSES)
    except ValueError as error:
        if "SAM2Train" in str(error) or "training." in str(error):
            raise ValueError(f"{error}. This is a training configuration: for inference write {BASE_CLASS}.") from error
        raise


def _model_config(model: Section) -> ModelConfig:
    trunk, levels, d_model = _image_encoder(model.section("image_encoder"))
    memory = _memory(model, d_model)
    no_obj_embed_spatial = model.flag("no_obj_embed_spatial", False)
    proj_tpos = model.flag("proj_tpos_enc_in_obj_ptrs", False)
    return ModelConfig(
        name="SAM 2 (custom)",
        version="custom",
        trunk=trunk,
        image_size=model.integer("image_size", 512),
        d_model=d_model,
        fpn_top_down_levels=levels,
        decoder=_decoder(model),
        memory=memory,
        no_obj_embed_spatial=no_obj_embed_spatial,
        proj_tpos_enc_in_obj_ptrs=proj_tpos,
    )


def _named(config: ModelConfig) -> ModelConfig:
    """``config`` under the name of the preset that it equals, whatever its image size."""
    for preset in PRESETS.values():
        renamed = replace(config, name=preset.name, version=preset.version)
        if replace(renamed, image_size=preset.image_size) == preset:
            return renamed
    return config


def _image_encoder(encoder: Section) -> tuple[TrunkConfig, tuple[int, ...], int]:
    encoder.target("sam2.modeling.backbones.image_encoder.ImageEncoder")
    encoder.expect("scalp", 1, default=0)
    trunk = _trunk(encoder.section("trunk"))
    neck = encoder.section("neck")
    encoder.finish()

    neck.target("sam2.modeling.backbones.image_encoder.FpnNeck")
    d_model = neck.integer("d_model")
    _position_encoding(neck.section("position_encoding"), d_model)
    channels = neck.integers("backbone_channel_list")
    if channels != trunk.channels[::-1]:
        raise ValueError(
            f"{neck.path}.backbone_channel_list must be {list(trunk.channels[::-1])}, got {list(channels)}"
        )
    levels = neck.optional_integers("fpn_top_down_levels")
    neck.expect("fpn_interp_model", "nearest", default="bilinear")
    neck.expect("fuse_type", "sum", default="sum")
    for key, only in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        neck.expect(key, only, default=only)
    neck.finish()
    return trunk, tuple(range(len(channels))) if levels is None else levels, d_model


def _trunk(trunk: Section) -> TrunkConfig:
    config: TrunkConfig
    if trunk.target(_HIERA, _EFFICIENTNET) == _EFFICIENTNET:
        config = EfficientNetLiteConfig(width=trunk.number("width", 1.0), depth=trunk.number("depth", 1.0))
    else:
        background = trunk.integers("window_pos_embed_bkg_spatial_size", (14, 14))
        if len(background) != 2:
            raise ValueError(f"{trunk.path}.window_pos_embed_bkg_spatial_size must be two integers, got {background}")
        config = HieraConfig(
            embed_dim=trunk.integer("embed_dim", 96),
            num_heads=trunk.integer("num_heads", 1),
            stages=trunk.integers("stages", (2, 3, 16, 3)),
            global_att_blocks=trunk.integers("global_att_blocks", (12, 16, 20)),
            window_spec=trunk.integers("window_spec", (8, 4, 14, 7)),
            window_pos_embed_bkg_spatial_size=(background[0], background[1]),
            q_pool=trunk.integer("q_pool", 3),
            drop_path_rate=trunk.number("drop_path_rate", 0.0),
        )
        trunk.expect("q_stride", (2, 2), default=(2, 2))
        for key, only in (("dim_mul", 2.0), ("head_mul", 2.0), ("return_interm_layers", True)):
            trunk.expect(key, only, default=only)
        trunk.expect("weights_path", None, default=None, why="load a checkpoint of the whole model instead")
    trunk.finish()
    return config


def _position_encoding(encoding: Section, channels: int) -> None:
    encoding.target("sam2.modeling.position_encoding.PositionEmbeddingSine")
    encoding.expect("num_pos_feats", channels, default=None)
    encoding.expect("normalize", True, default=True)
    encoding.expect("scale", None, default=None)
    encoding.expect("temperature", 10000, default=10000)
    encoding.ignore("warmup_cache", "image_size", "strides")  # tables are cached per size on first use
    encoding.finish()


def _decoder(model: Section) -> DecoderConfig:
    if "decoder" not in model:
        return DecoderConfig()
    decoder = model.section("decoder")
    config = DecoderConfig(
        mlp_dim=decoder.integer("mlp_dim", 2048),
        prompt_maps=decoder.flag("prompt_maps", False),
        fusion_layers=decoder.integer("fusion_layers", 0),
        smooth_upscaling=decoder.flag("smooth_upscaling", False),
    )
    decoder.finish()
    return config


def _memory(model: Section, d_model: int) -> MemoryConfig:
    attention = model.section("memory_attention")
    attention.target("sam2.modeling.memory_attention.MemoryAttention")
    attention.expect("d_model", d_model, default=None)
    attention.expect("pos_enc_at_input", True, default=None)
    attention.ignore("batch_first")
    num_layers = attention.integer("num_layers")
    layer = attention.section("layer")
    attention.finish()

    encoder = model.section("memory_encoder")
    dim, fuser_layers = _memory_encoder(encoder, d_model)

    layer.target("sam2.modeling.memory_attention.MemoryAttentionLayer")
    layer.expect("activation", "relu", default=None)
    layer.expect("d_model", d_model, default=None)
    layer.expect("pos_enc_at_attn", False, default=None)
    layer.expect("pos_enc_at_cross_attn_keys", True, default=None)
    layer.expect("pos_enc_at_cross_attn_queries", False, default=None)
    dropout = layer.number("dropout", 0.1)
    thetas = {
        _rope_attention(layer.section("self_attention"), d_model, d_model, dropout),
        _rope_attention(layer.section("cross_attention"), d_model, dim, dropout),
    }
    feedforward = layer.integer("dim_feedforward")
    layer.finish()
    if len(thetas) != 1:
        raise ValueError(f"{layer.path}: rope_theta must be the same in self and cross attention, got {sorted(thetas)}")
    return MemoryConfig(
        dim=dim,
        num_layers=num_layers,
        dim_feedforward=feedforward,
        rope_theta=thetas.pop(),
        dropout=dropout,
        num_maskmem=model.integer("num_maskmem", 7),
        fuser_layers=fuser_layers,
    )


def _rope_attention(attention: Section, d_model: int, kv_dim: int, dropout: float) -> float:
    attention.target("sam2.modeling.sam.transformer.RoPEAttention")
    attention.expect("embedding_dim", d_model, default=None)
    attention.expect("num_heads", 1, default=None)
    attention.expect("downsample_rate", 1, default=1)
    attention.expect("dropout", dropout, default=0.0)
    is_cross = kv_dim != d_model
    attention.expect("kv_in_dim", kv_dim if is_cross else None, default=None)
    attention.expect("rope_k_repeat", is_cross, default=False)
    attention.ignore("feat_sizes")  # rotary tables follow the size of the map they are applied to
    theta = attention.number("rope_theta", 10000.0)
    attention.finish()
    return theta


def _memory_encoder(encoder: Section, d_model: int) -> tuple[int, int]:
    encoder.target("sam2.modeling.memory_encoder.MemoryEncoder")
    dim = encoder.integer("out_dim")
    encoder.expect("in_dim", d_model, default=256)
    _position_encoding(encoder.section("position_encoding"), dim)
    downsampler, fuser = encoder.section("mask_downsampler"), encoder.section("fuser")
    encoder.finish()

    downsampler.target("sam2.modeling.memory_encoder.MaskDownSampler")
    downsampler.expect("embed_dim", d_model, default=256)
    for key, only, default in (("kernel_size", 3, 4), ("stride", 2, 4), ("padding", 1, 0), ("total_stride", 16, 16)):
        downsampler.expect(key, only, default=default)
    downsampler.finish()

    fuser.target("sam2.modeling.memory_encoder.Fuser")
    num_layers = fuser.integer("num_layers")
    block = fuser.section("layer")
    fuser.expect("dim", None, default=None)
    fuser.expect("input_projection", False, default=False)
    fuser.finish()

    block.target("sam2.modeling.memory_encoder.CXBlock")
    block.expect("dim", d_model, default=None)
    for key, only in (
        ("kernel_size", 7),
        ("padding", 3),
        ("drop_path", 0.0),
        ("layer_scale_init_value", 1e-6),
        ("use_dwconv", True),
    ):
        block.expect(key, only, default=only)
    block.finish()
    return dim, num_layers


def _behaviour(model: Section) -> Behaviour:
    """The flags that touch no weight, with the defaults of the official classes, not those of its YAML files."""
    stability = {}
    if "sam_mask_decoder_extra_args" in model:
        extra = model.section("sam_mask_decoder_extra_args")
        stability = {
            "dynamic_multimask_via_stability": extra.flag("dynamic_multimask_via_stability", False),
            "dynamic_multimask_stability_delta": extra.number("dynamic_multimask_stability_delta", 0.05),
            "dynamic_multimask_stability_thresh": extra.number("dynamic_multimask_stability_thresh", 0.98),
        }
        extra.finish()
    off_by_default = (
        "multimask_output_in_sam",
        "multimask_output_for_tracking",
        "use_multimask_token_for_obj_ptr",
        "binarize_mask_from_pts_for_mem_enc",
        "non_overlap_masks_for_mem_enc",
        "use_signed_tpos_enc_to_obj_ptrs",
        "only_obj_ptrs_in_the_past_for_eval",
        "soft_no_obj_ptr",
        "non_overlap_masks",
        "clear_non_cond_mem_around_input",
    )
    return Behaviour(
        **stability,
        **{key: model.flag(key, False) for key in off_by_default},
        multimask_min_pt_num=model.integer("multimask_min_pt_num", 1),
        multimask_max_pt_num=model.integer("multimask_max_pt_num", 1),
        sigmoid_scale_for_mem_enc=model.number("sigmoid_scale_for_mem_enc", 1.0),
        sigmoid_bias_for_mem_enc=model.number("sigmoid_bias_for_mem_enc", 0.0),
        max_cond_frames_in_attn=model.integer("max_cond_frames_in_attn", -1),
        memory_temporal_stride_for_eval=model.integer("memory_temporal_stride_for_eval", 1),
        max_obj_ptrs_in_encoder=model.integer("max_obj_ptrs_in_encoder", 16),
        add_tpos_enc_to_obj_ptrs=model.flag("add_tpos_enc_to_obj_ptrs", True),
        fill_hole_area=model.integer("fill_hole_area", 0),
        # Off officially, and users' corrections are lost with it: docs/compatibility.md
        add_all_frames_to_correct_as_cond=model.flag("add_all_frames_to_correct_as_cond", True),
        # No official flag: there it is always so.
        track_before_first_prompt=model.flag("track_before_first_prompt", False),
        # Nor here: there it is never so.
        second_look=model.flag("second_look", False),
        pool_recent_memory=model.flag("pool_recent_memory", False),
    )


def _fixed_flags(model: Section) -> None:
    """Flags at which every official checkpoint was trained; the other value asks for another network."""
    model.expect("backbone_stride", 16, default=16)
    for key in (
        "use_mask_input_as_output_without_sam",
        "directly_add_no_mem_embed",
        "use_high_res_features_in_sam",
        "iou_prediction_use_sigmoid",
        "use_obj_ptrs_in_encoder",
        "pred_obj_scores",
        "pred_obj_scores_mlp",
        "fixed_no_obj_ptr",
        "use_mlp_for_obj_ptr_proj",
    ):
        model.expect(key, True, default=False)
