"""A good start for the memory parts: attention that finds what looks alike, before anything is learned.

From noise, attention over memory is an average of everything, and learning to match from that is slow. Here keys are
made of the same directions of the embedding as queries: those along which embeddings of photos vary most.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import MASK_LOGIT_BIAS, MASK_LOGIT_SCALE, SAM2Base
from sam2.train.nano.data.pack import PackedData
from sam2.train.nano.data.samples import SampleConfig, Sampler
from sam2.train.nano.step import normalised

PHOTOS = 24
SHARPNESS = 1.5
"""How much more than its own length a query prefers its like."""


@torch.no_grad()
def start_memory(model: SAM2Base, data: PackedData) -> None:
    """Set the memory encoder's and the memory attention's projections from the embeddings of some photos."""
    rng = np.random.default_rng(0)
    sampler = Sampler(data, SampleConfig(image_size=model.image_size, masks=1))
    photos = torch.from_numpy(np.stack([sampler.draw(rng).image for _ in range(PHOTOS)]))
    embeds = [model.encode_image(normalised(photo[None], model.device)).embed.float() for photo in photos]
    tokens = torch.cat(embeds).permute(0, 2, 3, 1).flatten(0, 2)
    length = float(tokens.pow(2).sum(-1).mean().sqrt())
    scale = tokens.shape[1] ** 0.5 / length
    directions = _main_directions(tokens, model.mem_dim)

    encoder = model.memory_encoder
    _as_matrix(encoder.pix_feat_proj, scale * torch.eye(tokens.shape[1], device=tokens.device))
    if isinstance(encoder.out_proj, nn.Conv2d):
        _as_matrix(encoder.out_proj, directions)
    for layer in model.memory_attention.layers:
        attention = layer.cross_attn_image
        assert isinstance(attention, RoPEAttention)
        _as_matrix(attention.q_proj, torch.eye(tokens.shape[1], device=tokens.device))
        _as_matrix(attention.k_proj, SHARPNESS * directions.T)
    # A mask prompt's picture, as logits: the decoder knows those.
    model.mask_downsample.weight.fill_(MASK_LOGIT_SCALE / model.mask_downsample.weight.numel())
    assert model.mask_downsample.bias is not None
    model.mask_downsample.bias.fill_(MASK_LOGIT_BIAS)


def without_dropout(model: SAM2Base) -> None:
    """Little is learned in an hour; nothing of it is thrown away. The weights do not depend on it."""
    for module in model.memory_attention.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, RoPEAttention):
            module.dropout_p = 0.0


def _main_directions(tokens: Tensor, count: int) -> Tensor:
    """The ``count`` orthonormal directions [count, C] along which ``tokens`` [n, C] vary most."""
    centred = tokens - tokens.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return vectors.flip(1)[:, :count].T.contiguous()


def _as_matrix(layer: nn.Module, matrix: Tensor) -> None:
    """Make ``layer`` (linear, or a 1 x 1 convolution) multiply by ``matrix``, without a bias."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    layer.weight.copy_(matrix.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.zero_()
