"""Our weights under the names of ``transformers``: what makes its SAM 2 an independent oracle.

Written from the two state dicts alone, name by name. Used by the tests of this folder and by
``benchmarks/image.py``; nothing in the package needs it.
"""

import re

import torch
from torch import Tensor, nn

from sam2.modeling.config import HieraConfig, ModelConfig

_ATTENTION = (r"\.out_proj\.", ".o_proj.")
_LAYER_NORM = (r"\.norm(\d)\.", r".layer_norm\1.")
# An MLP of three layers: first, middle, last; in this order none is renamed twice.
_MLP = [(r"\.layers\.0\.", ".proj_in."), (r"\.layers\.1\.", ".layers.0."), (r"\.layers\.2\.", ".proj_out.")]

# The first pattern that matches a name decides its prefix, then the rules of that part apply in order.
_PARTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        r"^image_encoder\.trunk\.",
        "vision_encoder.backbone.",
        [
            (r"patch_embed\.proj\.", "patch_embed.projection."),
            _LAYER_NORM,
            (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
            (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
        ],
    ),
    (r"^image_encoder\.neck\.", "vision_encoder.neck.", [(r"\.conv\.", ".")]),
    (
        r"^sam_prompt_encoder\.mask_downscaling\.",
        "prompt_encoder.mask_embed.",
        [
            (r"embed\.0\.", "embed.conv1."),
            (r"embed\.1\.", "embed.layer_norm1."),
            (r"embed\.3\.", "embed.conv2."),
            (r"embed\.4\.", "embed.layer_norm2."),
            (r"embed\.6\.", "embed.conv3."),
        ],
    ),
    (r"^sam_prompt_encoder\.", "prompt_encoder.", []),
    (
        r"^sam_mask_decoder\.transformer\.",
        "mask_decoder.transformer.",
        [
            _ATTENTION,
            (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
            _LAYER_NORM,
            (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
            (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
        ],
    ),
    (
        r"^sam_mask_decoder\.",
        "mask_decoder.",
        [
            (r"output_upscaling\.0\.", "upscale_conv1."),
            (r"output_upscaling\.1\.", "upscale_layer_norm."),
            (r"output_upscaling\.3\.", "upscale_conv2."),
            *_MLP,
        ],
    ),
    (
        r"^memory_attention\.",
        "memory_attention.",
        [_ATTENTION, _LAYER_NORM, (r"^memory_attention\.norm\.", "memory_attention.layer_norm.")],
    ),
    (
        r"^memory_encoder\.mask_downsampler\.encoder\.",
        "memory_encoder.mask_downsampler.",
        [
            *[(rf"sampler\.{3 * i}\.", f"sampler.layers.{i}.conv.") for i in range(4)],
            *[(rf"sampler\.{3 * i + 1}\.", f"sampler.layers.{i}.layer_norm.") for i in range(4)],
            (r"sampler\.12\.", "sampler.final_conv."),
        ],
    ),
    (
        r"^memory_encoder\.",
        "memory_encoder.",
        [
            (r"\.pix_feat_proj\.", ".feature_projection."),
            (r"\.fuser\.", ".memory_fuser."),
            (r"\.gamma$", ".scale"),
            (r"\.dwconv\.", ".depthwise_conv."),
            (r"\.norm\.", ".layer_norm."),
            (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
            (r"\.out_proj\.", ".projection."),
        ],
    ),
    (
        r"^obj_ptr_proj\.",
        "object_pointer_proj.",
        _MLP,
    ),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer.", []),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding", []),
    (r"^no_mem_embed$", "no_memory_embedding", []),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding", []),
    (r"^no_obj_ptr$", "no_object_pointer", []),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter", []),
    (r"^mask_downsample\.", "mask_downsample.", []),
]

_GAUSSIAN = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_POINT = "sam_prompt_encoder.point_embeddings."


def rename(name: str) -> str:
    """The name that ``transformers`` gives to our weight ``name``."""
    for pattern, prefix, rules in _PARTS:
        if re.match(pattern, name):
            renamed = re.sub(pattern, prefix, name)
            for old, new in rules:
                renamed = re.sub(old, new, renamed)
            return renamed
    raise KeyError(f"no rule for {name!r}")


def to_transformers(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A whole state dict of an official configuration, renamed (tensors are shared, not copied)."""
    renamed = {}
    for name, value in state_dict.items():
        if name == _GAUSSIAN:
            renamed["shared_image_embedding.positional_embedding"] = value
            renamed["prompt_encoder.shared_embedding.positional_embedding"] = value
        elif not name.startswith(_POINT):
            renamed[rename(name)] = value
    points = [state_dict[f"{_POINT}{label}.weight"] for label in range(4)]
    renamed["prompt_encoder.point_embed.weight"] = torch.cat(points)
    return renamed


def _vision_config(config: ModelConfig) -> dict:
    trunk = config.trunk
    if not isinstance(trunk, HieraConfig):
        raise TypeError(f"transformers has only the Hiera trunk, got {type(trunk).__name__}")
    side = config.image_size // 16
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": trunk.embed_dim,
        "num_attention_heads": trunk.num_heads,
        "image_size": [config.image_size, config.image_size],
        "window_positional_embedding_background_size": list(trunk.window_pos_embed_bkg_spatial_size),
        "num_query_pool_stages": trunk.q_pool,
        "blocks_per_stage": list(trunk.stages),
        "embed_dim_per_stage": list(trunk.channels),
        "num_attention_heads_per_stage": [trunk.num_heads * 2**i for i in range(len(trunk.stages))],
        "window_size_per_stage": list(trunk.window_spec),
        "global_attention_blocks": list(trunk.global_att_blocks),
    }
    return {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": list(config.backbone_channel_list),
        "backbone_feature_sizes": [[4 * side, 4 * side], [2 * side, 2 * side], [side, side]],
        "fpn_hidden_size": config.d_model,
        "fpn_top_down_levels": list(config.fpn_top_down_levels),
    }


def image_oracle(config: ModelConfig, state_dict: dict[str, Tensor], *, stability_fallback: bool = True) -> nn.Module:
    """``transformers.Sam2Model`` of ``config`` with our weights, in evaluation mode."""
    from transformers import Sam2Config, Sam2Model, Sam2VisionConfig

    oracle_config = Sam2Config(
        vision_config=Sam2VisionConfig(**_vision_config(config)),
        prompt_encoder_config={"image_size": config.image_size, "hidden_size": config.d_model},
        mask_decoder_config={"dynamic_multimask_via_stability": stability_fallback},
    )
    oracle = Sam2Model(oracle_config).eval()
    renamed = to_transformers(state_dict)
    oracle.load_state_dict({name: renamed[name] for name in oracle.state_dict()})
    return oracle


def video_oracle(config: ModelConfig, state_dict: dict[str, Tensor]) -> nn.Module:
    """``transformers.Sam2VideoModel`` of ``config`` with our weights: the memory parts and the object pointers."""
    from transformers import Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

    side = config.image_size // 16
    oracle_config = Sam2VideoConfig(
        image_size=config.image_size,
        vision_config=Sam2VisionConfig(**_vision_config(config)),
        prompt_encoder_config={"image_size": config.image_size, "hidden_size": config.d_model},
        enable_occlusion_spatial_embedding=config.no_obj_embed_spatial,
        enable_temporal_pos_encoding_for_object_pointers=config.proj_tpos_enc_in_obj_ptrs,
        memory_attention_rope_feat_sizes=[side, side],
    )
    oracle = Sam2VideoModel(oracle_config).eval()
    oracle.load_state_dict(to_transformers(state_dict))  # strict: every weight of ours has its place
    return oracle
