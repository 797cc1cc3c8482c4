"""Memory attention and memory encoder: official calls, order of tokens, what is refused."""

from dataclasses import replace
from math import isqrt

import pytest
import torch
from small_models import SMALL_MEMORY

from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler
from sam2.modeling.memory_tokens import assemble
from sam2.modeling.position_encoding import PositionEmbeddingSine, rotary_table
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import MemoryContext

C, D = 32, SMALL_MEMORY.dim


def context(objects: int = 2, memories: int = 3, pointers: int = 2, side: int = 4) -> MemoryContext:
    g = torch.Generator().manual_seed(0)
    return MemoryContext(
        features=torch.randn(objects, memories, D, side, side, generator=g),
        time_slots=tuple(range(memories)),
        pointers=torch.randn(objects, pointers, C, generator=g),
        pointer_distances=torch.arange(1.0, pointers + 1).expand(objects, -1),
        max_pointers=16,
    )


def test_memory_attention_takes_tokens_first(small_model: SAM2Base) -> None:
    """The official layout, [tokens, batch, channels], and lists of one."""
    attention = small_model.memory_attention
    tokens, memory = torch.randn(16, 2, C), torch.randn(40, 2, D)
    with torch.no_grad():
        plain = attention(curr=tokens, memory=memory, curr_pos=tokens, memory_pos=memory, num_obj_ptr_tokens=8)
        listed = attention([tokens], memory, [tokens], memory, num_obj_ptr_tokens=8)

    assert plain.shape == (16, 2, C)
    torch.testing.assert_close(plain, listed)


def test_memory_attention_refuses_unequal_batches(small_model: SAM2Base) -> None:
    with pytest.raises(ValueError, match="curr has batch size 2, memory 3"):
        small_model.memory_attention(torch.randn(16, 2, C), torch.randn(16, 3, D))


def test_keys_need_a_place_in_the_map() -> None:
    attention = RoPEAttention(embedding_dim=16)

    with pytest.raises(ValueError, match="square map, got 12 tokens"):
        attention(torch.randn(1, 12, 16), torch.randn(1, 12, 16), torch.randn(1, 12, 16))
    with pytest.raises(ValueError, match="18 tokens with a place for 9 queries; rope_k_repeat is off"):
        attention(torch.randn(1, 9, 16), torch.randn(1, 18, 16), torch.randn(1, 18, 16))
    repeating = RoPEAttention(embedding_dim=16, rope_k_repeat=True)
    with pytest.raises(ValueError, match="whole maps of 9 tokens, got 12 tokens"):
        repeating(torch.randn(1, 9, 16), torch.randn(1, 12, 16), torch.randn(1, 12, 16))


def test_pointers_are_not_rotated() -> None:
    """Tokens without a place: swapping two of them changes nothing, swapping two cells does."""
    torch.manual_seed(0)
    attention = RoPEAttention(embedding_dim=16, rope_k_repeat=True).eval()
    q, k = torch.randn(1, 9, 16), torch.randn(1, 9 + 4, 16)
    swapped_pointers, swapped_cells = k.clone(), k.clone()
    swapped_pointers[:, 9:] = k[:, [10, 9, 12, 11]]
    swapped_cells[:, :9] = k[:, [1, 0, 2, 3, 4, 5, 6, 7, 8]]

    with torch.no_grad():
        plain = attention(q, k, k, num_k_exclude_rope=4)
        pointers = attention(q, swapped_pointers, swapped_pointers, num_k_exclude_rope=4)
        cells = attention(q, swapped_cells, swapped_cells, num_k_exclude_rope=4)

    torch.testing.assert_close(pointers, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(cells, plain, atol=1e-4)


def by_definition(attention: RoPEAttention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, placed: int):
    """Every token projected, RoFormer's adjacent pairs turned as complex numbers, in float64."""
    cells, dim = q.shape[1], attention.internal_dim // attention.num_heads
    cos, sin = rotary_table(isqrt(cells), isqrt(cells), dim=dim, theta=1e4, device=torch.device("cpu"))

    def turned(x: torch.Tensor) -> torch.Tensor:
        circle = torch.complex(cos, sin).repeat(x.shape[2] // cells, 1)
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * circle).flatten(-2)

    query, key, value = (
        p(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for p, x in ((attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v))
    )
    query, key = turned(query), torch.cat((turned(key[:, :, :placed]), key[:, :, placed:].double()), dim=2)
    weights = (query @ key.transpose(-1, -2) / dim**0.5).softmax(dim=-1)
    return attention.out_proj((weights @ value.double()).transpose(1, 2).flatten(2).float())


@pytest.mark.parametrize(("dtype", "grad"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("maps", [1, 5])
def test_every_route_equals_the_definition(dtype: torch.dtype, grad: bool, heads: int, maps: int) -> None:
    """Few and many keys, one head that reads the memory itself and two that cannot, one query map for two objects."""
    torch.manual_seed(0)
    attention = RoPEAttention(embedding_dim=32, num_heads=heads, rope_k_repeat=True, kv_in_dim=8).eval()
    cells = 15 * 15
    q, k, v = torch.randn(1, cells, 32), torch.randn(2, maps * cells + 4, 8), torch.randn(2, maps * cells + 4, 8)

    with torch.no_grad():
        expected = by_definition(attention, q, k, v, maps * cells)
    attention.to(dtype)
    with torch.set_grad_enabled(grad):
        got = attention(q.to(dtype), k.to(dtype), v.to(dtype), num_k_exclude_rope=4)

    tolerance = {"atol": 1e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 1e-2}
    torch.testing.assert_close(got.float(), expected, **tolerance)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "grad"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.bfloat16, True)]
)
@pytest.mark.parametrize("maps", [1, 6])
def test_a_pooled_token_weighs_as_four_in_the_middle_of_them(
    dtype: torch.dtype, grad: bool, heads: int, maps: int
) -> None:
    """Read as four tokens that are alike and turned by the same angle, by every route, few keys and many."""
    torch.manual_seed(0)
    attention = RoPEAttention(embedding_dim=32, num_heads=heads, rope_k_repeat=True, kv_in_dim=8).eval()
    side = 30
    fine, coarse = side * side, maps * (side // 2) ** 2
    q = torch.randn(1, fine, 32)
    k, v = torch.randn(2, fine + coarse + 4, 8), torch.randn(2, fine + coarse + 4, 8)
    turn = rotary_table(side // 2, side // 2, dim=32 // heads, theta=1e4, device=torch.device("cpu"), spacing=2)
    cos, sin = rotary_table(side, side, dim=32 // heads, theta=1e4, device=torch.device("cpu"))
    torch.testing.assert_close(turn[0][side // 2 + 3, 0], torch.cos(torch.tensor(6.5)))  # x turns by 2 * 3 + 1 / 2

    def keys(x: torch.Tensor) -> torch.Tensor:
        key = attention.k_proj(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        circles = [torch.complex(cos, sin), torch.complex(*turn).repeat(maps, 1), torch.ones(4, 16 // heads)]
        pairs = torch.view_as_complex(key.unflatten(-1, (-1, 2)).contiguous()) * torch.cat(circles)
        return torch.view_as_real(pairs).flatten(-2)

    with torch.no_grad():
        repeats = torch.tensor([1] * fine + [4] * coarse + [1] * 4)
        query = attention.q_proj(q).unflatten(-1, (heads, -1)).transpose(1, 2)
        query = torch.view_as_complex(query.unflatten(-1, (-1, 2)).contiguous()) * torch.complex(cos, sin)
        query, key = torch.view_as_real(query).flatten(-2), keys(k).repeat_interleave(repeats, dim=2)
        value = attention.v_proj(v).unflatten(-1, (heads, -1)).transpose(1, 2).repeat_interleave(repeats, dim=2)
        weights = (query @ key.transpose(-1, -2) / (32 / heads) ** 0.5).softmax(dim=-1)
        expected = attention.out_proj((weights @ value).transpose(1, 2).flatten(2))
    attention.to(dtype)
    with torch.set_grad_enabled(grad):
        got = attention(q.to(dtype), k.to(dtype), v.to(dtype), num_k_exclude_rope=4, num_k_pooled=coarse)

    tolerance = {"atol": 1e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 1e-2}
    torch.testing.assert_close(got.float(), expected, **tolerance)


class Doubled(torch.nn.Linear):
    """Stands for an adapter: a layer whose output is not its weight's alone."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def test_replaced_projections_are_called() -> None:
    torch.manual_seed(0)
    attention = RoPEAttention(embedding_dim=16).eval()
    q = torch.randn(1, 9, 16)
    with torch.no_grad():
        attention.k_proj.weight *= 2
        attention.k_proj.bias *= 2
        expected = attention(q, q, q)
        attention.k_proj.weight /= 2
        attention.k_proj.bias /= 2
        attention.k_proj.__class__ = Doubled

        torch.testing.assert_close(attention(q, q, q), expected)


def test_a_row_of_tokens_serves_all_objects(small_model: SAM2Base) -> None:
    attention = small_model.memory_attention
    tokens, memory = torch.randn(1, 16, C), torch.randn(3, 40, D)
    with torch.no_grad():
        shared = attention.on_tokens(tokens, memory, tokens, memory, num_pointer_tokens=8)
        repeated = attention.on_tokens(tokens.repeat(3, 1, 1), memory, tokens, memory, num_pointer_tokens=8)

    torch.testing.assert_close(shared, repeated)


def test_activations_have_names() -> None:
    attention = RoPEAttention(embedding_dim=16)

    with pytest.raises(ValueError, match=r"one of \['gelu', 'relu'\], got 'tanh'"):
        MemoryAttentionLayer("tanh", attention, 16, 32, 0.0, False, True, False, attention)


def test_tokens_are_memories_then_pointers() -> None:
    past = context()
    codes = torch.randn(7, 1, 1, D)
    place = PositionEmbeddingSine(D)

    memory = assemble(past, time_codes=codes, position_encoding=place, pointer_projection=None)

    assert memory.num_pointer_tokens == 2 * C // D
    assert memory.tokens.shape == memory.position.shape == (2, 3 * 16 + 8, D)
    torch.testing.assert_close(memory.tokens[1, 16 + 5], past.features[1, 1, :, 1, 1])  # second memory, cell (1, 1)
    torch.testing.assert_close(memory.tokens[0, 48:52].flatten(), past.pointers[0, 0])
    spatial = place.table(4, 4, torch.device("cpu"))[0, :, 1, 1]
    torch.testing.assert_close(memory.position[1, 16 + 5], spatial + codes[1, 0, 0])
    assert memory.position[:, 48:].abs().sum() == 0


def test_memories_of_tracked_frames_are_pooled() -> None:
    past = replace(context(), time_slots=(0, 6, 3))
    codes, place = torch.randn(7, 1, 1, D), PositionEmbeddingSine(D)

    memory = assemble(past, time_codes=codes, position_encoding=place, pointer_projection=None, pool_recent=True)

    assert (memory.num_pooled_tokens, memory.num_pointer_tokens) == (2 * 4, 2 * C // D)
    assert memory.tokens.shape == memory.position.shape == (2, 16 + 2 * 4 + 8, D)
    torch.testing.assert_close(memory.tokens[1, 5], past.features[1, 1, :, 1, 1])  # the prompted one, cell (1, 1)
    torch.testing.assert_close(memory.tokens[1, 16 + 4 + 1], past.features[1, 2, :, :2, 2:].mean((1, 2)))
    table = place.table(4, 4, torch.device("cpu"))[0]
    torch.testing.assert_close(memory.position[1, 16 + 1], table[:, :2, 2:].mean((1, 2)) + codes[0, 0, 0])
    torch.testing.assert_close(memory.position[1, 5], table[:, 1, 1] + codes[6, 0, 0])


def test_prompted_frames_alone_are_not_pooled() -> None:
    past = replace(context(), time_slots=(6, 6, 6))
    codes, place = torch.randn(7, 1, 1, D), PositionEmbeddingSine(D)

    pooled, plain = (
        assemble(past, time_codes=codes, position_encoding=place, pointer_projection=None, pool_recent=recent)
        for recent in (True, False)
    )

    assert pooled.num_pooled_tokens == 0
    torch.testing.assert_close(pooled.tokens, plain.tokens)
    torch.testing.assert_close(pooled.position, plain.position)


def test_one_frame_gives_no_nan() -> None:
    """The official code divides a pointer's distance by (number of frames - 1)."""
    past = context(pointers=1)
    alone = MemoryContext(past.features, past.time_slots, past.pointers, torch.zeros(2, 1), max_pointers=1)

    memory = assemble(
        alone,
        time_codes=torch.zeros(7, 1, 1, D),
        position_encoding=PositionEmbeddingSine(D),
        pointer_projection=torch.nn.Linear(C, D),
    )

    assert memory.position.isfinite().all()


def test_no_pointers_and_no_memories_are_possible() -> None:
    for past in (context(pointers=0), context(memories=0)):
        memory = assemble(
            past,
            time_codes=torch.zeros(7, 1, 1, D),
            position_encoding=PositionEmbeddingSine(D),
            pointer_projection=torch.nn.Linear(C, D),
        )

        assert memory.tokens.shape == memory.position.shape


def test_memory_encoder_official_call(small_model: SAM2Base) -> None:
    with torch.no_grad():
        encoded = small_model.memory_encoder(torch.randn(2, C, 16, 16), torch.randn(2, 1, 256, 256))
        logits = torch.randn(1, 1, 256, 256)
        inside = small_model.memory_encoder(torch.ones(1, C, 16, 16), logits)
        outside = small_model.memory_encoder(torch.ones(1, C, 16, 16), logits.sigmoid(), skip_mask_sigmoid=True)

    assert encoded["vision_features"].shape == (2, D, 16, 16)
    assert [code.shape for code in encoded["vision_pos_enc"]] == [(2, D, 16, 16)]
    torch.testing.assert_close(inside["vision_features"], outside["vision_features"])


def test_strides_must_fit() -> None:
    with pytest.raises(ValueError, match="power of stride 2, got 12"):
        MaskDownSampler(8, kernel_size=3, stride=2, padding=1, total_stride=12)
    with pytest.raises(ValueError, match="needs dim"):
        Fuser(CXBlock(8), num_layers=1, input_projection=True)


def test_copies_of_a_layer_do_not_share_weights(small_model: SAM2Base) -> None:
    first, second = small_model.memory_attention.layers

    assert first.linear1.weight is not second.linear1.weight
