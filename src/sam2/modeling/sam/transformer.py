"""Attention between few prompt tokens and many image tokens, in both directions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.attention import attend, chunks_pay
from sam2.modeling.layers import MLP, Activation
from sam2.modeling.position_encoding import rotate, square_rotary_table


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its embedding."""

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        downsample_rate: int = 1,
        dropout: float = 0.0,
        kv_in_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.kv_in_dim = embedding_dim if kv_in_dim is None else kv_in_dim
        self.internal_dim = embedding_dim // downsample_rate
        self.num_heads = num_heads
        if self.internal_dim % num_heads:
            raise ValueError(f"num_heads must divide {self.internal_dim}, got {num_heads}")
        self.q_proj = nn.Linear(embedding_dim, self.internal_dim)
        self.k_proj = nn.Linear(self.kv_in_dim, self.internal_dim)
        self.v_proj = nn.Linear(self.kv_in_dim, self.internal_dim)
        self.out_proj = nn.Linear(self.internal_dim, embedding_dim)
        self.dropout_p = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [B, Nq, C], k and v [B, Nk, C_kv] -> [B, Nq, C]; a single row serves all rows of the others."""
        if len(k) == 1 < len(q):  # what reads the same keys is one row of queries
            return self(q.flatten(0, 1)[None], k, v).view(*q.shape[:2], -1)
        return self._attend(self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        dropout = self.dropout_p if self.training else 0.0
        attended = attend(q, k, v, dropout=dropout, mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class RoPEAttention(Attention):
    """Attention whose queries and keys carry an axial rotary code of their cell.

    Keys may be several maps in a row (``rope_k_repeat``), then ``num_k_pooled`` tokens of maps of half the side, each
    of which stands for 2 x 2 cells, then ``num_k_exclude_rope`` tokens without a place. ``feat_sizes`` is accepted for
    the official signature; the table follows the number of queries.
    """

    def __init__(
        self,
        *args: int,
        rope_theta: float = 10000.0,
        rope_k_repeat: bool = False,
        feat_sizes: tuple[int, int] = (64, 64),
        embedding_dim: int | None = None,
        num_heads: int = 1,
        downsample_rate: int = 1,
        dropout: float = 0.0,
        kv_in_dim: int | None = None,
    ) -> None:
        if embedding_dim is None:
            embedding_dim, *rest = args
            num_heads = rest[0] if rest else num_heads
        super().__init__(embedding_dim, num_heads, downsample_rate, dropout, kv_in_dim)
        self.rope_theta = rope_theta
        self.rope_k_repeat = rope_k_repeat
        self.feat_sizes = tuple(feat_sizes)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        num_k_exclude_rope: int = 0,
        num_k_pooled: int = 0,
        key_mask: Tensor | None = None,
    ) -> Tensor:
        """q [B, H * W, C], k and v [B, Nk, C_kv] -> [B, H * W, C]; the map is square. A single q serves all rows.

        Keys where ``key_mask`` [1, 1, 1, Nk] is false are not read.
        """
        side = math.isqrt(q.shape[1])
        if side * side != q.shape[1]:
            raise ValueError(f"q must hold the tokens of a square map, got {q.shape[1]} tokens")
        placed = k.shape[1] - num_k_exclude_rope - num_k_pooled
        if placed != q.shape[1] and not self.rope_k_repeat:
            raise ValueError(f"k has {placed} tokens with a place for {q.shape[1]} queries; rope_k_repeat is off")
        if placed % q.shape[1]:
            raise ValueError(f"k must hold whole maps of {q.shape[1]} tokens, got {placed} tokens with a place")
        dim = self.internal_dim // self.num_heads
        table = square_rotary_table(side, dim, self.rope_theta, q.device)
        maps = [(placed, table)]
        if num_k_pooled:
            coarse = square_rotary_table(side // 2, dim, self.rope_theta, q.device, spacing=2)
            maps.append((num_k_pooled, coarse))
            key_mask = _weighed(key_mask, k.shape[1], slice(placed, placed + num_k_pooled), like=q)
        query = rotate(self._halves(self.q_proj, q), table)
        masked = key_mask is not None and key_mask.dtype == torch.bool
        if not masked and self._reads_unprojected(q, k, v):
            values, queries = v.to(query.dtype)[:, None], query.expand(len(k), -1, -1, -1)
            # One object at a time, so that its keys are still in the cache when they are read.
            rows = [slice(i, i + 1) for i in range(len(k))]
            attended = [attend(queries[row], self._keys(k[row], maps), values[row], mask=key_mask) for row in rows]
            return self.out_proj(self.v_proj(torch.cat(attended)[:, 0]))
        return self._attend(query, self._keys(k, maps), self._heads(self.v_proj(v)), key_mask)

    def _reads_unprojected(self, q: Tensor, k: Tensor, v: Tensor) -> bool:
        """Whether to attend to ``v`` itself and project what was read, rather than each token before.

        The same, since the weights of a query sum to 1 (unless some are dropped), and less work where ``v`` is narrower
        than its projection. In float32 PyTorch's kernel on projected values is as quick.
        """
        drops = self.training and self.dropout_p > 0
        narrower = v.shape[-1] < self.internal_dim
        return self.num_heads == 1 and narrower and not drops and chunks_pay(q, k, v)

    def _keys(self, k: Tensor, maps: list[tuple[int, tuple[Tensor, Tensor]]]) -> Tensor:
        """Projected keys [B, heads, Nk, d]; ``maps`` says how many in a row are turned by which table."""
        key = self._halves(self.k_proj, k)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            parts: list[Tensor] = []
            for count, table in maps:
                parts.append(rotate(key[:, :, :count], table))
                key = key[:, :, count:]
            return torch.cat((*parts, key), dim=2)
        first = 0
        for count, table in maps:
            cells = len(table[0])
            for start in range(first, first + count, cells):  # in the cache, and in place
                one_map = key[:, :, start : start + cells]
                one_map.copy_(rotate(one_map, table))
            first += count
        return key

    def _halves(self, projection: nn.Linear, x: Tensor) -> Tensor:
        """``projection`` of ``x`` as [B, heads, n, d], the even channels of each head before the odd ones.

        That is where ``rotate`` expects the pairs that the weights were trained with; products of queries and keys do
        not depend on the order. In inference the weights are put in order rather than the tokens, unless the layer was
        replaced (adapters, quantisation).
        """
        heads, width = self.num_heads, self.internal_dim
        if type(projection) is nn.Linear and type(projection.weight) is nn.Parameter and not torch.is_grad_enabled():
            weight = projection.weight.view(heads, -1, 2, x.shape[-1]).transpose(1, 2).reshape(width, -1)
            bias = projection.bias.view(heads, -1, 2).transpose(1, 2).reshape(width)
            return self._heads(F.linear(x, weight, bias))
        projected: Tensor = projection(x)
        return self._heads(projected.view(*x.shape[:-1], heads, -1, 2).transpose(-1, -2).reshape(*x.shape[:-1], width))


def _weighed(mask: Tensor | None, count: int, pooled: slice, *, like: Tensor) -> Tensor:
    """What is added to the scores of ``count`` keys [1, 1, 1, count] so that those that are ``pooled`` weigh as four.

    Keys where ``mask``, of the same shape, is false weigh nothing.
    """
    bias = like.new_zeros(1, 1, 1, count)
    bias[..., pooled] = math.log(4)
    return bias if mask is None else bias.masked_fill(~mask, -math.inf)


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to themselves, to the image, pass an MLP; then the image attends to the tokens."""

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        mlp_dim: int = 2048,
        activation: Activation = nn.ReLU,
        attention_downsample_rate: int = 2,
        skip_first_layer_pe: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(embedding_dim, num_heads, attention_downsample_rate)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLP(embedding_dim, mlp_dim, embedding_dim, num_layers=2, activation=activation)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(embedding_dim, num_heads, attention_downsample_rate)
        self.skip_first_layer_pe = skip_first_layer_pe

    def forward(self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor) -> tuple[Tensor, Tensor]:
        """queries [B, T, C] and keys [B, H * W, C], updated; a single row of keys serves all queries."""
        if self.skip_first_layer_pe:
            # Officially the first layer replaces the tokens: no residual and no position code.
            queries = self.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + query_pe
            queries = queries + self.self_attn(q=placed, k=placed, v=queries)
        queries = self.norm1(queries)
        placed_keys = keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(q=queries + query_pe, k=placed_keys, v=keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(q=placed_keys, k=queries + query_pe, v=queries))
        return queries, keys


class TwoWayTransformer(nn.Module):
    """``depth`` two-way blocks and a last look of the tokens at the image."""

    def __init__(
        self,
        depth: int,
        embedding_dim: int,
        num_heads: int,
        mlp_dim: int,
        activation: Activation = nn.ReLU,
        attention_downsample_rate: int = 2,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.embedding_dim = embedding_dim
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(
                embedding_dim, num_heads, mlp_dim, activation, attention_downsample_rate, skip_first_layer_pe=i == 0
            )
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, attention_downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """image_embedding and image_pe [B, C, H, W], point_embedding [B, T, C] : tokens [B, T, C], image [B, HW, C].

        An image that all prompts share may have a single row: what the first layer makes of it is then made once.
        """
        keys = image_embedding.flatten(2).transpose(1, 2)
        key_pe = image_pe.flatten(2).transpose(1, 2)
        queries = point_embedding
        for layer in self.layers:
            queries, keys = layer(queries=queries, keys=keys, query_pe=point_embedding, key_pe=key_pe)
        attended = self.final_attn_token_to_image(q=queries + point_embedding, k=keys + key_pe, v=keys)
        return self.norm_final_attn(queries + attended), keys
