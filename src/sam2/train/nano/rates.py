"""Which parameters are trained, and at which rates."""

import math

from torch import nn

from sam2.train.nano.config import NanoConfig
from sam2.train.optim import TRUNK, OptimConfig

IMAGE_PARTS = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
"""Names of the parameters that a still image reaches; the rest waits for video."""


def optim_config(model: nn.Module, config: NanoConfig) -> OptimConfig:
    """AdamW for ``model`` as it is at the start.

    Tensors of the trunk have rates in proportion to the root mean square of their weights (rounded to a power of
    two), those of memory share one, the rest another. Where no step is on clips, what images do not reach is frozen.
    """
    trunk: dict[str, float] = {}
    memory: list[str] = []
    for name, parameter in model.named_parameters():
        if name.startswith(TRUNK):
            scale = float(parameter.detach().pow(2).mean().sqrt())
            rate = config.trunk_rate * 2.0 ** round(math.log2(max(scale, 1e-9)))
            trunk[name] = min(max(rate, config.trunk_limits[0]), config.trunk_limits[1])
        elif not name.startswith(IMAGE_PARTS):
            memory.append(name)
    tracks = config.clip_share > 0
    return OptimConfig(
        learning_rate=config.learning_rate,
        encoder_rate=None,
        rates={**trunk, **(dict.fromkeys(memory, config.memory_rate) if tracks else {})},
        layer_decay=1.0,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.99),
        final_rate=config.final_rate,
        warm_up=config.warm_up,
        clip=config.clip,
        ema=config.ema,
        frozen=() if tracks else tuple(memory),
    )
