"""What the n objects of a training batch remember of the frames seen so far, read by the rule of inference."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import select_memories
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import FrameMemory, MemoryContext
from sam2.train.prompts import PromptPlan


def training_behaviour(behaviour: Behaviour, plan: PromptPlan) -> Behaviour:
    """``behaviour`` as officially trained with.

    What the names end in ``_for_eval`` for is off (only the plan changes the stride), masks are remembered as
    probabilities unless the plan says otherwise, and objects are independent.
    """
    return replace(
        behaviour,
        memory_temporal_stride_for_eval=plan.stride,
        only_obj_ptrs_in_the_past_for_eval=False,
        binarize_mask_from_pts_for_mem_enc=plan.binarize,
        non_overlap_masks_for_mem_enc=False,
    )


@contextmanager
def behaving(model: SAM2Base, behaviour: Behaviour) -> Iterator[None]:
    """Let ``model`` behave in this way for a while."""
    usual, model.behaviour = model.behaviour, behaviour
    try:
        yield
    finally:
        model.behaviour = usual


@dataclass(slots=True)
class Memories:
    """Memories of n objects, all prompted on the same frames.

    Attributes:
        plan: what is forgotten, and how old the first prompt pretends to be.
        behaviour: how the past is read.
        num_maskmem: memories at most, less the prompted ones beyond the first.
        num_frames: of the clip, by which pointers' distances are scaled; None: as in a long video.
    """

    plan: PromptPlan
    behaviour: Behaviour
    num_maskmem: int
    num_frames: int | None
    frames: dict[int, FrameMemory] = field(default_factory=dict)
    prompted: list[int] = field(default_factory=list)

    def add(self, t: int, memory: FrameMemory, *, prompted: bool) -> None:
        """Remember frame ``t``; as a conditioning frame if it was prompted."""
        self.frames[t] = memory
        if prompted:
            self.prompted.append(t)

    def context(self, t: int) -> MemoryContext:
        """What frame ``t`` reads."""

        def remembered(index: int) -> bool:
            return index in self.frames and index not in self.prompted and index not in self.plan.dropped

        chosen = select_memories(
            t,
            self.prompted,
            remembered,
            behaviour=self.behaviour,
            num_maskmem=self.num_maskmem,
            num_frames=self.num_frames,
        )
        pointers = torch.stack([self.frames[i].pointer for i, _ in chosen.pointers], dim=1)
        distances = [float(d + (self.plan.gap if i == 0 else 0)) for i, d in chosen.pointers]
        return MemoryContext(
            torch.stack([self.frames[i].features for i, _ in chosen.memories], dim=1),
            chosen.slots,
            pointers,
            torch.tensor(distances, device=pointers.device).expand(len(pointers), -1),
            chosen.max_pointers,
        )
