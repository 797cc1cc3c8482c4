"""Small models: the official structure in a size that a test can run."""

import torch
from torch import Tensor

from sam2.modeling.build import build_model
from sam2.modeling.config import (
    DecoderConfig,
    EfficientNetLiteConfig,
    HieraConfig,
    MemoryConfig,
    ModelConfig,
)
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import MaskPrediction, MemoryContext, PromptBatch

SMALL_TRUNK = HieraConfig(
    embed_dim=16,
    num_heads=1,
    stages=(1, 2, 3, 1),
    global_att_blocks=(5,),
    window_pos_embed_bkg_spatial_size=(7, 7),
)
SMALL_MEMORY = MemoryConfig(dim=8, num_layers=2, dim_feedforward=64)


def small_config(**changes: object) -> ModelConfig:
    """A SAM 2.1 of some 300 thousand weights at 256 px."""
    values: dict = {
        "name": "small",
        "version": "custom",
        "trunk": SMALL_TRUNK,
        "image_size": 256,
        "d_model": 32,
        "decoder": DecoderConfig(mlp_dim=64),
        "memory": SMALL_MEMORY,
    }
    return ModelConfig(**{**values, **changes})


def small_nano_config(**changes: object) -> ModelConfig:
    """What sets ``nano`` apart, small: convolutional trunk, drawn prompts, fusion, smooth upscaling."""
    decoder = DecoderConfig(mlp_dim=64, prompt_maps=True, fusion_layers=2, smooth_upscaling=True)
    trunk = EfficientNetLiteConfig(width=0.5, depth=0.5)
    return small_config(trunk=trunk, decoder=decoder, fpn_top_down_levels=(0, 1, 2, 3), **changes)


def seeded(config: ModelConfig, seed: int = 0, **options: object) -> SAM2Base:
    """A model with reproducible random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return build_model(config, **options).eval()


def clicks(objects: int, size: int = 256) -> PromptBatch:
    g = torch.Generator().manual_seed(2)
    points = size * torch.rand(objects, 2, 2, generator=g)
    return PromptBatch(points, torch.tensor([[1, 0]] * objects))


def track_two_frames(model: SAM2Base, pixels: Tensor, objects: int = 3) -> tuple[MaskPrediction, MaskPrediction]:
    """Prompt on the first picture, follow to the second: every verb once."""
    first, second = model.encode_image(pixels[:1]), model.encode_image(pixels[1:])
    embed = model.condition_on_nothing(first.embed)
    prompted = model.select_mask(
        model.decode_masks(embed, first.high_res, clicks(objects, model.image_size), multimask=False)
    )
    memory = model.encode_memory(first, prompted, prompted=True)
    context = MemoryContext(
        memory.features[:, None], (6,), memory.pointer[:, None], torch.ones(objects, 1), max_pointers=16
    )
    fused = model.fuse_memory(second, context)
    tracked = model.select_mask(model.decode_masks(fused, second.high_res, PromptBatch.empty(objects), multimask=True))
    return prompted, tracked
