"""How parts of a model run while it is trained: without a graph, or computed again in the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sam2.modeling.backbones.efficientnet_lite import MBConv
from sam2.modeling.backbones.hieradet import MultiScaleBlock
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.sam2_base import SAM2Base


@contextmanager
def running(model: SAM2Base, *, frozen_encoder: bool, activation_checkpointing: bool) -> Iterator[None]:
    """Within, calls of the model's parts keep less for the backward pass, which may come after.

    Args:
        frozen_encoder: trunk and neck keep nothing (the decoder's two convolutions on their maps are not among them).
        activation_checkpointing: blocks of the trunk, layers of memory attention, the memory encoder and the mask
            decoder keep their inputs alone.
    """
    with ExitStack() as stack:
        if frozen_encoder:
            stack.enter_context(_calling(model.image_encoder, "pyramid", without_graph))
        if activation_checkpointing:
            for module, name in _checkpointed(model):
                stack.enter_context(_calling(module, name, recomputed))
        yield


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which keeps its arguments only and is called once more in the backward pass."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        return checkpoint(function, *args, use_reentrant=False, **kwargs)

    return call


def without_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose results are constants."""
    return torch.no_grad()(function)


def _checkpointed(model: SAM2Base) -> Iterator[tuple[nn.Module, str]]:
    for module in model.image_encoder.trunk.modules():
        if isinstance(module, MultiScaleBlock):
            # The trunk calls these two, so that maps stay in windows between blocks.
            yield module, "on_windows"
            yield module, "_padded"
        elif isinstance(module, MBConv):
            yield module, "forward"
    for module in model.memory_attention.modules():
        if isinstance(module, MemoryAttentionLayer):
            yield module, "forward"
    yield model.memory_encoder, "forward"
    yield model.sam_mask_decoder, "predict_masks"


@contextmanager
def _calling(module: nn.Module, name: str, how: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Let ``module`` call its method ``name`` through ``how``."""
    setattr(module, name, how(getattr(module, name)))
    try:
        yield
    finally:
        delattr(module, name)
