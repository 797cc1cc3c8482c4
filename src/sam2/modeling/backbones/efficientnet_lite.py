"""The convolutional trunk of ``nano``: EfficientNet-Lite without its head, batch norms folded into the convolutions.

A transformer trunk pays off with data and accelerators; on two CPU cores a small convolutional one segments in real
time. EfficientNet-Lite (Apache-2.0, TensorFlow authors) has neither squeeze-and-excitation nor swish, so that it stays
quick and quantises well. Every convolution has a bias and nothing here normalises: the ImageNet statistics are part of
the weights (``sam2.train.nano.imagenet`` folds them), inference has fewer passes over memory, and training at batch
size 1 is as sound as at 1000.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sam2.modeling.config import EfficientNetLiteConfig
from sam2.modeling.layers import match_dtype

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STEM_CHANNELS = 32


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_OUTPUT_STAGES = (1, 2, 4, 6)
"""The last stage at strides 4, 8, 16 and 32."""


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for inputs whose sides the stride divides.

    At stride 2 the odd pixel of padding goes to the right and the bottom, which ``padding=`` cannot say. The image
    sizes allowed (multiples of 32) keep every stage's input even.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = kernel // 2 if stride == 1 else 0
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  (torch leaves device and dtype untyped)
            in_channels, out_channels, kernel, stride=stride, padding=symmetric, groups=groups
        )
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.explicit_padding = None if stride == 1 else (before, after, before, after)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """[b, c, h, w] to [b, c', h/stride, w/stride]."""
        if self.explicit_padding is None:
            return super().forward(input)
        if self.groups > 1 and not torch.is_grad_enabled():
            # The same, exactly: a kernel with a row and a column of zeros before it needs equal padding on all sides,
            # which spares a copy of a large map (half of the layer's time on CPUs).
            kernel = F.pad(self.weight, (1, 0, 1, 0))
            after = self.explicit_padding[1]
            return F.conv2d(input, kernel, self.bias, self.stride, after, groups=self.groups)
        return super().forward(F.pad(input, self.explicit_padding))


class MBConv(nn.Module):
    """Inverted bottleneck: widen (1 x 1), filter each channel (k x k), project (1 x 1), add where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = SameConv2d(in_channels, wide, kernel=1) if expansion > 1 else None
        self.depthwise = SameConv2d(wide, wide, kernel=kernel, stride=stride, groups=wide)
        self.project = SameConv2d(wide, out_channels, kernel=1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """[b, c, h, w] to [b, c', h/stride, w/stride]."""
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        projected = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return x + projected if self.residual else projected


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite as an image trunk: four maps at strides 4, 8, 16 and 32.

    Args:
        config: width and depth multipliers (1.0 and 1.0 are lite0).

    Attributes:
        channel_list: channels of the maps, coarse first, as the neck expects them.
        float32_parts: names of the parts that stay in float32 when the rest is cast: with eight bits of mantissa in
            the first layers outlines move, and mean IoU with float32 falls below 0.99 (benchmarks/precision.py).
    """

    float32_parts = ("stem", "stages.0", "stages.1")

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.channel_list = list(config.channels[::-1])
        # The network was trained on (p - 127) / 128 of 0..255 pixels. Pixels are converted before the first padding,
        # which folding the affine into the stem could not reproduce at the image border.
        self.pixel_scale: Tensor
        self.pixel_shift: Tensor
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("pixel_scale", (255 * std / 128).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_shift", ((255 * mean - 127) / 128).view(1, 3, 1, 1), persistent=False)

        self.stem = SameConv2d(3, STEM_CHANNELS, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for index, stage in enumerate(_STAGES):
            at_an_end = index in (0, len(_STAGES) - 1)
            repeats = stage.blocks if at_an_end else math.ceil(stage.blocks * config.depth)
            width = max(8, int(stage.channels * config.width + 4) // 8 * 8)
            blocks: list[nn.Module] = []
            for block in range(repeats):
                stride = stage.stride if block == 0 else 1
                blocks.append(MBConv(channels, width, kernel=stage.kernel, stride=stride, expansion=stage.expansion))
                channels = width
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps of [b, 3, s, s] pixels (0..1 RGB less ImageNet mean, over its deviation), fine to coarse.

        Returns four maps [b, c, s/4, s/4] ... [b, c, s/32, s/32] with the channels of the config.
        """
        x = F.relu6(self.stem(pixels * self.pixel_scale + self.pixel_shift), inplace=True)
        maps: list[Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(match_dtype(x, stage))
            if index in _OUTPUT_STAGES:
                maps.append(x)
        return maps
