"""The objective: a batch of clips in, the loss of the SAM 2 recipe out."""

from dataclasses import replace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.train.data.clip import ClipBatch
from sam2.train.losses import LossConfig, iou_per_mask, prompt_losses
from sam2.train.memories import behaving, training_behaviour
from sam2.train.parts import recomputed, running
from sam2.train.prompts import PromptConfig, draw_plan
from sam2.train.recipe import Answer, ClipFeatures, Simulation
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD

LOSS_STRIDES = (1, 2, 4)
TERMS = ("mask", "dice", "iou", "presence")


class Objective(nn.Module):
    """What is wrapped for training on several devices: the model, and the recipe that makes a loss of it.

    The loss is officially ``MultiStepMultiMasksAndIous``: the terms of every decoder call on every frame, summed, and
    divided by the number of objects a process has on average. Everything drawn follows from the batch's seeds.

    Args:
        model: is trained.
        prompts: the simulated user.
        loss: weights of the terms.
        loss_stride: side of the pixels at which losses are computed, 1, 2 or 4: 1 officially.
        frozen_encoder: trunk and neck are not trained (their parameters stop asking for gradients) and run in
            evaluation mode.
        activation_checkpointing: what the trunk, memory attention, the memory encoder, the decoder and the losses
            compute on the way is computed again in the backward pass in place of being kept.

    Raises:
        ValueError: ``loss_stride`` is another one.
    """

    def __init__(
        self,
        model: SAM2Base,
        *,
        prompts: PromptConfig,
        loss: LossConfig,
        loss_stride: int = 1,
        frozen_encoder: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if loss_stride not in LOSS_STRIDES:
            raise ValueError(f"loss_stride must be 1, 2 or 4, got {loss_stride!r}")
        self.model = model
        self.prompts = prompts
        self.loss = loss
        self.loss_stride = loss_stride
        self.frozen_encoder = frozen_encoder
        self.activation_checkpointing = activation_checkpointing
        if frozen_encoder:
            model.image_encoder.requires_grad_(False)
        self.train(model.training)

    def train(self, mode: bool = True) -> "Objective":
        """As of every module; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen_encoder:
            self.model.image_encoder.eval()
        return self

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Scalars on the model's device, of which "loss" alone can be differentiated.

        "mask", "dice", "iou" and "presence" are the terms, unweighted; "first_iou" and "last_iou" mean IoUs of frames'
        first and last answers with the truth, where there is any (0 without); "objects" their number in this process.

        A batch without objects runs with one that is nowhere, whose loss counts nothing: its gradients are zeros in
        the same parts that other processes' batches use, so that none waits for another. Parts that no batch of a
        step uses (memory, where there are stills only) get no gradient at all, as officially: DDP needs
        ``find_unused_parameters=True``.

        Raises:
            ValueError: frames are not of the model's size.
        """
        if batch.images.shape[2] != self.model.image_size:
            raise ValueError(
                f"frames must be of the model's size, {self.model.image_size} px, got {batch.images.shape[2]}"
            )
        batch = batch.to(self.model.device, non_blocking=True)
        count = len(batch.seeds)
        objects = world_average(count, self.model.device)
        scores = _Scores(self.model.device)
        self._run(batch if count else _with_nobody(batch), objects, scores)
        found = scores.report()
        found["loss"] = self._connected(scores.terms["loss"])
        if not count:
            found = {name: 0 * value for name, value in found.items()}
        return {**found, "objects": torch.tensor(float(count), device=self.model.device)}

    def encode(self, batch: ClipBatch) -> ImageFeatures:
        """Features of all frames at once, [b * T] rows, the frames of a clip in a row; those that are kept, if any."""
        if batch.maps:
            embed, fine, middle = (part.float() for part in batch.maps)
            position = self.model.image_encoder.neck.position_encoding.table(
                embed.shape[-2], embed.shape[-1], embed.device
            )
            return ImageFeatures(embed, (fine, middle), position)
        return self.model.encode_image(normalised(batch.images.flatten(0, 1)))

    def _connected(self, loss: Tensor) -> Tensor:
        """``loss``, which depends on some parameter even where the batch has used none that is trained."""
        trained = next((p for p in self.parameters() if p.requires_grad), None)
        if trained is None or loss.requires_grad or not torch.is_grad_enabled():
            return loss
        return loss + 0 * trained.sum()

    def _run(self, batch: ClipBatch, objects: Tensor, scores: "_Scores") -> None:
        model = self.model
        plan = draw_plan(self.prompts, batch.frames, batch.step_seed)
        keeping = running(
            model, frozen_encoder=self.frozen_encoder, activation_checkpointing=self.activation_checkpointing
        )
        with keeping, behaving(model, training_behaviour(model.behaviour, plan)):
            features = ClipFeatures.of(self.encode(batch), len(batch), batch.clip_of)
            simulation = Simulation(model, features, batch.masks, batch.seeds, plan, self.prompts)
            targets = [strided(truth, self.loss_stride) for truth in batch.masks]
            for answer in simulation.answers():
                scores.add_terms(self._losses(answer, targets[answer.frame], objects))
                scores.add_overlap(answer, batch.masks[answer.frame])

    def _losses(self, answer: Answer, truth: Tensor, objects: Tensor) -> dict[str, Tensor]:
        """The terms of one answer, and "loss", their weighted sum. In float32 whatever surrounds it."""

        def compute(logits: Tensor, ious: Tensor, presence: Tensor) -> dict[str, Tensor]:
            with torch.autocast(logits.device.type, enabled=False):
                shown = F.interpolate(logits.float(), size=truth.shape[-2:], mode="bilinear", align_corners=False)
                losses = prompt_losses(
                    shown, ious.float(), presence.float(), truth, config=self.loss, num_objects=objects
                )
            return {"loss": losses.total, **{name: getattr(losses, name) for name in TERMS}}

        found = answer.candidates
        call = recomputed(compute) if self.activation_checkpointing else compute
        return call(answer.prediction.candidates if self.loss.gated else found.logits, found.ious, found.object_score)


class _Scores:
    """Sums over the answers of a batch."""

    def __init__(self, device: torch.device) -> None:
        self.terms = {name: torch.zeros((), device=device) for name in ("loss", *TERMS)}
        self.overlaps = {name: torch.zeros((), device=device) for name in ("first_iou", "last_iou")}
        self.counts = {name: torch.zeros((), device=device) for name in self.overlaps}

    def add_terms(self, terms: dict[str, Tensor]) -> None:
        for name, value in terms.items():
            self.terms[name] = self.terms[name] + (value if name == "loss" else value.detach())

    @torch.no_grad()
    def add_overlap(self, answer: Answer, truth: Bool[Tensor, "n s s"]) -> None:
        if not (answer.first or answer.last):
            return
        there = truth.flatten(1).any(dim=1)
        overlap = iou_per_mask(answer.prediction.high_res_logits, truth[:, None])[:, 0]
        for name, wanted in (("first_iou", answer.first), ("last_iou", answer.last)):
            if wanted:
                self.overlaps[name] += (overlap * there).sum()
                self.counts[name] += there.sum()

    def report(self) -> dict[str, Tensor]:
        means = {name: value / self.counts[name].clamp(min=1) for name, value in self.overlaps.items()}
        return {**{name: self.terms[name] for name in TERMS}, **means}


def _with_nobody(batch: ClipBatch) -> ClipBatch:
    """A batch without objects, with one that is nowhere."""
    one = batch.clip_of.new_zeros(1)
    return replace(batch, masks=batch.masks.new_zeros(batch.frames, 1, *batch.masks.shape[2:]), clip_of=one, seeds=one)


def world_average(count: int, device: torch.device) -> Float[Tensor, ""]:
    """``count`` averaged over processes, at least one altogether. Every process must call this.

    Officially the average is at least 1 (a process with half an object would then learn at half the rate).
    """
    total = torch.tensor(float(count), device=device)
    processes = 1
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        processes = dist.get_world_size()
    return total.clamp(min=1) / processes


def normalised(images: Tensor) -> Float[Tensor, "b 3 s s"]:
    """[b, S, S, 3] uint8 to the network's input, float32."""
    pixels = images.float() / 255
    mean, std = (torch.tensor(values, device=images.device) for values in (IMAGE_MEAN, IMAGE_STD))
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


def strided(truth: Bool[Tensor, "n s s"], stride: int) -> Bool[Tensor, "n t t"]:
    """Masks on pixels of ``stride``, of which at least half is covered, or any part where none is."""
    if stride == 1:
        return truth
    share = F.avg_pool2d(truth[:, None].float(), stride)[:, 0]
    half = share >= 0.5
    return torch.where(half.flatten(1).any(dim=1)[:, None, None], half, share > 0)
