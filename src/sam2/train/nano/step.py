"""One training step: prompts, predictions, corrections, losses. Calls the verbs that inference calls."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2.modeling.sam2_base import SAM2Base
from sam2.train.losses import iou_per_mask, prompt_losses
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.loader import Batch
from sam2.train.nano.simulate import PromptKind, corrected, first_prompts, to_device
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD

# Of 0..255 pixels, which arrive as they are.
PIXEL_MEAN = tuple(255 * value for value in IMAGE_MEAN)
PIXEL_STD = tuple(255 * value for value in IMAGE_STD)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The loss to be differentiated, and what to log.

    Attributes:
        loss: scalar, the sum over decoder calls.
        ious: mean true IoU of the chosen mask after the first prompt, and after each correction.
        terms: the loss terms summed over decoder calls: mask, dice, iou, presence.
    """

    loss: Tensor
    ious: list[float]
    terms: dict[str, float]


def normalised(images: Tensor, device: torch.device) -> Tensor:
    """[b, S, S, 3] uint8 to the network's input [b, 3, S, S], channels last."""
    images = images.to(device, non_blocking=True).float()
    mean, std = (torch.tensor(values, device=device) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((images - mean) / std).permute(0, 3, 1, 2)


def run_step(
    model: SAM2Base,
    batch: Batch,
    *,
    kind: PromptKind,
    rounds: int,
    rng: np.random.Generator,
    config: NanoConfig,
) -> StepResult:
    """Prompt every object of ``batch`` in the way of ``kind``, correct ``rounds`` - 1 times, and sum the losses."""
    device = model.device
    truth_np = batch.masks.flatten(0, 1).numpy()
    truth = batch.masks.flatten(0, 1).to(device, non_blocking=True)
    count = batch.masks.shape[1]
    with precision(config, device, decoder=False):
        features = model.encode_image(normalised(batch.images, device))
        embed = per_object(model.condition_on_nothing(features.embed), count)
        fine, middle = (per_object(level, count) for level in features.high_res)

    simulation, size = config.simulation, model.image_size
    prompts = to_device(first_prompts(rng, truth_np, kind, image_size=size, config=simulation), device)
    hints = bool(rng.random() >= config.no_hints)
    total = torch.zeros((), device=device)
    ious: list[float] = []
    terms: dict[str, float] = {"mask": 0.0, "dice": 0.0, "iou": 0.0, "presence": 0.0}
    there = truth.flatten(1).any(-1)
    for number in range(rounds):
        first_click = prompts.num_points == 1 and prompts.masks is None
        multimask = first_click and bool(rng.random() < config.multimask)
        with precision(config, device, decoder=True):
            found = model.decode_masks(embed, (fine, middle), prompts, multimask=multimask, prompt_hints=hints)
        logits = F.interpolate(found.logits, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        losses = prompt_losses(logits, found.ious, found.object_score, truth, config=config.loss)
        total = total + losses.total
        for name in terms:
            terms[name] += float(getattr(losses, name).detach())
        row, best = torch.arange(len(truth), device=device), found.ious.argmax(-1)
        chosen = logits.detach()[row, best][:, None]
        ious.append(float(iou_per_mask(chosen, truth[:, None])[there].mean()))
        if number + 1 < rounds:
            low_res = found.logits[row, best][:, None]
            prompts = corrected(rng, prompts, truth_np, low_res, image_size=size, config=simulation)
    return StepResult(total, ious, terms)


def per_object(features: Tensor, count: int) -> Tensor:
    """Each image ``count`` times in a row; unlike indexing, cheap to differentiate."""
    repeated = features[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
    return repeated.contiguous(memory_format=torch.channels_last)


@contextmanager
def precision(config: NanoConfig, device: torch.device, *, decoder: bool, many_tokens: bool = False) -> Iterator[None]:
    """The precision and the kind of attention that the run computes the decoder, or the rest, in.

    ``many_tokens``: attention over memory is among it, for which fused kernels are the faster ones everywhere.
    """
    enabled = config.amp == "all" or (decoder and config.amp == "decoder")
    attention = nullcontext()
    if config.plain_attention and not many_tokens:
        attention = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled), attention:
        yield
