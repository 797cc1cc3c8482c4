"""The machine side of a training: devices, precision, the processes that train together."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

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

    device = torch.device("cpu") if config.device == "cpu" else default_device()
    accelerator = Accelerator(
        cpu=device.type == "cpu",  # or processes on a machine without accelerators would not look for each other
        mixed_precision=choose_precision(config, device),
        gradient_accumulation_steps=config.accumulate,
        log_with=_trackers(config, folder) or None,
        kwargs_handlers=[
            # What a step does not reach has no gradient: memory, in a step of stills.
            DistributedDataParallelKwargs(find_unused_parameters=True),
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


def channels_last(model: nn.Module) -> None:
    """Lay weights of convolutions out as images are, in place, so that gradients are too.

    Other parameters of four dimensions are none of images: their gradients come as they were.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def prepare(accelerator: "Accelerator", objective: nn.Module, *, fsdp: bool) -> nn.Module:
    """The objective on its device, in DistributedDataParallel where there are several processes, or sharded."""
    if not fsdp:
        return accelerator.prepare_model(objective)
    if accelerator.num_processes == 1:
        raise ValueError("fsdp shards over processes, and there is one: start several with 'accelerate launch'")
    return shard(objective.to(accelerator.device))


def shard(objective: nn.Module) -> nn.Module:
    """Fully shard blocks of the trunk, layers of memory attention, and the rest together (FSDP 2), in place."""
    try:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError as error:
        raise ImportError(f"fsdp needs PyTorch 2.6 or later, this is {torch.__version__}") from error

    for module in objective.modules():
        if isinstance(module, (MultiScaleBlock, MemoryAttentionLayer)):
            fully_shard(module)
        if isinstance(module, MultiScaleBlock):
            register_fsdp_forward_method(module, "on_windows")  # which the trunk calls in place of forward
    fully_shard(objective)
    return objective


def without_sync(accelerator: "Accelerator", objective: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Gradients are averaged over processes with the last of the batches that a step accumulates."""
    if is_sharded(objective):
        getattr(objective, "set_requires_gradient_sync")(last)  # noqa: B009
        return nullcontext()
    return nullcontext() if last else accelerator.no_sync(objective)


def clip_gradients(accelerator: "Accelerator", objective: nn.Module, greatest: float | None) -> Tensor:
    """Scale all gradients together down to the norm ``greatest``; the norm that they had, a scalar."""
    norm = accelerator.clip_grad_norm_(objective.parameters(), math.inf if greatest is None else greatest)
    assert isinstance(norm, Tensor)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[attr-defined]


def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of ``model``, copied to the CPU and put together from shards: all processes have to ask."""
    return {name: _whole(value) for name, value in model.state_dict().items()}


@torch.no_grad()
def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy what :func:`full_weights` gave into ``model``; ``ValueError`` where names differ."""
    own = model.state_dict()
    if own.keys() != weights.keys():
        raise ValueError(f"the saved weights have other names: {', '.join(sorted(own.keys() ^ weights.keys())[:5])}")
    for name, value in own.items():
        value.copy_(_like(weights[name], value))


def full_optimizer_state(optimizer: Any) -> dict[str, dict[str, Tensor]]:
    """Moments and step counts by the names of parameters, on the CPU and whole, as :func:`full_weights`."""
    members = _members(optimizer)
    return {
        name: {key: _whole(value) for key, value in optimizer.state[parameter].items()}
        for name, parameter in members.items()
        if parameter in optimizer.state
    }


def load_optimizer_state(optimizer: Any, state: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Take moments and step counts from ``state``; groups keep their own rates and decays.

    Raises:
        ValueError: ``state`` has parameters that are not trained now.
    """
    members = _members(optimizer)
    strange = [name for name in state if name not in members]
    if strange:
        raise ValueError(f"the saved optimizer trains what is not trained now: {', '.join(strange[:5])}")
    for name, values in state.items():
        parameter = members[name]
        optimizer.state[parameter] = {
            key: value.clone() if key == "step" else _like(value, parameter).clone() for key, value in values.items()
        }


def _members(optimizer: Any) -> dict[str, nn.Parameter]:
    """The parameters of an optimizer of :func:`sam2.train.optim.build_optimizer` by name."""
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }


def _whole(value: Tensor) -> Tensor:
    """A copy on the CPU, put together from shards if it has any."""
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value  # type: ignore[attr-defined]
    return whole.detach().to("cpu", copy=True)


def _like(value: Tensor, own: Tensor) -> Tensor:
    """``value`` on the device of ``own``, and sharded as it is."""
    value = value.to(own.device)
    if not hasattr(own, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, own.device_mesh, own.placements)  # type: ignore[attr-defined]


def is_sharded(objective: nn.Module) -> bool:
    """Whether :func:`shard` was called with it."""
    return hasattr(objective, "set_requires_gradient_sync")
