"""One training step on clips: a prompt on the first frame, then tracking as inference does it, by the same verbs."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import select_memories
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import (
    FrameMemory,
    ImageFeatures,
    MaskCandidates,
    MaskPrediction,
    MemoryContext,
    PromptBatch,
)
from sam2.train.losses import iou_per_mask, prompt_losses
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.loader import ClipBatch
from sam2.train.nano.past import Past
from sam2.train.nano.simulate import PromptKind, corrected, first_prompts, to_device
from sam2.train.nano.step import StepResult, normalised, per_object, precision


@dataclass(slots=True)
class _Memories:
    """What n objects remember of the frames so far."""

    past: Past
    behaviour: Behaviour
    num_maskmem: int
    frames: dict[int, FrameMemory] = field(default_factory=dict)
    prompted: list[int] = field(default_factory=list)

    def add(self, t: int, memory: FrameMemory, *, prompted: bool) -> None:
        self.frames[t] = memory
        if prompted:
            self.prompted.append(t)

    def context(self, t: int) -> MemoryContext:
        """What frame ``t`` reads, by the rule of inference."""

        def remembered(index: int) -> bool:
            return index in self.frames and index not in self.prompted and index not in self.past.dropped

        chosen = select_memories(
            t, self.prompted, remembered, behaviour=self.behaviour, num_maskmem=self.num_maskmem, num_frames=None
        )
        pointers = torch.stack([self.frames[i].pointer for i, _ in chosen.pointers], dim=1)
        distances = [d + (self.past.gap if i == 0 else 0) for i, d in chosen.pointers]
        return MemoryContext(
            torch.stack([self.frames[i].features for i, _ in chosen.memories], dim=1),
            chosen.slots,
            pointers,
            torch.tensor(distances, dtype=torch.float32, device=pointers.device).expand(len(pointers), -1),
            chosen.max_pointers,
        )


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Features of b clips of T frames, each frame for k objects a clip."""

    embed: Tensor
    fine: Tensor
    middle: Tensor
    position: Tensor
    objects: int

    def frame(self, t: int) -> ImageFeatures:
        """The features of frame ``t``, one row per object."""
        fine, middle, embed = (per_object(x[:, t], self.objects) for x in (self.fine, self.middle, self.embed))
        return ImageFeatures(embed, (fine, middle), self.position)


def encode_clips(model: SAM2Base, batch: ClipBatch, *, config: NanoConfig) -> ClipFeatures:
    """All frames in one go, without gradients unless ``config.clip_trunk``."""
    b, frames = batch.images.shape[:2]
    device = model.device
    gradients: AbstractContextManager[object] = nullcontext() if config.clip_trunk else torch.no_grad()
    with gradients, precision(config, device, decoder=False):
        found = model.encode_image(normalised(batch.images.flatten(0, 1), device))
    fine, middle, embed = (x.float().unflatten(0, (b, frames)) for x in (*found.high_res, found.embed))
    return ClipFeatures(embed, fine, middle, found.position, batch.masks.shape[2])


Report = Callable[[int, MaskCandidates], None]
"""Told of every decoder call: the frame and what was found."""


def _tell_nobody(t: int, candidates: MaskCandidates) -> None:
    """Nothing is to be learned from this call."""


def track(
    model: SAM2Base,
    features: ClipFeatures,
    first: PromptBatch | Tensor,
    *,
    past: Past,
    report: Report = _tell_nobody,
    correct: Callable[[int, Tensor], PromptBatch] | None = None,
    amp: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[MaskPrediction]:
    """Follow n objects through all frames.

    Args:
        first: prompts for frame 0, or masks [n, 1, S, S] of 0 and 1 that are taken as they are.
        correct: makes prompts for the frames in ``past.corrected`` from the logits found there.
        amp: opens the precision that the verbs run in.
    """
    behaviour = past.behaviour or model.behaviour
    memories = _Memories(past, behaviour, model.num_maskmem)
    found: list[MaskPrediction] = []
    usual, model.behaviour = model.behaviour, behaviour
    try:
        frames = features.embed.shape[1]
        for t in range(frames):
            here = features.frame(t)
            with amp():
                prediction, prompted = _see(model, here, t, first, memories=memories, report=report, correct=correct)
                found.append(prediction)
                if t + 1 < frames:
                    memory = model.encode_memory(here, prediction, prompted=prompted, dtype=torch.float32)
                    memories.add(t, memory, prompted=prompted)
    finally:
        model.behaviour = usual
    return found


def _see(
    model: SAM2Base,
    here: ImageFeatures,
    t: int,
    first: PromptBatch | Tensor,
    *,
    memories: _Memories,
    report: Report,
    correct: Callable[[int, Tensor], PromptBatch] | None,
) -> tuple[MaskPrediction, bool]:
    """The prediction for frame ``t``, and whether it was prompted."""
    if t == 0:
        if isinstance(first, Tensor):
            return model.mask_as_prediction(here, first), True
        embed, prompts, multimask = model.condition_on_nothing(here.embed), first, first.num_points == 1
    else:
        embed = model.fuse_memory(here, memories.context(t))
        prompts, multimask = PromptBatch.empty(len(embed), model.device), True
    candidates = model.decode_masks(embed, here.high_res, prompts, multimask=multimask)
    report(t, candidates)
    prediction = model.select_mask(candidates)
    if t == 0 or correct is None or t not in memories.past.corrected:
        return prediction, t == 0
    row = torch.arange(len(candidates.logits), device=model.device)
    ungated = candidates.logits[row, candidates.ious.argmax(-1)][:, None]
    candidates = model.decode_masks(embed, here.high_res, correct(t, ungated), multimask=True)
    report(t, candidates)
    return model.select_mask(candidates), True


def run_clip_step(
    model: SAM2Base,
    batch: ClipBatch,
    *,
    rng: np.random.Generator,
    past: Past,
    kind: PromptKind,
    config: NanoConfig,
) -> StepResult:
    """Prompt every object on its first frame in the way of ``kind``, track, and average the losses of all frames.

    ``ious`` of the result are those of the tracked frames: their mean and that of the last one.
    """
    device, size = model.device, model.image_size
    frames = batch.images.shape[1]
    # [T, n, S/2, S/2]
    truth_np = np.ascontiguousarray(batch.masks.transpose(0, 1).flatten(1, 2).numpy())
    truth = torch.from_numpy(truth_np).to(device)
    features = encode_clips(model, batch, config=config)
    first: PromptBatch | Tensor
    if kind == "mask":
        first = as_mask_prompt(truth[0], size)
    else:
        first = to_device(first_prompts(rng, truth_np[0], kind, image_size=size, config=config.simulation), device)

    totals: list[Tensor] = []
    terms: dict[str, float] = {"mask": 0.0, "dice": 0.0, "iou": 0.0, "presence": 0.0}
    overlaps: dict[int, float] = {}

    def report(t: int, candidates: MaskCandidates) -> None:
        logits = F.interpolate(candidates.logits, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        losses = prompt_losses(logits, candidates.ious, candidates.object_score, truth[t], config=config.loss)
        totals.append(losses.total)
        for name in terms:
            terms[name] += float(getattr(losses, name).detach())
        if t and t not in overlaps:
            overlaps[t] = _overlap(logits.detach(), candidates.ious, truth[t])

    def correct(t: int, logits: Tensor) -> PromptBatch:
        nothing = PromptBatch(masks=logits.detach())
        return corrected(rng, nothing, truth_np[t], logits, image_size=size, config=config.simulation)

    track(
        model,
        features,
        first,
        past=past,
        report=report,
        correct=correct,
        amp=lambda: precision(config, device, decoder=True, many_tokens=True),
    )
    loss = torch.stack(totals).mean()
    terms = {name: value / len(totals) for name, value in terms.items()}
    seen = [value for value in overlaps.values() if not math.isnan(value)]
    return StepResult(loss, [float(np.mean(seen)) if seen else math.nan, overlaps[frames - 1]], terms)


def as_mask_prompt(truth: Tensor, size: int) -> Tensor:
    """Masks [n, h, w] as the tracker takes them: [n, 1, size, size], 0 or 1."""
    resized = F.interpolate(truth[:, None].float(), size=(size, size), mode="bilinear", align_corners=False)
    return (resized >= 0.5).float()


def _overlap(logits: Tensor, ious: Tensor, truth: Tensor) -> float:
    """Mean IoU of the masks of best predicted IoU with the truth, where there is any."""
    there = truth.flatten(1).any(-1)
    best = logits[torch.arange(len(truth), device=truth.device), ious.argmax(-1)][:, None]
    return float(iou_per_mask(best, truth[:, None])[there].mean())
