"""A frame and its mask to a memory: what later frames attend to."""

import copy
import math
from typing import TypedDict

from torch import Tensor, nn

from sam2.modeling.layers import Activation, CXBlock, LayerNorm2d
from sam2.modeling.position_encoding import PositionEmbeddingSine


class MaskDownSampler(nn.Module):
    """Strided convolutions that bring a [B, 1, H, W] mask to [B, embed_dim, H/16, W/16]."""

    def __init__(
        self,
        embed_dim: int = 256,
        kernel_size: int = 4,
        stride: int = 4,
        padding: int = 0,
        total_stride: int = 16,
        activation: Activation = nn.GELU,
    ) -> None:
        super().__init__()
        steps = round(math.log(total_stride, stride))
        if stride**steps != total_stride:
            raise ValueError(f"total_stride must be a power of stride {stride}, got {total_stride}")
        layers: list[nn.Module] = []
        channels = 1
        for _ in range(steps):
            wider = channels * stride**2
            layers += [nn.Conv2d(channels, wider, kernel_size, stride, padding), LayerNorm2d(wider), activation()]
            channels = wider
        layers.append(nn.Conv2d(channels, embed_dim, kernel_size=1))
        self.encoder = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class Fuser(nn.Module):
    """``num_layers`` copies of ``layer`` in a row."""

    def __init__(
        self, layer: nn.Module, num_layers: int, dim: int | None = None, input_projection: bool = False
    ) -> None:
        super().__init__()
        if input_projection and dim is None:
            raise ValueError("input_projection=True needs dim")
        self.proj = nn.Conv2d(dim, dim, kernel_size=1) if input_projection and dim is not None else nn.Identity()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        for layer in self.layers:
            x = layer(x)
        return x


class EncodedMemory(TypedDict):
    """The official output of :class:`MemoryEncoder`: features and their position code, a list of one."""

    vision_features: Tensor
    vision_pos_enc: list[Tensor]


class MemoryEncoder(nn.Module):
    """Adds the downsampled mask to the projected image embedding, fuses, and narrows to ``out_dim`` channels."""

    def __init__(
        self,
        out_dim: int,
        mask_downsampler: nn.Module,
        fuser: nn.Module,
        position_encoding: PositionEmbeddingSine,
        in_dim: int = 256,
    ) -> None:
        super().__init__()
        self.mask_downsampler = mask_downsampler
        self.pix_feat_proj = nn.Conv2d(in_dim, in_dim, kernel_size=1)
        self.fuser = fuser
        self.position_encoding = position_encoding
        self.out_proj = nn.Conv2d(in_dim, out_dim, kernel_size=1) if out_dim != in_dim else nn.Identity()

    def forward(self, pix_feat: Tensor, masks: Tensor, skip_mask_sigmoid: bool = False) -> EncodedMemory:
        """pix_feat [B, C, h, w] (not conditioned on memory) and masks [B, 1, 16h, 16w] -> [B, out_dim, h, w]."""
        if not skip_mask_sigmoid:
            masks = masks.sigmoid()
        mask_features = self.mask_downsampler(masks.to(self.pix_feat_proj.weight.dtype))
        fused = self.fuser(self.pix_feat_proj(pix_feat.to(self.pix_feat_proj.weight.dtype)) + mask_features)
        features = self.out_proj(fused)
        return {"vision_features": features, "vision_pos_enc": [self.position_encoding(features).to(features.dtype)]}


__all__ = ["CXBlock", "EncodedMemory", "Fuser", "MaskDownSampler", "MemoryEncoder"]
