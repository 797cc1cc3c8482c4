"""Adapters of low rank: a model is fine-tuned by a few numbers, and saved as if it had been trained whole."""

import difflib
import fnmatch
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

TARGETS = (
    "image_encoder.trunk.blocks.*.attn.qkv",
    "image_encoder.trunk.blocks.*.attn.proj",
    "image_encoder.trunk.stages.[34].*.project",
    "memory_attention.*_proj",
    "sam_mask_decoder.transformer.*_proj",
)
"""Attention of a Hiera trunk; of nano's, pointwise convolutions at stride 16; attention of memory and mask decoder."""

_BASE = ".parametrizations.weight.original"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Which weights get adapters, and of which size (Hu et al., "LoRA", 2021).

    Patterns are those of file names (``*``, ``?``, ``[...]``), compared with whole names. One that fits nothing is an
    error, but for the defaults, which are of several trunks.

    Attributes:
        rank: of what is added to a weight; less for a weight that has fewer rows or columns.
        alpha: what is added is scaled by ``alpha / rank``.
        dropout: share of a weight's inputs that the adapter does not see in a call, the same for the whole batch.
        targets: patterns of linear layers and convolutions, by their names as modules.
        also_train: patterns of parameters that stay trainable themselves.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    also_train: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha must be a number above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not self.targets:
            raise ValueError("targets must name a layer at least")


class LowRank(nn.Module):
    """A weight and the product of two narrow matrices, which is zero at first.

    Args:
        weight: [out, in, ...], of a linear layer or a convolution; the adapter is where it is.
        config: rank, scale and dropout.
    """

    def __init__(self, weight: Tensor, config: LoraConfig) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(config.rank, rows, columns)
        self.scale, self.dropout = config.alpha / config.rank, config.dropout
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` and what is learnt; in the weight's own precision, whatever surrounds it."""
        seen = self.down
        if self.training and self.dropout:
            seen = seen * nn.functional.dropout(torch.ones_like(seen[0]), self.dropout)
        return weight + self._product(seen).view_as(weight)

    def learnt(self, weight: Tensor) -> Tensor:
        """What is added to ``weight`` outside of training, in its shape."""
        return self._product(self.down).view_as(weight)

    def _product(self, down: Tensor) -> Tensor:
        with torch.autocast(down.device.type, enabled=False):
            return self.scale * (self.up @ down)


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Give the layers that ``config.targets`` fits adapters, in place, and freeze all else but ``config.also_train``.

    The model computes what it did before. Names of the adapted weights in its state dict change:
    :func:`merged_state_dict` gives the plain ones.

    Raises:
        ValueError: the model has adapters, or a pattern fits nothing (the message names what is like it).
    """
    if next(_adapted(model), None) is not None:
        raise ValueError("model has adapters already: merge them first")
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    chosen = dict.fromkeys(name for pattern in config.targets for name in _fitting(layers, pattern, "targets"))
    if not chosen:
        raise ValueError(f"targets fit no linear layer or convolution of the model: {', '.join(config.targets)}")
    parameters = dict(model.named_parameters())
    kept = {name for pattern in config.also_train for name in _fitting(parameters, pattern, "also_train")}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in kept)
    for name in chosen:
        layer = layers[name]
        adapter = LowRank(layer.weight, config).train(layer.training)
        parametrize.register_parametrization(layer, "weight", adapter, unsafe=True)


@torch.no_grad()
def merge_lora(model: nn.Module) -> None:
    """Add what the adapters learnt to the weights, in place, and take the adapters away.

    The state dict has its plain names again. What was frozen stays so. A model without adapters is left as it is.
    """
    for _, layer, adapter in list(_adapted(model)):
        weight = layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
        weight.add_(adapter.learnt(weight))
        # parametrize.remove_parametrizations takes the property off the layer's class, which copies of the model share.
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
        layer.register_parameter("weight", weight)


@torch.no_grad()
def merged_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The state dict that the model would have after :func:`merge_lora`, on the CPU; the model stays as it is."""
    adapters = {f"{name}{_BASE}": adapter for name, _, adapter in _adapted(model)}
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name in adapters:
            whole = value + adapters[name].learnt(value)
            state[f"{name[: -len(_BASE)]}.weight"] = whole.detach().cpu()
        elif ".parametrizations.weight.0." not in name:
            state[name] = value.detach().cpu().clone()
    return state


def lora_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and values of the adapters' parameters, in the model's order."""
    for name, _, adapter in _adapted(model):
        for part, parameter in adapter.named_parameters():
            yield f"{name}.parametrizations.weight.0.{part}", parameter


def _adapted(model: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d, LowRank]]:
    """Layers that have an adapter: name, layer, adapter."""
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and parametrize.is_parametrized(layer, "weight"):
            adapter = layer.get_submodule("parametrizations.weight.0")
            if isinstance(adapter, LowRank):
                yield name, layer, adapter


def _fitting(names: Mapping[str, object], pattern: str, option: str) -> list[str]:
    """Those of ``names`` that ``pattern`` fits; ``ValueError`` where a pattern of the user fits none."""
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if found or pattern in TARGETS:
        return found
    like = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or list(names)[:3]
    what = "layer" if option == "targets" else "parameter"
    raise ValueError(f"{option}: no {what} is named {pattern!r}; there are {', '.join(like)} ...")
