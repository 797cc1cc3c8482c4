"""The course of one training clip: prompts, tracking, corrections, by the verbs that inference calls."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import LOW_RES_LIMIT, ImageFeatures, MaskCandidates, MaskPrediction, PromptBatch
from sam2.train.memories import Memories
from sam2.train.prompts import PromptConfig, PromptPlan
from sam2.train.simulate_clicks import click, first_box, joined, keys_of, sketch


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Features of b clips of T frames, and whose objects are to be seen in them.

    Attributes:
        frames: T records of b rows.
        clip_of: [n] int64, the row of each object.
    """

    frames: tuple[ImageFeatures, ...]
    clip_of: Tensor

    @staticmethod
    def of(features: ImageFeatures, clips: int, clip_of: Tensor) -> "ClipFeatures":
        """``features`` of all frames, [b * T] rows, the frames of a clip in a row, as those of ``clips`` clips."""
        parts = (features.embed, *features.high_res)
        embed, fine, middle = (part.unflatten(0, (clips, -1)).unbind(1) for part in parts)
        frames = (ImageFeatures(e, (f, m), features.position) for e, f, m in zip(embed, fine, middle, strict=True))
        return ClipFeatures(tuple(frames), clip_of)

    def frame(self, t: int) -> ImageFeatures:
        """The features of frame ``t``, a row per object; one row for all where there is one clip."""
        here = self.frames[t]
        if len(here) == 1:
            return here
        fine, middle = here.high_res
        rows = self.clip_of
        return ImageFeatures(
            here.embed.index_select(0, rows), (fine.index_select(0, rows), middle.index_select(0, rows)), here.position
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What one decoder call gave.

    Attributes:
        frame: where.
        first: it is the frame's first answer.
        last: it is the frame's last one, which is remembered.
        candidates: before they are gated by the object score.
        prediction: what became of them.
    """

    frame: int
    first: bool
    last: bool
    candidates: MaskCandidates
    prediction: MaskPrediction


@dataclass(frozen=True, slots=True)
class Simulation:
    """A batch and its simulated user.

    Attributes:
        truth: [T, n, S, S] bool.
        seeds: [n] int64.
    """

    model: SAM2Base
    features: ClipFeatures
    truth: Tensor
    seeds: Tensor
    plan: PromptPlan
    config: PromptConfig

    def answers(self) -> Iterator[Answer]:
        """Every decoder call, in order: frames with a first prompt, then the others.

        A frame whose mask is given is not among them: nothing is predicted there, and its loss is constant.
        """
        model, plan, count = self.model, self.plan, len(self.truth)
        length = None if self.config.past.long_video else count
        memories = Memories(plan, model.behaviour, model.num_maskmem, length)
        order = plan.order(count)
        for t in order:
            here = self.features.frame(t)
            if plan.first.get(t) == "mask":
                prediction = model.mask_as_prediction(here, self.truth[t, :, None].float())
            else:
                prediction = yield from self._predicted(t, here, memories)
            prompted = t in plan.first or t in plan.corrected
            if t != order[-1] and (prompted or t not in plan.dropped):
                memory = model.encode_memory(here, prediction, prompted=prompted, dtype=torch.float32)
                memories.add(t, memory, prompted=prompted)

    def _predicted(self, t: int, here: ImageFeatures, memories: Memories) -> Generator[Answer, None, MaskPrediction]:
        """Answers on frame ``t``: to its first prompt or to none, then to each correction. Returns the last one."""
        starts, clicks = t in self.plan.first, self.plan.corrected.get(t, ())
        if starts:
            embed, prompts = self.model.condition_on_nothing(here.embed), self._first_prompt(t)
        else:
            embed, prompts = self.model.fuse_memory(here, memories.context(t)), None
        conditioned = ImageFeatures(embed, here.high_res, here.position)
        candidates, prediction = self._decoded(conditioned, prompts, is_first=starts)
        yield Answer(t, True, not clicks, candidates, prediction)
        for number, anywhere in enumerate(clicks, start=1):
            prompts = self._corrected(t, number, prompts, None if anywhere else prediction, prediction.logits)
            candidates, prediction = self._decoded(conditioned, prompts, is_first=starts)
            yield Answer(t, False, number == len(clicks), candidates, prediction)
        return prediction

    def _decoded(
        self, conditioned: ImageFeatures, prompts: PromptBatch | None, *, is_first: bool
    ) -> tuple[MaskCandidates, MaskPrediction]:
        model = self.model
        points = 0 if prompts is None else prompts.num_points
        multimask = model.behaviour.proposes_several(points, is_first=is_first)
        candidates = model.decode_masks(
            conditioned.embed,
            conditioned.high_res,
            PromptBatch.empty(len(self.seeds), self.seeds.device) if prompts is None else prompts,
            multimask=multimask,
            prompt_hints=self.plan.hints,
        )
        return candidates, model.select_mask(candidates)

    def _first_prompt(self, t: int) -> PromptBatch:
        keys, truth = keys_of(self.seeds, t, 0), self.truth[t]
        kind = self.plan.first[t]
        if kind == "box":
            return first_box(keys, truth, config=self.config)
        if kind == "sketch":
            return sketch(keys, truth)
        return click(keys, truth, None, centre_share=self.config.centre_share)

    def _corrected(
        self, t: int, number: int, prompts: PromptBatch | None, shown: MaskPrediction | None, logits: Tensor
    ) -> PromptBatch:
        """``prompts`` and one click more, where ``shown`` is wrong, or anywhere in the truth."""
        wrong = None if shown is None else shown.high_res_logits[:, 0].detach() > 0
        keys = keys_of(self.seeds, t, number)
        more = click(keys, self.truth[t], wrong, centre_share=self.config.centre_share)
        logits = logits.detach() if self.config.detach_logits else logits
        return joined(prompts, more, logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT))
