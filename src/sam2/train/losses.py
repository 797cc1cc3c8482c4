"""The official losses of SAM 2: focal and dice on the best mask, L1 on predicted IoUs, cross entropy on presence."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

PixelLoss = Literal["focal", "bce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the four terms, and the two constants of the focal loss.

    Attributes:
        focal: weight of the focal loss of the best mask.
        dice: weight of its dice loss.
        iou: weight of the L1 distance of all predicted IoUs from the true ones.
        presence: weight of the cross entropy of the object score.
        bce: weight of plain cross entropy, where ``pixel`` is "bce".
        alpha: of the focal loss: weight of the object's pixels, against 1 - alpha of the others.
        gamma: of the focal loss: the power by which pixels that are nearly right count less.
        pixel: "focal", or "bce": plain cross entropy in its place. On little data a network that starts from noise
            learns faster by it: the focal loss all but ignores pixels that are right by a small margin.
        gated: masks are compared with the truth as the tracker shows them, -1024 throughout where the object score
            says that the object is not there, as officially. Off, masks learn from objects that the score misses, too.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    bce: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0
    pixel: PixelLoss = "focal"
    gated: bool = True

    def __post_init__(self) -> None:
        for name in ("focal", "dice", "iou", "presence", "bce", "gamma"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be within 0 to 1, got {self.alpha}")
        if self.pixel not in ("focal", "bce"):
            raise ValueError(f"pixel must be 'focal' or 'bce', got {self.pixel!r}")


@dataclass(frozen=True, slots=True)
class Losses:
    """The four terms, unweighted, and their weighted sum. Scalars."""

    mask: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    total: Tensor


def focal_per_mask(
    logits: Float[Tensor, "n m h w"], truth: Float[Tensor, "n m h w"], *, alpha: float, gamma: float
) -> Float[Tensor, "n m"]:
    """Sigmoid focal loss (arXiv 1708.02002), averaged over the pixels of each mask."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    miss = torch.sigmoid(logits * (1 - 2 * truth))
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    return (balance * miss**gamma * cross_entropy).flatten(2).mean(-1)


def dice_per_mask(logits: Float[Tensor, "n m h w"], truth: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m"]:
    """One minus the Dice coefficient of each mask's probabilities, with 1 added above and below."""
    probability, truth = logits.sigmoid().flatten(2), truth.flatten(2)
    shared = 2 * (probability * truth).sum(-1)
    return 1 - (shared + 1) / (probability.sum(-1) + truth.sum(-1) + 1)


def iou_per_mask(logits: Float[Tensor, "n m h w"], truth: Bool[Tensor, "n 1 h w"]) -> Float[Tensor, "n m"]:
    """IoU of each mask (logits above 0) with the truth. Two empty masks give 0, as officially."""
    predicted = (logits > 0).flatten(2)
    truth = truth.flatten(2)
    shared = (predicted & truth).sum(-1).float()
    either = (predicted | truth).sum(-1).float()
    return shared / either.clamp(min=1)


def prompt_losses(
    logits: Float[Tensor, "n m h w"],
    ious: Float[Tensor, "n m"],
    presence: Float[Tensor, "n 1"],
    truth: Bool[Tensor, "n h w"],
    *,
    config: LossConfig,
    num_objects: float | Tensor | None = None,
) -> Losses:
    """Losses of one decoder call on n objects with m candidate masks each.

    Only the candidate of least mask loss is trained as a mask; all predicted IoUs are trained. An absent object (empty
    truth) trains the presence score alone. Sums over objects are divided by ``num_objects`` (n by default; the
    average over processes in distributed training).
    """
    n = float(len(logits)) if num_objects is None else num_objects
    target = truth[:, None].to(logits.dtype).expand_as(logits)
    if config.pixel == "focal":
        pixel = focal_per_mask(logits, target, alpha=config.alpha, gamma=config.gamma)
        weight = config.focal
    else:
        pixel = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(2).mean(-1)
        weight = config.bce
    dice = dice_per_mask(logits, target)
    off = (ious - iou_per_mask(logits.detach(), truth[:, None])).abs().mean(-1)

    best = (weight * pixel + config.dice * dice).argmin(-1, keepdim=True)
    there = truth.flatten(1).any(-1, keepdim=True).to(logits.dtype)
    mask = (pixel.gather(1, best) * there).sum() / n
    overlap = (dice.gather(1, best) * there).sum() / n
    iou = (off[:, None] * there).sum() / n
    seen = F.binary_cross_entropy_with_logits(presence, there, reduction="sum") / n
    total = weight * mask + config.dice * overlap + config.iou * iou + config.presence * seen
    return Losses(mask, overlap, iou, seen, total)
