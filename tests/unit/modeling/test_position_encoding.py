"""Position codes equal their textbook formulas; tables are computed once."""

import math

import pytest
import torch
from torch import Tensor

from sam2.modeling import position_encoding
from sam2.modeling.position_encoding import (
    PositionEmbeddingRandom,
    PositionEmbeddingSine,
    rotary_table,
    rotate,
    sine_code_1d,
    sine_table,
)

CPU = torch.device("cpu")


def complex_rotation(x: Tensor, side: int, theta: float = 10000.0) -> Tensor:
    """Axial rotary code the usual way: complex numbers on the unit circle, x first, then y."""
    dim = x.shape[-1]
    frequency = 1.0 / theta ** (torch.arange(0, dim, 4)[: dim // 4].double() / dim)
    cell = torch.arange(side * side)
    angle = torch.cat([torch.outer(cell % side, frequency), torch.outer(cell // side, frequency)], dim=1)
    circle = torch.polar(torch.ones_like(angle), angle).repeat(x.shape[-2] // (side * side), 1)
    first, second = x.double().chunk(2, dim=-1)
    turned = torch.complex(first, second) * circle
    return torch.cat((turned.real, turned.imag), dim=-1).float()


@pytest.mark.parametrize("side", [4, 16, 64])
@pytest.mark.parametrize("repeats", [1, 3])
def test_real_rotation_equals_the_complex_one(side: int, repeats: int) -> None:
    x = torch.randn(2, 1, repeats * side * side, 64)

    turned = rotate(x, rotary_table(side, side, dim=64, theta=10000.0, device=CPU))

    torch.testing.assert_close(turned, complex_rotation(x, side), atol=1e-5, rtol=0)


def test_rotation_keeps_lengths_and_dtype() -> None:
    x = torch.randn(1, 1, 16, 32, dtype=torch.bfloat16)

    turned = rotate(x, rotary_table(4, 4, dim=32, theta=10000.0, device=CPU))

    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float().norm(dim=-1), x.float().norm(dim=-1), atol=0.05, rtol=0.02)


def test_rotation_depends_on_relative_position_only() -> None:
    """The point of a rotary code: the product of two turned vectors depends on how far apart they are."""
    side, q, k = 8, torch.randn(32), torch.randn(32)
    turn = rotary_table(side, side, dim=32, theta=10000.0, device=CPU)
    everywhere_q = rotate(q.expand(1, side * side, 32), turn)[0].view(side, side, 32)
    everywhere_k = rotate(k.expand(1, side * side, 32), turn)[0].view(side, side, 32)

    products = [(everywhere_q[y, x] * everywhere_k[y + 2, x + 3]).sum() for y in range(6) for x in range(5)]

    torch.testing.assert_close(torch.stack(products), products[0].expand(30), atol=1e-4, rtol=1e-4)


def test_sine_code_is_rows_then_columns() -> None:
    height, width, features = 3, 5, 8

    code = PositionEmbeddingSine(features)(torch.zeros(2, 1, height, width))

    assert code.shape == (2, features, height, width)
    half = features // 2
    for y in range(height):
        for x in range(width):
            for axis, (place, size) in enumerate(((y, height), (x, width))):
                angle = (place + 1) / (size + 1e-6) * 2 * math.pi
                for i in range(half):
                    turn = angle / 10000 ** (2 * (i // 2) / half)
                    expected = math.sin(turn) if i % 2 == 0 else math.cos(turn)
                    assert code[0, axis * half + i, y, x].item() == pytest.approx(expected, abs=1e-5)


def test_sine_code_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        PositionEmbeddingSine(6)
    with pytest.raises(ValueError, match="normalize=True"):
        PositionEmbeddingSine(8, normalize=False, scale=1.0)


def test_one_dimensional_sine_code_is_not_interleaved() -> None:
    code = sine_code_1d(torch.tensor([[0.5, -0.25]]), dim=8)

    assert code.shape == (1, 2, 8)
    expected = [0.5 / 10000 ** (2 * (i // 2) / 4) for i in range(4)]
    torch.testing.assert_close(code[0, 0], torch.tensor([*map(math.sin, expected), *map(math.cos, expected)]))


def test_random_code_of_a_cell_is_the_code_of_its_centre() -> None:
    code = PositionEmbeddingRandom(16)
    grid = code((4, 8))
    centre = torch.tensor([[[5.5, 2.5]]]) * 10  # cell (2, 5) of a 4 x 8 grid over an image of 40 x 80 pixels

    torch.testing.assert_close(code.forward_with_coords(centre, (40, 80))[0, 0], grid[:, 2, 5], atol=1e-5, rtol=0)


def test_random_code_keeps_its_precision_in_bfloat16() -> None:
    code = PositionEmbeddingRandom(16)
    corners = torch.tensor([[[1003.0, 7.0]]])
    expected = code.forward_with_coords(corners, (1024, 1024))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = code.forward_with_coords(corners, (1024, 1024))

    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected)


def test_tables_are_computed_once_per_size() -> None:
    sine, height = PositionEmbeddingSine(8), 12
    before = sine_table.cache_info().misses

    first = sine.table(height, 12, CPU)
    again = sine.table(height, 12, CPU)
    other = sine.table(height + 1, 12, CPU)

    assert first is again
    assert other is not first
    assert sine_table.cache_info().misses - before == 2


def test_tables_made_in_inference_mode_can_be_trained_with() -> None:
    position_encoding.sine_table.cache_clear()
    position_encoding.rotary_table.cache_clear()
    with torch.inference_mode():
        table = PositionEmbeddingSine(8).table(6, 6, CPU)
        turn = rotary_table(6, 6, dim=8, theta=10000.0, device=CPU)
    weight = torch.ones(8, 6, 6, requires_grad=True)
    x = torch.randn(1, 36, 8, requires_grad=True)

    ((table[0] * weight).sum() + rotate(x, turn).sum()).backward()

    assert weight.grad is not None
    assert x.grad is not None
