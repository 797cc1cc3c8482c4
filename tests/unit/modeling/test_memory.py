"""Memory attention and memory encoder: official calls, order of tokens, what is refused."""

import pytest
import torch
from small_models import SMALL_MEMORY

from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler
from sam2.modeling.memory_tokens import assemble
from sam2.modeling.position_encoding import PositionEmbeddingSine
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
