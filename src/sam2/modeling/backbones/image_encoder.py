"""Trunk and neck together: pixels to a pyramid of d_model-channel maps with position codes."""

from typing import TypedDict

import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.layers import match_dtype
from sam2.modeling.position_encoding import PositionEmbeddingSine


class BackboneOutput(TypedDict):
    """The official output of :class:`ImageEncoder`: levels fine to coarse, after ``scalp``."""

    vision_features: Tensor
    vision_pos_enc: list[Tensor]
    backbone_fpn: list[Tensor]


class FpnNeck(nn.Module):
    """A feature pyramid (arXiv 1612.03144) without output convolutions.

    Takes trunk maps fine to coarse and returns maps of ``d_model`` channels fine to coarse with their sine codes.
    ``convs[0]`` belongs to the coarsest level: the order of ``backbone_channel_list``.
    """

    def __init__(
        self,
        position_encoding: PositionEmbeddingSine,
        d_model: int,
        backbone_channel_list: list[int] | tuple[int, ...],
        *,
        fpn_top_down_levels: list[int] | tuple[int, ...] | None = None,
        fpn_interp_model: str = "nearest",
        fuse_type: str = "sum",
        kernel_size: int = 1,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        if fuse_type not in ("sum", "avg"):
            raise ValueError(f"fuse_type must be 'sum' or 'avg', got {fuse_type!r}")
        self.position_encoding = position_encoding
        self.d_model = d_model
        self.backbone_channel_list = list(backbone_channel_list)
        self.convs = nn.ModuleList()
        for channels in backbone_channel_list:
            lateral = nn.Sequential()
            lateral.add_module("conv", nn.Conv2d(channels, d_model, kernel_size, stride, padding))
            self.convs.append(lateral)
        self.fpn_interp_model = fpn_interp_model
        self.fuse_type = fuse_type
        levels = range(len(self.convs)) if fpn_top_down_levels is None else fpn_top_down_levels
        self.fpn_top_down_levels = list(levels)

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        maps: list[Tensor] = []
        above: Tensor | None = None
        for level in range(len(xs) - 1, -1, -1):
            lateral = self.convs[len(xs) - 1 - level]
            features: Tensor = lateral(match_dtype(xs[level], lateral))
            if above is not None and level in self.fpn_top_down_levels:
                align = None if self.fpn_interp_model == "nearest" else False
                upsampled = F.interpolate(
                    above.float(), scale_factor=2.0, mode=self.fpn_interp_model, align_corners=align
                )
                features = features + upsampled.to(features.dtype)
                if self.fuse_type == "avg":
                    features = features / 2
            above = features
            maps.insert(0, features)
        return maps, [self.position_encoding(x).to(x.dtype) for x in maps]


class ImageEncoder(nn.Module):
    """Trunk, neck, and ``scalp`` levels cut off the coarse end."""

    def __init__(self, trunk: nn.Module, neck: FpnNeck, scalp: int = 0) -> None:
        super().__init__()
        channels = getattr(trunk, "channel_list", None)
        if channels is not None and list(channels) != neck.backbone_channel_list:
            raise ValueError(f"neck expects channels {neck.backbone_channel_list}, trunk gives {list(channels)}")
        self.trunk = trunk
        self.neck = neck
        self.scalp = scalp

    def pyramid(self, sample: Tensor) -> list[Tensor]:
        """The kept levels, fine to coarse."""
        maps, _ = self.neck(self.trunk(sample))
        return maps[: len(maps) - self.scalp]

    def forward(self, sample: Tensor) -> BackboneOutput:
        maps, positions = self.neck(self.trunk(sample))
        keep = len(maps) - self.scalp
        maps, positions = maps[:keep], positions[:keep]
        return {"vision_features": maps[-1], "vision_pos_enc": positions, "backbone_fpn": maps}
