"""``ModelConfig`` to modules."""

from sam2.modeling.backbones.efficientnet_lite import EfficientNetLite
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.config import Behaviour, HieraConfig, ModelConfig, default_behaviour
from sam2.modeling.layers import CXBlock
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base


def build_model(config: ModelConfig, behaviour: Behaviour | None = None, *, cls: type[SAM2Base] = SAM2Base) -> SAM2Base:
    """The model that ``config`` describes: random weights, float32, on the default device, in training mode.

    Args:
        behaviour: None takes what the weights of ``config`` were trained with.
        cls: a subclass with the same constructor.
    """
    return cls(
        build_image_encoder(config),
        build_memory_attention(config),
        build_memory_encoder(config),
        config=config,
        behaviour=default_behaviour(config) if behaviour is None else behaviour,
    )


def build_image_encoder(config: ModelConfig) -> ImageEncoder:
    """Trunk and neck, without the coarsest level (``scalp=1``)."""
    trunk = Hiera.from_config(config.trunk) if isinstance(config.trunk, HieraConfig) else EfficientNetLite(config.trunk)
    neck = FpnNeck(
        PositionEmbeddingSine(config.d_model),
        config.d_model,
        config.backbone_channel_list,
        fpn_top_down_levels=config.fpn_top_down_levels,
    )
    return ImageEncoder(trunk, neck, scalp=1)


def build_memory_attention(config: ModelConfig) -> MemoryAttention:
    """Self-attention over the frame and cross-attention to memory, both with rotary codes."""
    memory, c = config.memory, config.d_model
    layer = MemoryAttentionLayer(
        activation="relu",
        d_model=c,
        dim_feedforward=memory.dim_feedforward,
        dropout=memory.dropout,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=RoPEAttention(embedding_dim=c, rope_theta=memory.rope_theta, dropout=memory.dropout),
        cross_attention=RoPEAttention(
            embedding_dim=c,
            rope_theta=memory.rope_theta,
            rope_k_repeat=True,
            dropout=memory.dropout,
            kv_in_dim=memory.dim,
        ),
    )
    return MemoryAttention(c, pos_enc_at_input=True, layer=layer, num_layers=memory.num_layers)


def build_memory_encoder(config: ModelConfig) -> MemoryEncoder:
    """Mask downsampling by 16, fusion with the frame, projection to the memory's width."""
    c = config.d_model
    return MemoryEncoder(
        out_dim=config.memory.dim,
        in_dim=c,
        mask_downsampler=MaskDownSampler(embed_dim=c, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(c), num_layers=config.memory.fuser_layers),
        position_encoding=PositionEmbeddingSine(config.memory.dim),
    )
