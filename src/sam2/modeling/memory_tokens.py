"""A ``MemoryContext`` as the token sequence that memory attention reads."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam2.modeling.position_encoding import PositionEmbeddingSine, sine_code_1d
from sam2.modeling.types import MemoryContext


@dataclass(frozen=True, slots=True)
class MemoryTokens:
    """Tokens [n, m, d] and their position code [n, m, d]; the last ``num_pointer_tokens`` have no place.

    ``mask`` [1, 1, 1, m] is true for tokens that are read; None reads all.
    """

    tokens: Tensor
    position: Tensor
    num_pointer_tokens: int
    mask: Tensor | None = None


def assemble(
    context: MemoryContext,
    *,
    time_codes: Tensor,
    position_encoding: PositionEmbeddingSine,
    pointer_projection: nn.Module | None,
) -> MemoryTokens:
    """Memories first, in the order given, then pointers, each cut into C / d tokens.

    Args:
        time_codes: ``maskmem_tpos_enc``, [num_maskmem, 1, 1, d].
        position_encoding: the memory encoder's, for d channels.
        pointer_projection: maps the C-channel sine code of a pointer's distance to d channels; None leaves pointers
            without a time code (SAM 2).
    """
    n, k, d, h, w = context.features.shape
    dtype = time_codes.dtype
    spatial = context.features.to(dtype).permute(0, 1, 3, 4, 2).reshape(n, k * h * w, d)
    place = position_encoding.table(h, w, spatial.device).to(dtype).flatten(2).transpose(1, 2)
    slots = torch.tensor(context.time_slots, device=spatial.device, dtype=torch.long)
    # [1, cells, d] + [k, 1, d]: each memory frame repeats the map's code and adds its own time code.
    spatial_position = (place + time_codes[slots].reshape(k, 1, d)).reshape(1, k * h * w, d).expand(n, -1, -1)
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
        torch.cat((spatial, pointer_tokens), dim=1),
        torch.cat((spatial_position, pointer_position), dim=1),
        pointer_tokens.shape[1],
    )
