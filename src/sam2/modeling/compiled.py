"""The networks of a model compiled with fixed shapes, so that a video compiles each of them once, not once a frame.

What grows with a video is padded: memory to its full length, with a mask, and objects to powers of two. Where compiling
fails, the model goes on without, after one warning.
"""

import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.memory_tokens import MemoryTokens
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import MemoryContext

REASON = 300
"""Characters of a compiler's message that are worth showing."""

Backend = str | Callable[..., Any]

VARIANTS = 64
"""Compiled forms of one network before PyTorch gives up: sizes of batches, precisions and models of a process."""

PROMPTED = 2
"""Memories of prompted frames are padded to a multiple of this where the others are pooled."""

POINTERS = 16
"""Pointers are padded to a multiple of this, which is the most that the official behaviour reads of tracked frames."""


class CompiledNetworks(SAM2Base):
    """A model whose networks are compiled when they are first needed in inference.

    Attributes:
        compile_backend: as of ``torch.compile``.
        compile_mode: the same, e.g. ``"max-autotune"``; results are copies, never buffers of a CUDA graph.
    """

    compile_backend: Backend = "inductor"
    compile_mode: str | None = None
    _compile_failed = False

    def network(self, part: Callable[..., Any], *args: Any) -> Any:
        """Call a part through its compiled form, batches padded."""
        if not self._compiles() or (part == self.memory_attention.on_maps and not self._compiles_memory()):
            return part(*args)
        try:
            rows = max(len(x) for x in _tensors(args) if x.ndim >= 3)
            batch = 1 << (rows - 1).bit_length()
            owner, function = _owner_and_function(part)
            program = _program(function, self.compile_backend, self.compile_mode)
            padded = _map_tensors(args, lambda x: _repeat_last(x, batch) if x.ndim >= 3 and len(x) == rows else x)
            return _map_tensors(program(owner, *padded), lambda x: x[:rows].clone())
        except Exception as error:  # compilers fail in ways that cannot be listed
            result = part(*args)  # raises what is wrong with the arguments, if that is the cause
            self._compile_failed = True
            reason = " ".join(str(error).split())[:REASON]
            warnings.warn(
                f"compiling the networks failed, going on without: {type(error).__name__}: {reason}", stacklevel=2
            )
            return result

    def memory_tokens(self, context: MemoryContext) -> MemoryTokens:
        """The past, padded to whole multiples of a full memory."""
        memory = super().memory_tokens(context)
        if not (self._compiles() and self._compiles_memory()):
            return memory
        cells = context.features.shape[-2] * context.features.shape[-1]
        pointers = POINTERS * (self.hidden_dim // self.mem_dim)
        if self.behaviour.pool_recent_memory:
            return _padded(memory, (PROMPTED * cells, (self.num_maskmem - 1) * cells // 4, pointers))
        return _padded(memory, (self.num_maskmem * cells, 0, pointers))

    def _compiles(self) -> bool:
        return not (self._compile_failed or self.training or torch.is_grad_enabled())

    def _compiles_memory(self) -> bool:
        # In bfloat16 on CPUs attention in chunks, which is not compiled, is quicker than any compiled form.
        return not (self.device.type == "cpu" and self.compute_dtype == torch.bfloat16)


@cache
def _program(function: Callable[..., Any], backend: Backend, mode: str | None) -> Callable[..., Any]:
    """``torch.compile`` of a function that takes its object first, shared by all models."""
    import torch._dynamo as dynamo  # takes seconds: not before something is compiled

    dynamo.config.cache_size_limit = max(dynamo.config.cache_size_limit, VARIANTS)
    compile_: Callable[..., Any] = torch.compile  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return compile_(function, backend=backend, mode=mode, dynamic=False)


def _owner_and_function(part: Callable[..., Any]) -> tuple[Any, Callable[..., Any]]:
    if isinstance(part, nn.Module):
        return part, type(part).forward
    method: Any = part
    return method.__self__, method.__func__


def _padded(memory: MemoryTokens, steps: tuple[int, int, int]) -> MemoryTokens:
    """Tokens of each kind (whole, pooled, pointers), followed by some that are not read, to a multiple of its step."""
    last = memory.num_pooled_tokens, memory.num_pointer_tokens
    lengths = [memory.tokens.shape[1] - sum(last), *last]
    padded = [_up_to(length, step) for length, step in zip(lengths, steps, strict=True)]

    def fill(x: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for length, more in zip(lengths, padded, strict=True):
            parts.append(F.pad(x[:, :length], (0, 0, 0, more - length)))
            x = x[:, length:]
        return torch.cat(parts, dim=1)

    read = torch.cat([torch.arange(more) < length for length, more in zip(lengths, padded, strict=True)])
    mask = read.to(memory.tokens.device)[None, None, None]
    return MemoryTokens(fill(memory.tokens), fill(memory.position), padded[1], padded[2], mask)


def _up_to(length: int, step: int) -> int:
    return step * max(1, -(-length // step)) if step else length


def _repeat_last(x: Tensor, rows: int) -> Tensor:
    if len(x) == rows:
        return x
    if x.stride(0) == 0:  # one row that all share, and that stays shared: strides are part of what is compiled for
        return x[:1].expand(rows, *x.shape[1:])
    return torch.cat((x, x[-1:].expand(rows - len(x), *x.shape[1:])))


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(x: Tensor) -> Tensor:
        found.append(x)
        return x

    _map_tensors(value, note)
    return found


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with its tensors changed, through tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        items = [_map_tensors(item, change) for item in cast("list[Any]", value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: _map_tensors(item, change) for key, item in cast("dict[str, Any]", value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _map_tensors(getattr(value, f.name), change) for f in fields(value)})
    return value
