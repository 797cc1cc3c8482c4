"""Several processes, one model: gradients are averaged once a step.

Started by ``python -m sam2.train.nano --processes 2``, or by anything that sets RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT, as torchrun does. On CPUs one single-threaded process a core beats one process with many threads by half:
the cores meet once a step and not in every operation.
"""

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> None:
    """Meet the other processes, if there are any."""
    if world_size() > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")


def leave() -> None:
    """Part from them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: Sequence[nn.Parameter], numbers: Sequence[float] = ()) -> list[float]:
    """Replace every gradient by its mean over processes, and return the means of ``numbers``.

    A parameter that a step did not reach counts as a gradient of zero. The numbers travel along with the gradients:
    clocks and wishes to stop, so that all processes agree on when a run ends.
    """
    if world_size() == 1:
        return list(numbers)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    pieces = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([pieces[0].new_tensor(list(numbers)), *(piece.reshape(-1) for piece in pieces)])
    dist.all_reduce(flat)
    flat /= world_size()
    means, *gradients = flat.split([len(numbers), *(piece.numel() for piece in pieces)])
    for piece, mean in zip(pieces, gradients, strict=True):
        piece.copy_(mean.view(piece.shape))
    return means.tolist()
