"""A ``MemoryContext`` as the token sequence that memory attention reads."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.position_encoding import PositionEmbeddingSine, sine_code_1d
from sam2.modeling.types import MemoryContext


@dataclass(frozen=True, slots=True)
class MemoryTokens:
    """Tokens [n, m, d] and their position code [n, m, d]: whole maps, pooled maps, pointers.

    Attributes:
        num_pooled_tokens: how many stand for a block of 2 x 2 cells each.
        num_pointer_tokens: how many, the last ones, have no place.
        mask: [1, 1, 1, m], true for tokens that are read; None reads all.
    """

    tokens: Tensor
    position: Tensor
    num_pooled_tokens: int
    num_pointer_tokens: int
    mask: Tensor | None = None


def assemble(
    context: MemoryContext,
    *,
    time_codes: Tensor,
    position_encoding: PositionEmbeddingSine,
    pointer_projection: nn.Module | None,
    pool_recent: bool = False,
) -> MemoryTokens:
    """Memories first, in the order given, then pointers, each cut into C / d tokens.

    Args:
        time_codes: ``maskmem_tpos_enc``, [num_maskmem, 1, 1, d].
        position_encoding: the memory encoder's, for d channels.
        pointer_projection: maps the C-channel sine code of a pointer's distance to d channels; None leaves pointers
            without a time code (SAM 2).
        pool_recent: memories of frames that were tracked, not prompted, come after the others, each token the mean of
            2 x 2 cells.
    """
    n, k, d, h, w = context.features.shape
    dtype = time_codes.dtype
    maps = context.features.to(dtype)
    place = position_encoding.table(h, w, maps.device).to(dtype)
    times = time_codes[torch.tensor(context.time_slots, device=maps.device, dtype=torch.long)].reshape(k, d)
    pooled = [at for at, slot in enumerate(context.time_slots) if pool_recent and slot != len(time_codes) - 1]
    whole = [at for at in range(k) if at not in pooled]
    if pooled:
        halved = F.avg_pool2d(maps[:, pooled].flatten(0, 1), 2).view(n, len(pooled), d, h // 2, w // 2)
        groups = [
            _map_tokens(maps[:, whole], place, times[whole]),
            _map_tokens(halved, F.avg_pool2d(place, 2), times[pooled]),
        ]
    else:
        groups = [_map_tokens(maps, place, times)]
    pointers = context.pointers.to(dtype)
    parts = pointers.shape[-1] // d
    pointer_tokens = pointers.reshape(n, -1, d)
    pointer_position = torch.zeros_like(pointer_tokens)
    if pointer_projection is not None and pointers.shape[1]:
        # A video of one frame has no scale: 1 where the official code divides by zero.
        distance = context.pointer_distances / max(context.max_pointers - 1, 1)
        code = pointer_projection(sine_code_1d(distance, pointers.shape[-1]).to(dtype))
        pointer_position = code.repeat_interleave(parts, dim=1)
    return MemoryTokens(
        torch.cat([*(tokens for tokens, _ in groups), pointer_tokens], dim=1),
        torch.cat([*(position for _, position in groups), pointer_position], dim=1),
        groups[1][0].shape[1] if pooled else 0,
        pointer_tokens.shape[1],
    )


def _map_tokens(maps: Tensor, place: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """``maps`` [n, k, d, h, w] as tokens [n, k * h * w, d], and their position code of the same shape.

    Each map repeats ``place`` [1, d, h, w], the code of its cells, and adds its own of ``times`` [k, d].
    """
    n, k, d, h, w = maps.shape
    position = place.flatten(2).transpose(1, 2) + times[:, None]
    tokens = maps.permute(0, 1, 3, 4, 2).reshape(n, k * h * w, d)
    return tokens, position.reshape(1, k * h * w, d).expand(n, -1, -1)
