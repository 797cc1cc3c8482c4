"""A small seeded predictor and a picture for the tests of the image route."""

import numpy as np
import pytest
import torch

from sam2.modeling.build import build_model
from sam2.modeling.config import DecoderConfig, EfficientNetLiteConfig, HieraConfig, MemoryConfig, ModelConfig
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor

_MEMORY = MemoryConfig(dim=8, num_layers=1, dim_feedforward=64)
_HIERA = HieraConfig(
    embed_dim=16, stages=(1, 2, 3, 1), global_att_blocks=(5,), window_pos_embed_bkg_spatial_size=(7, 7)
)
IMAGE_CONFIGS = {
    "hiera": ModelConfig(
        name="small hiera",
        version="custom",
        trunk=_HIERA,
        image_size=256,
        d_model=64,
        decoder=DecoderConfig(mlp_dim=64),
        memory=_MEMORY,
    ),
    "convolutional": ModelConfig(
        name="small nano",
        version="nano",
        trunk=EfficientNetLiteConfig(width=0.5, depth=0.5),
        image_size=256,
        d_model=64,
        fpn_top_down_levels=(0, 1, 2, 3),
        decoder=DecoderConfig(mlp_dim=64, prompt_maps=True, fusion_layers=1, smooth_upscaling=True),
        memory=_MEMORY,
    ),
}


def make_image_model(kind: str = "hiera", seed: int = 0) -> SAM2Base:
    """Random weights whose masks are neither empty nor full."""
    torch.manual_seed(seed)
    model = build_model(IMAGE_CONFIGS[kind]).eval()
    for mlp in model.sam_mask_decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight.data.mul_(8)
    return model


@pytest.fixture(scope="session", params=["hiera", "convolutional"])
def image_model(request: pytest.FixtureRequest) -> SAM2Base:
    """Shared and therefore read-only; each kind of trunk in turn."""
    return make_image_model(request.param)


@pytest.fixture(scope="session")
def hiera_model() -> SAM2Base:
    """Shared and therefore read-only; for what does not depend on the trunk."""
    return make_image_model()


@pytest.fixture
def predictor(image_model: SAM2Base) -> SAM2ImagePredictor:
    """A predictor without an image."""
    return SAM2ImagePredictor(image_model)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A disc on a gradient, uint8 [120, 160, 3]."""
    yy, xx = np.mgrid[:120, :160]
    image = np.stack([xx, yy, 255 - xx], -1).astype(np.uint8)
    image[(xx - 80) ** 2 + (yy - 60) ** 2 < 30**2] = (220, 40, 40)
    return image
