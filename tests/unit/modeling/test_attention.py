"""Attention: the chunked route of bfloat16 on CPUs against a float64 reading of the definition."""

import pytest
import torch

from sam2.modeling.attention import LONG, QUERIES_AT_ONCE, attend


def by_definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    query, key, value = (x.double() for x in (query, key, value))
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1) @ value


def tokens(number: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(1, 2, number, 24, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("queries", [1, 7, QUERIES_AT_ONCE + 1])
@pytest.mark.parametrize("keys", [3, LONG, LONG + 5])
def test_equals_the_definition(dtype: torch.dtype, tolerance: float, queries: int, keys: int) -> None:
    query, key, value = tokens(queries, dtype, 0), tokens(keys, dtype, 1), tokens(keys, dtype, 2)
    got = attend(query, key, value)
    assert got.dtype == dtype
    assert got.shape == query.shape
    assert (got.double() - by_definition(query, key, value)).abs().max() < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("keys", [3, LONG + 5])
def test_values_may_be_narrower_and_queries_shared(dtype: torch.dtype, tolerance: float, keys: int) -> None:
    query = tokens(QUERIES_AT_ONCE + 1, dtype, 0)
    key, value = tokens(keys, dtype, 1).expand(3, -1, -1, -1), torch.cat([tokens(keys, dtype, 2 + i) for i in range(3)])

    got = attend(query, key, value[..., :8])

    assert got.shape == (3, 2, QUERIES_AT_ONCE + 1, 8)
    assert (got.double() - by_definition(query, key, value[..., :8])).abs().max() < tolerance


def test_gradients_flow_through_long_bfloat16_sequences() -> None:
    query, key, value = (tokens(LONG, torch.bfloat16, seed).requires_grad_() for seed in range(3))
    attend(query, key, value).float().square().sum().backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() and x.grad.any() for x in (query, key, value))
