"""What is trained at which rate, how rates change, and the running average of weights that is kept."""

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

Schedule = Literal["cosine", "linear", "constant"]

ENCODER = "image_encoder."
TRUNK = "image_encoder.trunk."
_BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """AdamW, its rates and what they apply to. The defaults are the official fine-tuning recipe's.

    Patterns are those of file names (``*``, ``?``, ``[...]``) and are compared with whole names of parameters:
    ``"image_encoder.*"``, ``"*.norm1.*"``. One that fits none is an error.

    Attributes:
        learning_rate: of everything but the image encoder.
        encoder_rate: of the image encoder (trunk and neck); None: ``learning_rate``.
        rates: rates of parameters by pattern, which go before the two above. The last pattern that fits counts.
        layer_decay: a block of Hiera has its rate multiplied by this once for itself and once for every block after
            it, the patch embedding once more than the first block; position embeddings keep theirs. 1 is off. It
            does nothing to other trunks.
        weight_decay: of everything but biases and the weights of ``torch.nn.LayerNorm``, which have none.
        betas: AdamW's.
        schedule: how rates go from where warm-up ends to ``final_rate``: half a cosine, a line, or not at all.
        final_rate: what is left of rates at the end, as a share.
        warm_up: share of all steps in which rates rise from zero. Officially there is none.
        clip: greatest norm of all gradients together; None: as they are.
        ema: decay of the averaged weights that are validated and saved; None: the weights themselves are.
        frozen: patterns of what is not trained.
    """

    learning_rate: float = 5e-6
    encoder_rate: float | None = 3e-6
    rates: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 0.9
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "cosine"
    final_rate: float = 0.1
    warm_up: float = 0.0
    clip: float | None = 0.1
    ema: float | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rates = {"learning_rate": self.learning_rate, "encoder_rate": self.encoder_rate, **self.rates}
        for name, rate in rates.items():
            if rate is not None and not (math.isfinite(rate) and rate >= 0):
                raise ValueError(f"{name} must be a number of at least 0, got {rate}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {self.betas}")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise ValueError(f"schedule must be 'cosine', 'linear' or 'constant', got {self.schedule!r}")
        if not 0 <= self.final_rate <= 1:
            raise ValueError(f"final_rate must be within 0 to 1, got {self.final_rate}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be at least 0 and below 1, got {self.warm_up}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, or null, got {self.clip}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be above 0 and below 1, or null, got {self.ema}")


def freeze(model: nn.Module, config: OptimConfig) -> None:
    """Parameters that ``config.frozen`` fits stop asking for gradients; what is frozen already stays so.

    Raises:
        ValueError: a pattern fits no parameter (the message names parameters like it), or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    chosen = {name for pattern in config.frozen for name in fitting(parameters, pattern, option="frozen")}
    for name in chosen:
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(f"nothing is left to train: frozen is {list(config.frozen)}")


def fitting(names: Iterable[str], pattern: str, *, option: str) -> list[str]:
    """Those of ``names`` that ``pattern`` fits; ``ValueError`` where there is none, with names that are like it."""
    names = list(names)
    found = fnmatch.filter(names, pattern)
    if found:
        return found
    stems = sorted({".".join(name.split(".")[:depth]) for name in names for depth in range(1, 6)})
    like = difflib.get_close_matches(pattern.rstrip("*."), stems, n=3, cutoff=0.5)
    like = like or sorted({name.split(".")[0] for name in names})
    shown = ", ".join(f"{name}.*" if any(n.startswith(f"{name}.") for n in names) else name for name in like)
    raise ValueError(f"{option}: no parameter is named {pattern!r}; there are {shown}")


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the parameters of ``model`` that ask for gradients.

    Each group has, beside AdamW's keys, "name" (in words), "names" (its parameters, in the model's order) and
    "base_lr", which :func:`set_rates` scales. Rates of layers follow the official ``layer_decay_param_modifier``.

    Raises:
        ValueError: a pattern of ``config.rates`` fits nothing, or nothing asks for gradients.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if not parameters:
        raise ValueError("no parameter of the model asks for gradients")
    rates, parts = _rates(model, parameters, config)
    members: dict[tuple[str, float, float], list[str]] = {}
    undecayed = _undecayed(model)
    for name in parameters:
        decay = 0.0 if name in undecayed else config.weight_decay
        members.setdefault((parts[name], rates[name], decay), []).append(name)
    groups = [
        {
            "name": part if decay else f"{part}, no decay",
            "names": names,
            "params": [parameters[name] for name in names],
            "lr": rate,
            "base_lr": rate,
            "weight_decay": decay,
        }
        for (part, rate, decay), names in members.items()
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def rate_at(step: int, total: int, config: OptimConfig) -> float:
    """The factor on all rates in step ``step`` of ``total``, counted from 0: warm-up, then the schedule."""
    progress = min(step / total, 1.0)
    if progress < config.warm_up:
        return min((step + 1) / (config.warm_up * total), 1.0)
    if config.schedule == "constant":
        return 1.0
    part = (progress - config.warm_up) / (1 - config.warm_up)
    left = 0.5 * (1 + math.cos(math.pi * part)) if config.schedule == "cosine" else 1 - part
    return config.final_rate + (1 - config.final_rate) * left


def set_rates(optimizer: Any, step: int, total: int, config: OptimConfig) -> None:
    """Give every group of an optimizer of :func:`build_optimizer` the rate it has in step ``step`` of ``total``."""
    factor = rate_at(step, total, config)
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


class WeightAverage:
    """An exponential moving average of the weights that are trained; quick to follow at first.

    Args:
        model: its parameters that ask for gradients are followed, where they are and in float32. Sharded ones are
            averaged shard by shard.
        decay: what is kept of the average in an update; less in the first updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._values = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._parameters.items():
            self._values[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages and the weights; twice restores both."""
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._values[name])
            self._values[name].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The averages and the number of updates. Of sharded weights every process has to ask."""
        return {"updates": self.updates, "values": {name: _whole(value) for name, value in self._values.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; ``ValueError`` where other parameters are followed."""
        if set(state["values"]) != set(self._values):
            other = sorted(set(state["values"]) ^ set(self._values))
            raise ValueError(f"the saved averages are of other parameters: {', '.join(other[:3])} ...")
        self.updates = int(state["updates"])
        for name, value in self._values.items():
            value.copy_(_like(state["values"][name], value))


def _rates(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], config: OptimConfig
) -> tuple[dict[str, float], dict[str, str]]:
    """The rate of every parameter, and in words the part of the model that has it."""
    named = [name for name, _ in model.named_parameters()]
    layers = _Layers(named, config.layer_decay)
    encoder_rate = config.learning_rate if config.encoder_rate is None else config.encoder_rate
    rates, parts = {}, {}
    for name in parameters:
        rates[name], parts[name] = config.learning_rate, "decoder and memory"
        if name.startswith(ENCODER):
            factor, part = layers.of(name)
            rates[name], parts[name] = encoder_rate * factor, part
    for pattern, rate in config.rates.items():
        for name in fitting(named, pattern, option="rates"):
            if name in parameters:
                rates[name], parts[name] = rate, pattern
    return rates, parts


class _Layers:
    """Factors of layers of a Hiera trunk, the deepest nearest to 1."""

    def __init__(self, names: Sequence[str], decay: float) -> None:
        is_hiera = any(name.startswith(f"{TRUNK}patch_embed.") for name in names)
        numbers = [int(match[1]) for match in _blocks(names)]
        self.decay, self.count = decay, max(numbers, default=-1) + 1 if is_hiera else 0

    def of(self, name: str) -> tuple[float, str]:
        """The factor of a parameter of the image encoder, and its part in words."""
        match = _BLOCK.search(name) if name.startswith(TRUNK) else None
        if not self.count or not name.startswith(TRUNK) or "pos_embed" in name:
            return 1.0, "image encoder"
        if match is None and "patch_embed" not in name:
            return 1.0, "image encoder"
        layer = 0 if match is None else int(match[1]) + 1
        part = "patch embedding" if match is None else f"trunk block {match[1]}"
        return self.decay ** (self.count + 1 - layer), part


def _blocks(names: Iterable[str]) -> Iterator[re.Match[str]]:
    for name in names:
        if name.startswith(TRUNK) and (match := _BLOCK.search(name)):
            yield match


def _undecayed(model: nn.Module) -> set[str]:
    """Parameters without weight decay, as officially: biases, and all of ``torch.nn.LayerNorm``.

    Norms over channels (``LayerNorm2d``) and scales of layers do decay.
    """
    norms = (name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm))
    scales = {f"{name}.weight" if name else "weight" for name in norms}
    return scales | {name for name, _ in model.named_parameters() if "bias" in name}


def _whole(value: Tensor) -> Tensor:
    """A tensor, put together from its shards if it has any, on the CPU."""
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value  # type: ignore[attr-defined]
    return whole.detach().cpu().clone()


def _like(value: Tensor, own: Tensor) -> Tensor:
    """``value`` as shards where ``own`` is sharded."""
    if not hasattr(own, "full_tensor"):
        return value.to(own.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)  # type: ignore[attr-defined]
