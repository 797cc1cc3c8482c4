"""The machine side of a training: devices, precision, the processes that train together."""

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
from sam2.modeling.sam2_base import SAM2Base
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
        log_with=_trackers(config, folder) or None,
        kwargs_handlers=[
            # What a step does not reach has no gradient: memory, in a step of stills. Buffers never change.
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
    fully_shard(objective)
    return objective


def without_sync(accelerator: "Accelerator", objective: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Gradients are averaged over processes with the last of the batches that a step accumulates."""
    if is_sharded(objective):
        getattr(objective, "set_requires_gradient_sync")(last)  # noqa: B009
        return nullcontext()
    return nullcontext() if last else accelerator.no_sync(objective)


def full_weights(objective: nn.Module, model: SAM2Base) -> dict[str, Tensor]:
    """The state dict of ``model``; where ``objective`` is sharded, put together on the main process, else empty."""
    if not is_sharded(objective):
        return dict(model.state_dict())
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state = get_model_state_dict(objective, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name.removeprefix("model."): value for name, value in state.items()}


def load_weights(objective: nn.Module, model: SAM2Base, weights: Mapping[str, Tensor]) -> None:
    """Copy what :func:`full_weights` gave on the main process; every process has it in ``weights``."""
    if not is_sharded(objective):
        model.load_state_dict(weights)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    named = {f"model.{name}": value for name, value in weights.items()}
    set_model_state_dict(objective, named, options=StateDictOptions(full_state_dict=True))


def full_optimizer_state(objective: nn.Module, optimizer: Any) -> dict[str, Any]:
    """The optimizer's moments and step counts; where they are sharded, put together on the main process."""
    if not is_sharded(objective):
        return {"state": optimizer.state_dict()["state"], "names": names_of(optimizer)}
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_optimizer_state_dict(objective, optimizer.optimizer, options=options))


def load_optimizer_state(objective: nn.Module, optimizer: Any, state: Mapping[str, Any]) -> None:
    """Take moments and step counts from ``state``; the groups keep their own rates and decays.

    Raises:
        ValueError: other parameters are trained now.
    """
    if is_sharded(objective):
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(objective, optimizer.optimizer, dict(state), options=options)
        return
    if state["names"] != names_of(optimizer):
        other = sorted(set(state["names"]) ^ set(names_of(optimizer)))
        raise ValueError(
            "the saved optimizer goes through other parameters, or in another order: "
            + (f"{', '.join(other[:3])} ..." if other else "their rates are grouped in another way")
        )
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(state["state"]), "param_groups": groups})


def names_of(optimizer: Any) -> list[str]:
    """The parameters of an optimizer of :func:`sam2.train.optim.build_optimizer`, in the order of its state."""
    return [name for group in optimizer.param_groups for name in group["names"]]


def is_sharded(objective: nn.Module) -> bool:
    """Whether :func:`shard` was called with it."""
    return hasattr(objective, "set_requires_gradient_sync")
