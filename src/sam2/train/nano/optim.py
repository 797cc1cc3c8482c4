"""What is trained at which rate, and the running average that is kept."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sam2.train.nano.config import TrainConfig

IMAGE_PARTS = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
"""Names of the parameters that a still image reaches; the rest waits for video."""


def trained_parameters(model: nn.Module, *, video: bool) -> dict[str, nn.Parameter]:
    """Parameters to be trained, by name: those that images reach, or with ``video`` all. The others are frozen."""
    chosen = {}
    for name, parameter in model.named_parameters():
        wanted = video or name.startswith(IMAGE_PARTS)
        parameter.requires_grad_(wanted)
        if wanted:
            chosen[name] = parameter
    return chosen


def reached_parameters(parameters: dict[str, nn.Parameter], *, clip: bool, trunk: bool) -> list[nn.Parameter]:
    """Those of ``parameters`` that a step on stills, or on clips (with or without the image encoder), trains."""
    if clip:
        return [value for name, value in parameters.items() if trunk or not name.startswith("image_encoder.")]
    return [value for name, value in parameters.items() if name.startswith(IMAGE_PARTS)]


def build_optimizer(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with a group per rate. Each group's ``base_lr`` is what the schedule scales.

    Tensors of the trunk have rates in proportion to the root mean square of their weights (rounded to a power of
    two, to keep groups few), those of memory share one, the rest another. Biases, norms and the like do not decay.
    """
    groups: dict[tuple[float, float], list[str]] = {}
    for name, parameter in parameters.items():
        rate = config.learning_rate if name.startswith(IMAGE_PARTS) else config.memory_rate
        if name.startswith("image_encoder.trunk."):
            low, high = config.trunk_limits
            scale = float(parameter.detach().pow(2).mean().sqrt())
            rate = min(max(config.trunk_rate * 2.0 ** round(math.log2(max(scale, 1e-9))), low), high)
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(name)
    return _adamw(
        parameters,
        [
            {"names": names, "lr": rate, "base_lr": rate, "weight_decay": decay}
            for (rate, decay), names in groups.items()
        ],
    )


def restore_optimizer(parameters: dict[str, nn.Parameter], state: dict[str, Any]) -> torch.optim.AdamW:
    """The optimizer whose ``state_dict()`` is ``state``, groups and rates included.

    The groups follow from the weights that training started from, which are gone: they are taken from ``state``. Raises
    ``ValueError`` where they do not hold these ``parameters``.
    """
    groups = [{"names": group.get("names", [])} for group in state["param_groups"]]
    if {name for group in groups for name in group["names"]} != set(parameters):
        raise ValueError("the saved optimizer holds other parameters than the model")
    optimizer = _adamw(parameters, groups)
    optimizer.load_state_dict(state)
    return optimizer


def _adamw(parameters: dict[str, nn.Parameter], groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    members = [{**group, "params": [parameters[name] for name in group["names"]]} for group in groups]
    return torch.optim.AdamW(members, betas=(0.9, 0.99))


def rate_at(progress: float, config: TrainConfig) -> float:
    """The factor on all rates at ``progress`` (0..1): a linear rise, then half a cosine."""
    if progress < config.warm_up:
        return max(progress / config.warm_up, 1e-3)
    part = min((progress - config.warm_up) / (1 - config.warm_up), 1.0)
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * part))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's base rate."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


class WeightAverage:
    """An exponential moving average of parameters, quick to follow at first."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor]) -> None:
        """Move towards ``parameters`` (in the order given at first)."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for value, parameter in zip(self.values.values(), parameters, strict=True):
            value.lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def swap(self, parameters: dict[str, nn.Parameter]) -> None:
        """Exchange the averages and the parameters; twice restores both."""
        for name, parameter in parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)
