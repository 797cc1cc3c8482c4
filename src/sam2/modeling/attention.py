"""Scaled dot-product attention, by the route that is quickest where it runs."""

import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES_AT_ONCE = 512
LONG = 1024
"""Keys from which on two bfloat16 products a chunk of queries beat the fused kernel of CPUs."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for [B, heads, N, d] queries and [B, heads, M, d] keys and values.

    PyTorch's own kernel everywhere but in bfloat16 inference on CPUs with long sequences, where it reaches less than
    half of the machine's matrix throughput (benchmarks/README.md): there in chunks of queries, scores rounded to
    bfloat16 before the softmax.
    """
    if dropout == 0.0 and _chunks_pay(query, key, value):
        return _in_chunks(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


def _chunks_pay(query: Tensor, key: Tensor, value: Tensor) -> bool:
    # A graph that is traced or differentiated is better off with one operation.
    return (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.bfloat16
        and key.shape[-2] >= LONG
        and not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad))
        and not torch.compiler.is_compiling()
    )


def _in_chunks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query = query * query.shape[-1] ** -0.5
    transposed = key.transpose(-1, -2).contiguous()
    value = value.contiguous()
    result = query.new_empty(*query.shape[:-1], value.shape[-1])
    for start in range(0, query.shape[-2], QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        result[..., rows, :] = (query[..., rows, :] @ transposed).softmax(dim=-1) @ value
    return result
