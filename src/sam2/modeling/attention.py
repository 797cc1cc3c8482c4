"""Scaled dot-product attention, by the route that is quickest where it runs."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

LONG = 1024
"""Keys from which on two bfloat16 products a chunk of queries beat the fused kernel of CPUs."""

QUERIES_AT_ONCE = 256
SCORES_AT_ONCE = 4 << 20
"""Queries in a chunk: a multiple of the first, more than one as long as scores take no more bytes than the second."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for [B, heads, N, d] queries, [B, heads, M, d] keys and [B, heads, M, e] values.

    A single row of queries serves all rows of keys. PyTorch's own kernel everywhere but in bfloat16 inference on CPUs
    with long sequences, where it reaches less than half of the machine's matrix throughput (benchmarks/README.md):
    there row by row in chunks of queries, scores rounded to bfloat16 before the softmax. Keys where ``mask``
    [1, 1, 1, M] is false are not read; one of floats, of the dtype of ``query``, is added to the scores.
    """
    adds = mask is None or mask.is_floating_point()
    if dropout == 0.0 and adds and chunks_pay(query, key, value):
        return _in_chunks(query, key, value, None if mask is None else mask.flatten())
    query = query.expand(len(key), -1, -1, -1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


def chunks_pay(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether :func:`attend` is quicker in chunks than by PyTorch's own kernel; widths may be of any projection."""
    # A graph that is traced or differentiated is better off with one operation.
    return (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and key.shape[-2] >= LONG
        and not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad))
        and not torch.compiler.is_compiling()
    )


def _in_chunks(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    batch, heads, queries = len(key), *query.shape[1:3]
    query = (query * query.shape[-1] ** -0.5).expand(batch, -1, -1, -1)
    result = query.new_empty(batch, heads, queries, value.shape[-1])
    multiple = SCORES_AT_ONCE // (QUERIES_AT_ONCE * key.shape[-2] * key.element_size())
    step = QUERIES_AT_ONCE * max(1, multiple)
    for place in product(range(batch), range(heads)):
        q, k, v = query[place], key[place].contiguous(), value[place].contiguous()
        for start in range(0, queries, step):
            rows = slice(start, start + step)
            # As a linear layer with the keys as its weights: no transposed copy.
            result[place][rows] = F.linear(q[rows], k, bias).softmax(dim=-1) @ v
    return result
