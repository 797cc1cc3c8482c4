"""Windows are cut, padded, pooled and put back as a naive reading of the paper does it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock, max_pool_2x2, partition, unpartition

# 256 px: maps of 64, 32, 16 and 8; 14 and 7 divide neither of the last two, so that windows are padded
STAGES, GLOBAL_BLOCKS, WINDOWS = (1, 2, 3, 2), (4,), (8, 4, 14, 7)


def small_hiera() -> Hiera:
    torch.manual_seed(0)
    trunk = Hiera(
        embed_dim=16,
        num_heads=1,
        stages=STAGES,
        global_att_blocks=GLOBAL_BLOCKS,
        window_spec=WINDOWS,
        window_pos_embed_bkg_spatial_size=(7, 7),
    )
    for parameter in trunk.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return trunk.eval()


def pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(x.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)


def attend_in_one_window(block: MultiScaleBlock, window: Tensor) -> Tensor:
    """Softmax attention over the cells of one [h, w, C] window, head by head, written out."""
    attention = block.attn
    query, key, value = attention.qkv(window).split(block.dim_out, dim=-1)
    if block.q_stride is not None:
        query = pooled(query)
    size, width = query.shape[:2], block.dim_out // attention.num_heads
    heads = []
    for head in range(attention.num_heads):
        q, k, v = (x.reshape(-1, block.dim_out)[:, head * width : (head + 1) * width] for x in (query, key, value))
        heads.append(torch.softmax(q @ k.T / width**0.5, dim=-1) @ v)
    return attention.proj(torch.cat(heads, dim=-1)).view(*size, block.dim_out)


def naive_block(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """One block on one [H, W, C] map, a window at a time."""
    normed = block.norm1(x)
    shortcut = x if block.dim == block.dim_out else block.proj(normed)
    if block.q_stride is not None:
        shortcut = pooled(shortcut)
    height, width = x.shape[:2]
    window = block.window_size or height
    factor = 1 if block.q_stride is None else 2
    attended = torch.zeros(shortcut.shape[0] + window, shortcut.shape[1] + window, block.dim_out)
    for top in range(0, height, window):
        for left in range(0, width, window):
            cut = normed[top : top + window, left : left + window]
            cut = F.pad(cut, (0, 0, 0, window - cut.shape[1], 0, window - cut.shape[0]))
            side = window // factor
            y, z = top // factor, left // factor
            attended[y : y + side, z : z + side] = attend_in_one_window(block, cut)
    x = shortcut + attended[: shortcut.shape[0], : shortcut.shape[1]]
    return x + block.mlp(block.norm2(x))


def naive_trunk(trunk: Hiera, image: Tensor) -> list[Tensor]:
    x = trunk.patch_embed.proj(image[None])[0].permute(1, 2, 0)
    background = F.interpolate(trunk.pos_embed, size=x.shape[:2], mode="bicubic")[0].permute(1, 2, 0)
    tile = trunk.pos_embed_window[0].permute(1, 2, 0)
    x = x + background + tile.repeat(x.shape[0] // tile.shape[0], x.shape[1] // tile.shape[1], 1)
    outputs = []
    for i, block in enumerate(trunk.blocks):
        x = naive_block(block, x)
        if i in trunk.stage_ends:
            outputs.append(x.permute(2, 0, 1))
    return outputs


def test_trunk_equals_a_naive_reading() -> None:
    trunk, images = small_hiera(), torch.randn(2, 3, 256, 256)

    with torch.no_grad():
        got = trunk(images)
        expected = naive_trunk(trunk, images[1])

    for level, naive in zip(got, expected, strict=True):
        torch.testing.assert_close(level[1], naive, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [256, 320, 352])
def test_maps_at_four_strides(size: int) -> None:
    with torch.no_grad():
        maps = small_hiera()(torch.randn(1, 3, size, size))

    assert [tuple(m.shape) for m in maps] == [(1, 16 * 2**i, size // 4 // 2**i, size // 4 // 2**i) for i in range(4)]


def test_window_sizes_lag_a_block() -> None:
    windows = [block.window_size for block in small_hiera().blocks]

    assert windows == [8, 8, 4, 4, 0, 14, 14, 7]  # the first block of a stage keeps the windows of the stage before


def test_partition_is_undone() -> None:
    x = torch.randn(2, 12, 8, 5)

    windows = partition(x, 4)

    assert windows.shape == (2 * 3 * 2, 4, 4, 5)
    torch.testing.assert_close(windows[1], x[0, :4, 4:])
    torch.testing.assert_close(unpartition(windows, (12, 8)), x)


def test_max_pool_in_the_layout() -> None:
    x = torch.randn(2, 6, 4, 3)

    torch.testing.assert_close(max_pool_2x2(x)[1], pooled(x[1]))


def test_position_table_is_kept_until_the_weights_change() -> None:
    trunk = small_hiera()
    with torch.no_grad():
        first = trunk._position_table((64, 64))
        again = trunk._position_table((64, 64))
        trunk.pos_embed.add_(1.0)
        changed = trunk._position_table((64, 64))

    assert first is again
    torch.testing.assert_close(changed, first + 1.0, atol=1e-5, rtol=1e-5)


def test_position_embeddings_are_trained() -> None:
    trunk = small_hiera().train()
    with torch.inference_mode():
        trunk(torch.randn(1, 3, 256, 256))  # a table kept from an evaluation must not cut the gradient

    trunk(torch.randn(1, 3, 256, 256))[-1].sum().backward()

    assert trunk.pos_embed.grad is not None
    assert trunk.pos_embed.grad.abs().sum() > 0
    assert trunk.pos_embed_window.grad is not None
