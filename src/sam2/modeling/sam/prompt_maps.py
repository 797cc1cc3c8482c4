"""Prompts as pictures: clicks as Gaussian disks, boxes as filled rectangles, the previous mask as it is.

An option of the prompt encoder (``DecoderConfig.prompt_maps``), off in every official model. Sparse prompts must learn
what a coordinate means, from orders of magnitude more data than the bundled model has; interactive segmentation (RITM,
arXiv 2102.06583) hands the network the geometry instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.layers import LayerNorm2d

# Widths of the two disks of a click, in units of 1/64 of the image side: where it is, and its neighbourhood.
DISK_WIDTHS = (0.75, 5.0)
# Maps: two disks for foreground, two for background, the box, the previous mask.
NUM_MAPS = 2 * len(DISK_WIDTHS) + 2


def draw_prompts(
    points: Tensor, labels: Tensor, masks: Tensor | None, size: tuple[int, int], image_size: int
) -> Tensor:
    """Draw n objects' prompts on maps of ``size`` (h, w): [n, NUM_MAPS, h, w] float32.

    Points are [n, p, 2] (x, y) in pixels of the square input; labels as in ``PromptBatch``. A click's disks join by
    maximum. Masks [n, 1, *, *] are logits, squashed to -1..1.
    """
    n, (h, w) = len(points), size
    points = points.float()
    y = (torch.arange(h, dtype=torch.float32, device=points.device) + 0.5) / h
    x = (torch.arange(w, dtype=torch.float32, device=points.device) + 0.5) / w
    unit = (points + 0.5) / image_size
    maps = points.new_zeros(n, NUM_MAPS, h, w)
    for i, width in enumerate(DISK_WIDTHS):
        # A Gaussian is a product of its rows and columns: exp is taken of h + w values a point, not of h * w.
        fall_y = torch.exp(-0.5 * ((y - unit[..., 1:]) * (64 / width)) ** 2)
        fall_x = torch.exp(-0.5 * ((x - unit[..., :1]) * (64 / width)) ** 2)
        disks = fall_y[..., :, None] * fall_x[..., None, :]
        for j, label in enumerate((1, 0)):
            chosen = (labels == label).to(disks.dtype)[..., None, None]
            if points.shape[1]:
                maps[:, 2 * j + i] = (disks * chosen).amax(dim=1)
    maps[:, -2] = _fill_boxes(unit, labels, x, y)
    if masks is not None:
        resized = F.interpolate(masks.float(), size=size, mode="bilinear", align_corners=False)
        maps[:, -1:] = torch.tanh(resized / 4)
    return maps


def _fill_boxes(unit: Tensor, labels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """1 inside each object's box (labels 2 and 3), 0 outside and where there is none: [n, h, w]."""
    first = (labels == 2).to(unit.dtype)[..., None]
    last = (labels == 3).to(unit.dtype)[..., None]
    x0, y0 = (unit * first).sum(dim=1).unbind(-1)
    x1, y1 = (unit * last).sum(dim=1).unbind(-1)
    inside_x = (x >= x0[:, None]) & (x <= x1[:, None])
    inside_y = (y >= y0[:, None]) & (y <= y1[:, None])
    has_box = (first.sum(dim=(1, 2)) > 0) & (last.sum(dim=(1, 2)) > 0)
    return (inside_y[:, :, None] & inside_x[:, None, :] & has_box[:, None, None]).to(unit.dtype)


class PromptMapEncoder(nn.Module):
    """Drawn prompts to additions at strides 16, 8 and 4: (dense [n, C, h, w], [n, C/4, 2h, 2w], [n, C/8, 4h, 4w])."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        fine, middle, coarse = embed_dim // 8, embed_dim // 4, embed_dim // 2
        self.stride4 = nn.Sequential(nn.Conv2d(NUM_MAPS, fine, 3, padding=1), LayerNorm2d(fine), nn.GELU())
        self.stride8 = nn.Sequential(nn.Conv2d(fine, middle, 3, stride=2, padding=1), LayerNorm2d(middle), nn.GELU())
        self.stride16 = nn.Sequential(nn.Conv2d(middle, coarse, 3, stride=2, padding=1), LayerNorm2d(coarse), nn.GELU())
        self.to_high_res = nn.ModuleList([nn.Conv2d(fine, fine, 1), nn.Conv2d(middle, middle, 1)])
        self.to_dense = nn.Conv2d(coarse, embed_dim, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        fine = self.stride4(maps.contiguous(memory_format=torch.channels_last))
        middle = self.stride8(fine)
        dense = self.to_dense(self.stride16(middle))
        return dense, (self.to_high_res[0](fine), self.to_high_res[1](middle))
