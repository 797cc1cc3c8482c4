"""Small models: the official structure in a size that a test can run."""

import pytest
import torch

from sam2.modeling.build import build_model
from sam2.modeling.config import (
    DecoderConfig,
    EfficientNetLiteConfig,
    HieraConfig,
    MemoryConfig,
    ModelConfig,
)
from sam2.modeling.sam2_base import SAM2Base

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


@pytest.fixture(scope="session")
def small_model() -> SAM2Base:
    """Shared and therefore read-only: a test that changes a model builds its own with ``seeded``."""
    return seeded(small_config())


@pytest.fixture(scope="session")
def small_nano() -> SAM2Base:
    """The small ``nano``, likewise shared."""
    return seeded(small_nano_config())


@pytest.fixture
def pixels() -> torch.Tensor:
    """Two normalised pictures, [2, 3, 256, 256]."""
    return torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
