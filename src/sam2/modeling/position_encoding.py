"""Position codes: sine (2-D and 1-D), random Fourier features, axial rotary in real arithmetic.

Every table that depends only on a size is computed once per size and device. The caches hold ordinary tensors even
when filled inside ``torch.inference_mode()``, so that the same process may train afterwards.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

_CACHED_SIZES = 32


def _plain_tensors() -> torch.inference_mode:
    return torch.inference_mode(mode=False)


@lru_cache(maxsize=_CACHED_SIZES)
def sine_table(
    height: int, width: int, *, num_pos_feats: int, temperature: float, scale: float | None, device: torch.device
) -> Tensor:
    """The 2-D sine code, [1, num_pos_feats, height, width] float32; ``scale=None`` leaves positions unnormalised."""
    with _plain_tensors():
        return _make_sine_table((height, width), num_pos_feats, temperature, scale, device)


def _make_sine_table(
    size: tuple[int, int], num_pos_feats: int, temperature: float, scale: float | None, device: torch.device
) -> Tensor:
    height, width = size
    half = num_pos_feats // 2
    y = torch.arange(1, height + 1, dtype=torch.float32, device=device)
    x = torch.arange(1, width + 1, dtype=torch.float32, device=device)
    if scale is not None:
        y = y / (y[-1] + 1e-6) * scale
        x = x / (x[-1] + 1e-6) * scale
    i = torch.arange(half, dtype=torch.float32, device=device)
    wavelength = temperature ** (2 * torch.div(i, 2, rounding_mode="floor") / half)

    def interleaved(t: Tensor) -> Tensor:
        angle = t[:, None] / wavelength
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    code_y = interleaved(y)[:, None, :].expand(height, width, half)
    code_x = interleaved(x)[None, :, :].expand(height, width, half)
    return torch.cat((code_y, code_x), dim=2).permute(2, 0, 1)[None].contiguous()


@lru_cache(maxsize=_CACHED_SIZES)
def rotary_table(
    height: int, width: int, *, dim: int, theta: float, device: torch.device, spacing: int = 1
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the axial rotary code, each [height * width, dim / 2] float32.

    The first ``dim / 4`` angles turn with x, the rest with y (RoFormer, arXiv 2104.09864, in its axial 2-D form). With
    a ``spacing`` the cells are the middles of blocks of that side, in a map that much larger.
    """
    with _plain_tensors():
        return _make_rotary_table((height, width, spacing), dim, theta, device)


def _make_rotary_table(
    size: tuple[int, int, int], dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    height, width, spacing = size
    step = torch.arange(0, dim, 4, dtype=torch.float32, device=device)[: dim // 4]
    frequency = 1.0 / theta ** (step / dim)
    cell = torch.arange(height * width, dtype=torch.float32, device=device)
    x, y = (spacing * at + (spacing - 1) / 2 for at in (cell % width, torch.div(cell, width, rounding_mode="floor")))
    angle_x, angle_y = torch.outer(x, frequency), torch.outer(y, frequency)
    angle = torch.cat((angle_x, angle_y), dim=1)
    return angle.cos(), angle.sin()


def square_rotary_table(
    side: int, dim: int, theta: float, device: torch.device, *, spacing: int = 1
) -> tuple[Tensor, Tensor]:
    """:func:`rotary_table` of a square map; compilers, which cannot look into a cache, get the computation."""
    if torch.compiler.is_compiling():
        return _make_rotary_table((side, side, spacing), dim, theta, device)
    return rotary_table(side, side, dim=dim, theta=theta, device=device, spacing=spacing)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of channels of ``x`` [..., n, dim] by the angles of ``table``, computed in float32.

    Channel i is turned with channel ``dim / 2 + i``: contiguous halves are turned at the speed of memory, adjacent
    channels (RoFormer's pairs) ten times slower on CPUs. ``n`` may be a multiple of the table's rows: the table then
    repeats (one repeat per memory frame).
    """
    cos, sin = table
    repeats = x.float().reshape(*x.shape[:-2], -1, len(cos), x.shape[-1])
    first, second = repeats.chunk(2, dim=-1)
    turned = (first * cos).addcmul(second, sin, value=-1), (first * sin).addcmul(second, cos)
    return torch.cat(turned, dim=-1).view(x.shape).to(x.dtype)


def sine_code_1d(positions: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """Sine code of scalar ``positions`` [...] as [..., dim]: all sines, then all cosines (not interleaved)."""
    half = dim // 2
    i = torch.arange(half, dtype=torch.float32, device=positions.device)
    wavelength = temperature ** (2 * torch.div(i, 2, rounding_mode="floor") / half)
    angle = positions.float()[..., None] / wavelength
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class PositionEmbeddingSine(nn.Module):
    """The sine code of a map's cells; rows first, then columns (DETR's, arXiv 2005.12872)."""

    def __init__(
        self, num_pos_feats: int, temperature: float = 10000, normalize: bool = True, scale: float | None = None
    ) -> None:
        super().__init__()
        if num_pos_feats % 4:
            raise ValueError(f"num_pos_feats must be a multiple of 4, got {num_pos_feats}")
        if scale is not None and not normalize:
            raise ValueError(f"scale={scale} needs normalize=True")
        self.num_pos_feats = num_pos_feats
        self.temperature = float(temperature)
        self.scale = (2 * math.pi if scale is None else scale) if normalize else None

    def table(self, height: int, width: int, device: torch.device) -> Tensor:
        """[1, num_pos_feats, height, width] float32, shared between calls: do not write into it."""
        if torch.compiler.is_compiling():  # compilers cannot look into a cache
            return _make_sine_table((height, width), self.num_pos_feats, self.temperature, self.scale, device)
        return sine_table(
            height,
            width,
            num_pos_feats=self.num_pos_feats,
            temperature=self.temperature,
            scale=self.scale,
            device=device,
        )

    def forward(self, x: Tensor) -> Tensor:
        """The code for a [B, C, H, W] map, [B, num_pos_feats, H, W]."""
        return self.table(x.shape[-2], x.shape[-1], x.device).expand(x.shape[0], -1, -1, -1)


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of image coordinates (arXiv 2006.10739), the code of SAM's sparse prompts.

    Computed in float32 whatever the precision around it: with 8 bits of mantissa a coordinate is four pixels off.
    """

    def __init__(self, num_pos_feats: int = 64, scale: float | None = None) -> None:
        super().__init__()
        if scale is None or scale <= 0:
            scale = 1.0
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", scale * torch.randn(2, num_pos_feats))

    def _encode(self, unit: Tensor) -> Tensor:
        """Code of coordinates [..., 2] in 0..1."""
        basis = self.positional_encoding_gaussian_matrix.float()
        centred = 2 * unit.float() - 1
        # Two products and a sum rather than a matrix product, which an outer autocast would run in bfloat16.
        angle = 2 * math.pi * (centred[..., 0:1] * basis[0] + centred[..., 1:2] * basis[1])
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The code of the cell centres of a map of ``size`` (h, w): [2 * num_pos_feats, h, w] float32."""
        height, width = size
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
        x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
        grid = torch.stack((x[None, :].expand(height, width), y[:, None].expand(height, width)), dim=-1)
        return self._encode(grid).permute(2, 0, 1)

    def forward_with_coords(self, coords_input: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The code [..., 2 * num_pos_feats] of pixels [..., 2] (x, y) in an image of ``image_size`` (h, w)."""
        size = torch.tensor([image_size[1], image_size[0]], dtype=torch.float32, device=coords_input.device)
        return self._encode(coords_input.float() / size)
