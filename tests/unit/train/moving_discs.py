"""Small models and clips of moving discs, for tests of the recipe."""

from dataclasses import replace

import numpy as np
import torch
from painted import COLOURS

from sam2.modeling.build import build_model
from sam2.modeling.config import DecoderConfig, EfficientNetLiteConfig, HieraConfig, MemoryConfig, ModelConfig
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.data.clip import ClipSample

SIZE = 256
SMALL = ModelConfig(
    name="small",
    version="custom",
    trunk=HieraConfig(
        embed_dim=16, stages=(1, 2, 3, 1), global_att_blocks=(5,), window_pos_embed_bkg_spatial_size=(7, 7)
    ),
    image_size=SIZE,
    d_model=32,
    decoder=DecoderConfig(mlp_dim=64),
    memory=MemoryConfig(dim=8, num_layers=2, dim_feedforward=64, dropout=0.0),
)
SMALL_NANO = replace(
    SMALL,
    name="small nano",
    trunk=EfficientNetLiteConfig(width=0.5, depth=0.5),
    decoder=DecoderConfig(mlp_dim=64, prompt_maps=True, fusion_layers=2, smooth_upscaling=True),
    fpn_top_down_levels=(0, 1, 2, 3),
)
CONFIGS = {"small": SMALL, "nano": SMALL_NANO}


def model(kind: str = "small", *, dropout: float = 0.0) -> SAM2Base:
    """Random weights, always the same, in training mode. Dropout would be drawn anew for every batch."""
    config = CONFIGS[kind]
    torch.manual_seed(0)
    return build_model(replace(config, memory=replace(config.memory, dropout=dropout))).train()


def sample(objects: int, *, frames: int = 3, seed: int = 0, gone: tuple[int, ...] = (), size: int = SIZE) -> ClipSample:
    """Discs that move over noise; objects in ``gone`` are nowhere."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (frames, size, size, 3)).astype(np.uint8)
    masks = np.zeros((frames, objects, size, size), bool)
    rows, columns = np.mgrid[:size, :size] * (256 / size)
    for k in range(objects):
        x, y, radius = rng.uniform(80, 150), rng.uniform(60, 190), rng.uniform(16, 40)
        for t in range(frames if k not in gone else 0):
            masks[t, k] = (columns - x - 5 * t) ** 2 + (rows - y) ** 2 < radius**2
            images[t, masks[t, k]] = COLOURS[k]
    return ClipSample(images, masks, tuple(range(objects)), f"sample {seed}", seed)
