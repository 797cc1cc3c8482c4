"""What one frame gave for one object, and what the user said of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam2.modeling.types import PromptBatch


@dataclass(frozen=True, slots=True, eq=False)
class FramePrompt:
    """What the user gave for one object on one frame: points (a box is its two corners, first), or a mask.

    Attributes:
        points: [p, 2] float32, (x, y) in pixels of the model's square input.
        labels: [p] int32: 1 foreground, 0 background, 2 and 3 box corners.
        mask: [S, S] bool, at the model's input size; never together with points.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points is None) == (self.mask is None) or (self.points is None) != (self.labels is None):
            raise ValueError("FramePrompt needs points with labels, or a mask")

    def followed_by(self, points: Tensor, labels: Tensor) -> "FramePrompt":
        """These points with more after them; a mask gives way."""
        if self.points is None or self.labels is None:
            return FramePrompt(points, labels)
        return FramePrompt(torch.cat((self.points, points)), torch.cat((self.labels, labels)))

    def as_batch(self, device: torch.device, logits: Tensor | None = None) -> PromptBatch:
        """The points as a batch of one, with ``logits`` [1, 1, h, w] as mask prompt."""
        if self.points is None or self.labels is None:
            raise ValueError("a mask prompt has no points")
        return PromptBatch(self.points[None].to(device), self.labels[None].to(device), logits)


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """One object on one frame; every tensor has one row.

    Attributes:
        logits: [1, 1, S/4, S/4] float32, as shown: holes are filled, -1024 where the object is absent. None once only
            memory is kept.
        raw: the same before holes were filled: what a tracked frame's memory is made of.
        iou: [1, 1] float32, predicted.
        object_score: [1, 1] float32, > 0 where the object is there.
        pointer: [1, C].
        memory: [1, d, S/16, S/16]; None until it is encoded, or once it is not read any more.
    """

    logits: Tensor | None
    raw: Tensor | None
    iou: Tensor
    object_score: Tensor
    pointer: Tensor
    memory: Tensor | None = None

    def with_memory(self, memory: Tensor) -> "FrameOutput":
        """The same with its memory."""
        return replace(self, memory=memory)

    def without_masks(self) -> "FrameOutput":
        """What later frames read: memory, pointer and scores."""
        return replace(self, logits=None, raw=None)

    def without_memory(self) -> "FrameOutput":
        """All but the memory."""
        return replace(self, memory=None)

    def to(self, device: torch.device | str) -> "FrameOutput":
        """The same on another device."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        # The two stay one tensor where they are one: that is how its bytes are counted, and written, once.
        logits = moved(self.logits)
        return FrameOutput(
            logits,
            logits if self.raw is self.logits else moved(self.raw),
            self.iou.to(device),
            self.object_score.to(device),
            self.pointer.to(device),
            moved(self.memory),
        )

    @property
    def num_bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = [self.logits, self.iou, self.object_score, self.pointer, self.memory]
        tensors += [] if self.raw is self.logits else [self.raw]
        return sum(x.numel() * x.element_size() for x in tensors if x is not None)
