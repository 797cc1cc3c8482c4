"""The machine side of a training: devices, precision, the processes that train together, memory that can be saved."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sam2.loading.devices import has_native_bf16
from sam2.modeling.backbones.hieradet import MultiScaleBlock
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.train.run import RunConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

LONGEST_WAIT = timedelta(hours=12)
"""How long processes wait for the one that validates."""


@contextmanager
def open_accelerator(config: RunConfig, folder: Path) -> Iterator["Accelerator"]:
    """Meet the other processes, if a launcher started several; part from them at the end.

    Raises:
        ImportError: without the extra ``train``.
        ValueError: a precision that the device cannot do.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState, GradientState
    except ImportError as error:
        raise ImportError("training needs accelerate: pip install 'sam2[train]'") from error

    on_cpu = config.device == "cpu"
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=choose_precision(config, torch.device("cpu") if on_cpu else default_device()),
        gradient_accumulation_steps=config.accumulate,
        log_with=_trackers(config, folder),
        kwargs_handlers=[
            # What a step does not reach has no gradient: memory in a step of stills, say.
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
    try:
        yield accelerator
    finally:
        accelerator.end_training()
        # Accelerate keeps its choices for the life of the process; the next training makes its own.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def default_device() -> torch.device:
    """The accelerator that this process will get, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("xpu") if hasattr(torch, "xpu") and torch.xpu.is_available() else torch.device("cpu")


def choose_precision(config: RunConfig, device: torch.device) -> str:
    """ "no", "bf16" or "fp16". ``ValueError`` for "fp16" without CUDA, whose gradients need a scaler."""
    if config.precision == "auto":
        return "bf16" if has_native_bf16(device) else "no"
    if config.precision == "fp16" and device.type != "cuda":
        raise ValueError(f"precision 'fp16' needs CUDA, this is {device.type}: take 'auto', 'no' or 'bf16'")
    return config.precision


def _trackers(config: RunConfig, folder: Path) -> list[Any]:
    from accelerate.tracking import TensorBoardTracker, get_available_trackers

    known = [str(name) for name in get_available_trackers()]
    trackers: list[Any] = []
    for name in config.trackers:
        if name == "tensorboard":
            try:
                import tensorboard  # noqa: F401  # pyright: ignore[reportUnusedImport]
            except ImportError as error:
                raise ImportError("the tracker needs tensorboard: pip install 'sam2[train]'") from error
            trackers.append(TensorBoardTracker("tensorboard", folder))
        elif name in known:
            trackers.append(name)
        else:
            raise ValueError(f"trackers: {name!r} is not installed or not known; there are {', '.join(known)}")
    return trackers


def prepare(accelerator: "Accelerator", objective: nn.Module, *, fsdp: bool) -> nn.Module:
    """The objective on its device, in DistributedDataParallel where there are several processes, or sharded."""
    if not fsdp:
        return accelerator.prepare_model(objective)
    if accelerator.num_processes == 1:
        raise ValueError("fsdp shards over processes, and there is one: start several with 'accelerate launch'")
    return shard(objective.to(accelerator.device))


def shard(objective: nn.Module) -> nn.Module:
    """Fully shard blocks of the trunk, layers of memory attention, and the rest together (FSDP 2), in place."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # in 2.6 and later

    for module in objective.modules():
        if isinstance(module, (MultiScaleBlock, MemoryAttentionLayer)):
            fully_shard(module)
        if isinstance(module, MultiScaleBlock):
            register_fsdp_forward_method(module, "on_windows")  # which the trunk calls in place of forward
    return fully_shard(objective)


def without_sync(accelerator: "Accelerator", objective: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Gradients are averaged over processes with the last of the batches that a step accumulates."""
    set_sync = getattr(objective, "set_requires_gradient_sync", None)
    if set_sync is not None:  # FSDP
        set_sync(last)
        return nullcontext()
    return nullcontext() if last else accelerator.no_sync(objective)


def save_activations(model: nn.Module) -> None:
    """Keep what goes into each block of the trunk and each layer of memory attention, and compute it again to go back.

    In place, without a change to any name.
    """
    for module in model.modules():
        if isinstance(module, MultiScaleBlock):
            module.on_windows = _recomputed(module.on_windows)
            module._padded = _recomputed(module._padded)
        elif isinstance(module, MemoryAttentionLayer):
            module.forward = _recomputed(module.forward)


def _recomputed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        return checkpoint(function, *args, use_reentrant=False, **kwargs)

    return run
