"""Several processes, one model: gradients are averaged once a step.

Started by ``torchrun --nproc-per-node 2 -m sam2.train ...``. On CPUs one single-threaded process a core beats one
process with many threads by half: the cores meet once a step and not in every operation.
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


def average_gradients(parameters: Sequence[nn.Parameter], elapsed: float) -> float:
    """Replace every gradient by its mean over processes, and return the mean of ``elapsed``.

    A parameter that a step did not reach counts as a gradient of zero. Clocks travel along, so that all processes
    agree on how much of a budget of minutes is used.
    """
    if world_size() == 1:
        return elapsed
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    pieces = [parameter.grad for parameter in parameters if parameter.grad is not None]
    clock = pieces[0].new_tensor([elapsed])
    flat = torch.cat([clock, *(piece.reshape(-1) for piece in pieces)])
    dist.all_reduce(flat)
    flat /= world_size()
    for piece, mean in zip(pieces, flat[1:].split([piece.numel() for piece in pieces]), strict=True):
        piece.copy_(mean.view(piece.shape))
    return float(flat[0])
