"""The current frame attends to itself and to its memories."""

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.sam.transformer import RoPEAttention

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class MemoryAttentionLayer(nn.Module):
    """Pre-norm: self-attention, cross-attention to memory, feed-forward; all residual."""

    def __init__(
        self,
        activation: str,
        cross_attention: RoPEAttention,
        d_model: int,
        dim_feedforward: int,
        dropout: float,
        pos_enc_at_attn: bool,
        pos_enc_at_cross_attn_keys: bool,
        pos_enc_at_cross_attn_queries: bool,
        self_attention: RoPEAttention,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        self.d_model = d_model
        self.self_attn = self_attention
        self.cross_attn_image = cross_attention
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm3 = nn.LayerNorm(d_model)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)
        self.dropout3 = nn.Dropout(dropout)
        self.activation = ACTIVATIONS[activation]
        self.pos_enc_at_attn = pos_enc_at_attn
        self.pos_enc_at_cross_attn_queries = pos_enc_at_cross_attn_queries
        self.pos_enc_at_cross_attn_keys = pos_enc_at_cross_attn_keys

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        pos: Tensor | None = None,
        query_pos: Tensor | None = None,
        num_k_exclude_rope: int = 0,
        num_k_pooled: int = 0,
        key_mask: Tensor | None = None,
    ) -> Tensor:
        """tgt [B, N, C], memory [B, M, C_mem], pos and query_pos their position codes -> [B, N, C].

        Where tgt has one row for all rows of memory, all that comes before reading memory is done once. Memory is not
        read where ``key_mask`` [1, 1, 1, M] is false.
        """
        normed = self.norm1(tgt)
        placed = normed + query_pos if self.pos_enc_at_attn and query_pos is not None else normed
        tgt = tgt + self.dropout1(self.self_attn(placed, placed, normed))
        query = self.norm2(tgt)
        if self.pos_enc_at_cross_attn_queries and query_pos is not None:
            query = query + query_pos
        key = memory + pos if self.pos_enc_at_cross_attn_keys and pos is not None else memory
        read = self.cross_attn_image(
            query, key, memory, num_k_exclude_rope=num_k_exclude_rope, num_k_pooled=num_k_pooled, key_mask=key_mask
        )
        tgt = tgt + self.dropout2(read)
        hidden = self.linear2(self.dropout(self.activation(self.linear1(self.norm3(tgt)))))
        return tgt + self.dropout3(hidden)


class MemoryAttention(nn.Module):
    """``num_layers`` copies of ``layer`` and a final norm."""

    def __init__(
        self, d_model: int, pos_enc_at_input: bool, layer: nn.Module, num_layers: int, batch_first: bool = True
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = nn.LayerNorm(d_model)
        self.pos_enc_at_input = pos_enc_at_input
        self.batch_first = batch_first

    def forward(
        self,
        curr: Tensor | list[Tensor],
        memory: Tensor,
        curr_pos: Tensor | list[Tensor] | None = None,
        memory_pos: Tensor | None = None,
        num_obj_ptr_tokens: int = 0,
    ) -> Tensor:
        """The official call: tokens first, i.e. curr [N, B, C], memory [M, B, C_mem] -> [N, B, C].

        ``curr`` and ``curr_pos`` may be lists of one. The last ``num_obj_ptr_tokens`` memory tokens have no place in
        the image and are not rotated.
        """
        if isinstance(curr, list):
            (curr,) = curr
        if isinstance(curr_pos, list):
            (curr_pos,) = curr_pos
        if curr.shape[1] != memory.shape[1]:
            raise ValueError(f"curr has batch size {curr.shape[1]}, memory {memory.shape[1]}")
        conditioned = self.on_tokens(
            curr.transpose(0, 1),
            memory.transpose(0, 1),
            None if curr_pos is None else curr_pos.transpose(0, 1),
            None if memory_pos is None else memory_pos.transpose(0, 1),
            num_pointer_tokens=num_obj_ptr_tokens,
        )
        return conditioned.transpose(0, 1)

    def on_tokens(
        self,
        tokens: Tensor,
        memory: Tensor,
        position: Tensor | None,
        memory_position: Tensor | None,
        *,
        num_pointer_tokens: int,
        num_pooled_tokens: int = 0,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """The same, batch first: tokens [B, N, C], or [1, N, C] for all, and memory [B, M, C_mem] -> [B, N, C].

        The ``num_pooled_tokens`` before the pointers stand for 2 x 2 cells each (``MemoryTokens``). ``memory_mask``
        [1, 1, 1, M] is true where memory is read; None reads all.
        """
        if self.training:  # each row has its own dropout
            tokens = tokens.expand(len(memory), -1, -1)
        if self.pos_enc_at_input and position is not None:
            tokens = tokens + 0.1 * position
        for layer in self.layers:
            tokens = layer(
                tgt=tokens,
                memory=memory,
                pos=memory_position,
                query_pos=position,
                num_k_exclude_rope=num_pointer_tokens,
                num_k_pooled=num_pooled_tokens,
                key_mask=memory_mask,
            )
        return self.norm(tokens)

    def on_maps(
        self,
        embed: Tensor,
        position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        num_pooled_tokens: int,
        num_pointer_tokens: int,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """The same for maps: embed [B, C, h, w], or [1, C, h, w] for all, and memory [B, M, C_mem] -> [B, C, h, w]."""
        conditioned = self.on_tokens(
            embed.flatten(2).transpose(1, 2),
            memory,
            position.flatten(2).transpose(1, 2),
            memory_position,
            num_pointer_tokens=num_pointer_tokens,
            num_pooled_tokens=num_pooled_tokens,
            memory_mask=memory_mask,
        )
        return conditioned.transpose(1, 2).reshape(len(memory), -1, *embed.shape[-2:])
