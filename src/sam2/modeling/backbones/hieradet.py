"""Hiera, the trunk of SAM 2: a hierarchical vision transformer (arXiv 2306.00989) with windowed attention.

Called by :class:`sam2.modeling.backbones.image_encoder.ImageEncoder`. Maps are B H W C in here: everything but the
patch embedding is a linear layer over channels.

A block computes in windows from its first norm to its MLP whenever the window divides the map, and Hiera regroups the
map only where two neighbouring blocks disagree. Officially every block partitions and un-partitions; on two cores
that was a sixth of the encoder's time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.attention import attend
from sam2.modeling.config import HieraConfig
from sam2.modeling.layers import MLP, DropPath

Q_STRIDE = (2, 2)


def partition(x: Tensor, window: int) -> Tensor:
    """Cut a [B, H, W, C] map into windows, [B * (H/window) * (W/window), window, window, C]."""
    b, h, w, c = x.shape
    grid = x.view(b, h // window, window, w // window, window, c)
    return grid.transpose(2, 3).reshape(-1, window, window, c)


def unpartition(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo :func:`partition`: back to [B, H, W, C] for ``size`` (H, W)."""
    window, c = windows.shape[1], windows.shape[3]
    h, w = size
    grid = windows.view(-1, h // window, w // window, window, window, c)
    return grid.transpose(2, 3).reshape(-1, h, w, c)


def max_pool_2x2(x: Tensor) -> Tensor:
    """2 x 2 max pooling of a [B, H, W, C] map (even sizes) that stays in the layout.

    Element-wise maxima run along the channels; ``amax`` over two inner dimensions takes ten to thirty times as long.
    """
    b, h, w, c = x.shape
    cells = x.view(b, h // 2, 2, w // 2, 2, c)
    rows = torch.maximum(cells[:, :, 0], cells[:, :, 1])
    return torch.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


class PatchEmbed(nn.Module):
    """Overlapping 7 x 7 patches at stride 4: [B, 3, S, S] -> [B, S/4, S/4, C]."""

    def __init__(self, embed_dim: int, in_chans: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=7, stride=4, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)


class MultiScaleAttention(nn.Module):
    """Self-attention over the cells of each [B, H, W, C] map, with optional 2 x 2 max pooling of the queries."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, q_pool: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.dim_out = dim_out
        self.num_heads = num_heads
        self.q_pool = q_pool
        self.qkv = nn.Linear(dim, dim_out * 3)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.q_pool:
            query = max_pool_2x2(query)
        size = query.shape[1:3]
        attended = attend(self._heads(query), self._heads(key), self._heads(value))
        return self.proj(attended.transpose(1, 2).reshape(len(x), *size, self.dim_out))

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1, self.num_heads, self.dim_out // self.num_heads).transpose(1, 2)


class MultiScaleBlock(nn.Module):
    """Pre-norm transformer block; ``window_size`` 0 attends globally, ``q_stride`` halves the map."""

    def __init__(
        self,
        dim: int,
        dim_out: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        q_stride: tuple[int, int] | None = None,
        window_size: int = 0,
    ) -> None:
        super().__init__()
        if q_stride not in (None, Q_STRIDE):
            raise ValueError(f"q_stride must be {Q_STRIDE} or None, got {q_stride}")
        self.dim = dim
        self.dim_out = dim_out
        self.window_size = window_size
        self.q_stride = q_stride
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiScaleAttention(dim, dim_out, num_heads, q_pool=q_stride is not None)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim_out, eps=1e-6)
        self.mlp = MLP(dim_out, int(dim_out * mlp_ratio), dim_out, num_layers=2, activation=nn.GELU)
        if dim != dim_out:
            self.proj = nn.Linear(dim, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H', W', C'] for a whole map."""
        size = (x.shape[1], x.shape[2])
        if self.window_size == 0:
            return self.on_windows(x)
        if not self.divides(size):
            return self._padded(x)
        done = self.on_windows(partition(x, self.window_size))
        return unpartition(done, self.output_size(size))

    def divides(self, size: tuple[int, int]) -> bool:
        """Whether the windows tile a map of ``size`` (H, W) without padding."""
        return self.window_size == 0 or (size[0] % self.window_size == 0 and size[1] % self.window_size == 0)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) after this block."""
        return size if self.q_stride is None else (size[0] // 2, size[1] // 2)

    def on_windows(self, x: Tensor) -> Tensor:
        """The block on maps that each attend within themselves: windows [B', w, w, C] or whole maps."""
        normed = self.norm1(x)
        return self._finish(self._shortcut(x, normed), self.attn(normed))

    def _padded(self, x: Tensor) -> Tensor:
        # The padding is zero after the norm and takes part in the attention: officially so.
        normed = self.norm1(x)
        shortcut = self._shortcut(x, normed)
        h, w = x.shape[1:3]
        window = self.window_size
        right, below = -w % window, -h % window
        attended = self.attn(partition(F.pad(normed, (0, 0, 0, right, 0, below)), window))
        h_out, w_out = self.output_size((h, w))
        attended = unpartition(attended, self.output_size((h + below, w + right)))
        return self._finish(shortcut, attended[:, :h_out, :w_out])

    def _shortcut(self, x: Tensor, normed: Tensor) -> Tensor:
        # Where the width changes, the residual is a projection of the normed input, not of the input.
        if self.dim == self.dim_out:
            return x
        shortcut = self.proj(normed)
        return shortcut if self.q_stride is None else max_pool_2x2(shortcut)

    def _finish(self, shortcut: Tensor, attended: Tensor) -> Tensor:
        x = shortcut + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Hiera(nn.Module):
    """The trunk: [B, 3, S, S] -> four maps [B, C_i, S/4, S/4] ... [B, C_i, S/32, S/32], fine to coarse."""

    def __init__(
        self,
        embed_dim: int = 96,
        num_heads: int = 1,
        drop_path_rate: float = 0.0,
        q_pool: int = 3,
        q_stride: tuple[int, int] = Q_STRIDE,
        stages: tuple[int, ...] = (2, 3, 16, 3),
        dim_mul: float = 2.0,
        head_mul: float = 2.0,
        window_pos_embed_bkg_spatial_size: tuple[int, int] = (14, 14),
        window_spec: tuple[int, ...] = (8, 4, 14, 7),
        global_att_blocks: tuple[int, ...] = (12, 16, 20),
        return_interm_layers: bool = True,
    ) -> None:
        super().__init__()
        if not return_interm_layers:
            raise ValueError("return_interm_layers must be True: the neck reads every stage")
        self.window_spec = tuple(window_spec)
        self.q_stride = tuple(q_stride)
        self.stage_ends = [sum(stages[: i + 1]) - 1 for i in range(len(stages))]
        self.q_pool_blocks = [end + 1 for end in self.stage_ends[:-1]][:q_pool]
        self.return_interm_layers = return_interm_layers
        self.patch_embed = PatchEmbed(embed_dim)
        self.window_pos_embed_bkg_spatial_size = tuple(window_pos_embed_bkg_spatial_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, embed_dim, *self.window_pos_embed_bkg_spatial_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, embed_dim, window_spec[0], window_spec[0]))
        self.blocks = nn.ModuleList()
        depth = sum(stages)
        stage = 0
        for i in range(depth):
            # The first block of a stage still attends in the windows of the stage before it.
            window = 0 if i in global_att_blocks else self.window_spec[stage]
            dim_out = embed_dim
            if i - 1 in self.stage_ends:
                dim_out, num_heads, stage = int(embed_dim * dim_mul), int(num_heads * head_mul), stage + 1
            block = MultiScaleBlock(
                embed_dim,
                dim_out,
                num_heads,
                drop_path=drop_path_rate * i / max(depth - 1, 1),
                q_stride=Q_STRIDE if i in self.q_pool_blocks else None,
                window_size=window,
            )
            self.blocks.append(block)
            embed_dim = dim_out
        self.channel_list = [self.blocks[end].dim_out for end in reversed(self.stage_ends)]
        self._position: tuple[object, Tensor] | None = None
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_window, std=0.02)

    @classmethod
    def from_config(cls, config: HieraConfig) -> "Hiera":
        """The trunk that ``config`` describes."""
        return cls(
            embed_dim=config.embed_dim,
            num_heads=config.num_heads,
            drop_path_rate=config.drop_path_rate,
            q_pool=config.q_pool,
            stages=config.stages,
            window_pos_embed_bkg_spatial_size=config.window_pos_embed_bkg_spatial_size,
            window_spec=config.window_spec,
            global_att_blocks=config.global_att_blocks,
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        size = (x.shape[1], x.shape[2])
        x = x + self._position_table(size)
        window = 0  # how x is grouped now: 0 is the whole map
        outputs: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, MultiScaleBlock)
            if block.divides(size):
                if window != block.window_size:
                    x = unpartition(x, size) if window else x
                    x = partition(x, block.window_size) if block.window_size else x
                x, size = block.on_windows(x), block.output_size(size)
                window = x.shape[1] if block.window_size else 0
            else:
                x = block(unpartition(x, size) if window else x)
                size, window = block.output_size(size), 0
            if i in self.stage_ends:
                whole = unpartition(x, size) if window else x
                outputs.append(whole.permute(0, 3, 1, 2))
        return outputs

    def _position_table(self, size: tuple[int, int]) -> Tensor:
        """Global plus tiled window embedding, [1, H, W, C]; kept until the weights change, unless they are trained."""
        weights = (self.pos_embed, self.pos_embed_window)
        traced = torch.compiler.is_compiling()
        if traced or torch.is_grad_enabled() or any(w.is_inference() for w in weights):
            return self._make_position_table(size)
        key = (size, *((w.data_ptr(), w._version, w.dtype, w.device) for w in weights))
        if self._position is None or self._position[0] != key:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._position = (key, self._make_position_table(size))
        return self._position[1]

    def _make_position_table(self, size: tuple[int, int]) -> Tensor:
        h, w = size
        background = F.interpolate(self.pos_embed.float(), size=size, mode="bicubic")
        tile = self.pos_embed_window.float()
        repeats = (1, 1, -(-h // tile.shape[2]), -(-w // tile.shape[3]))
        table = background + tile.repeat(repeats)[:, :, :h, :w]
        return table.permute(0, 2, 3, 1).to(self.pos_embed.dtype).contiguous()
