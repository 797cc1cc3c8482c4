"""The records that the five verbs of :class:`sam2.modeling.sam2_base.SAM2Base` take and return.

Frozen, slotted, and they check their own ranks, so that a wrong layout fails where it is made and not three
modules later. Axes: n objects, b images, m candidate masks, p points, c channels, h x w cells of the stride-16 grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

LOW_RES_LIMIT = 32.0
"""Low-resolution logits are clamped to this before users get them or they become a mask prompt, as officially."""


def _check_rank(owner: str, name: str, value: Tensor | None, rank: int) -> None:
    if value is not None and value.ndim != rank:
        raise ValueError(f"{owner}.{name} must have {rank} dimensions, got shape {tuple(value.shape)}")


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the trunk and neck say of b images.

    Attributes:
        embed: [b, c, h, w], stride 16, without the no-memory embedding.
        high_res: ([b, c/8, 4h, 4w], [b, c/4, 2h, 2w]), already projected by the decoder's ``conv_s0`` and ``conv_s1``.
        position: [1, c, h, w], the sine position code of ``embed``.
    """

    embed: Tensor
    high_res: tuple[Tensor, Tensor]
    position: Tensor

    def __post_init__(self) -> None:
        _check_rank("ImageFeatures", "embed", self.embed, 4)
        _check_rank("ImageFeatures", "position", self.position, 4)
        for level in self.high_res:
            _check_rank("ImageFeatures", "high_res", level, 4)

    def __len__(self) -> int:
        return len(self.embed)

    def __getitem__(self, rows: slice) -> "ImageFeatures":
        """The features of some of the images."""
        fine, middle = self.high_res
        return ImageFeatures(self.embed[rows], (fine[rows], middle[rows]), self.position)

    def repeat(self, counts: list[int]) -> "ImageFeatures":
        """Image i, ``counts[i]`` times in a row: one row per object."""
        if len(counts) != len(self):
            raise ValueError(f"counts must have one entry per image ({len(self)}), got {len(counts)}")
        index = torch.repeat_interleave(torch.tensor(counts)).to(self.embed.device)
        fine, middle = self.high_res
        return ImageFeatures(self.embed[index], (fine[index], middle[index]), self.position)


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts of n objects, all with the same number of points (padding is not neutral: batch equal lengths).

    Attributes:
        points: [n, p, 2] float32, (x, y) in pixels of the model's square input. A box is its two corners, placed
            before the clicks, with labels 2 and 3.
        labels: [n, p] int, -1 not a point, 0 background, 1 foreground, 2 and 3 box corners.
        masks: [n, 1, 4h, 4w] mask logits, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        _check_rank("PromptBatch", "points", self.points, 3)
        _check_rank("PromptBatch", "labels", self.labels, 2)
        _check_rank("PromptBatch", "masks", self.masks, 4)
        if (self.points is None) != (self.labels is None):
            raise ValueError("PromptBatch needs points and labels together")
        if self.points is not None and self.labels is not None and self.points.shape[:2] != self.labels.shape:
            raise ValueError(
                f"PromptBatch.labels must have shape {tuple(self.points.shape[:2])}, got {tuple(self.labels.shape)}"
            )
        if self.points is None and self.masks is None:
            raise ValueError("PromptBatch needs points or masks")

    def __len__(self) -> int:
        return len(self.points) if self.points is not None else len(self.masks)  # type: ignore[arg-type]

    @property
    def num_points(self) -> int:
        """Points per object; a box counts 2."""
        return 0 if self.points is None else self.points.shape[1]

    @staticmethod
    def empty(n: int, device: torch.device | str = "cpu") -> "PromptBatch":
        """No prompt, as the tracker states it: one point (0, 0) with label -1 per object."""
        return PromptBatch(torch.zeros(n, 1, 2, device=device), -torch.ones(n, 1, dtype=torch.int32, device=device))


@dataclass(frozen=True, slots=True)
class MaskCandidates:
    """What the decoder proposes for n objects, before anything is chosen.

    Attributes:
        logits: [n, m, 4h, 4w] float32.
        ious: [n, m] float32, predicted IoU of each candidate.
        tokens: [n, m, c] (or [n, 1, c] for a single mask), the output tokens that object pointers are made of.
        object_score: [n, 1] float32, > 0 means that the object is there.
    """

    logits: Tensor
    ious: Tensor
    tokens: Tensor
    object_score: Tensor

    def __post_init__(self) -> None:
        _check_rank("MaskCandidates", "logits", self.logits, 4)
        _check_rank("MaskCandidates", "ious", self.ious, 2)
        _check_rank("MaskCandidates", "tokens", self.tokens, 3)
        _check_rank("MaskCandidates", "object_score", self.object_score, 2)


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """One mask per object, chosen and gated by the object score.

    Attributes:
        logits: [n, 1, 4h, 4w] float32, -1024 throughout where the object is absent.
        high_res_logits: [n, 1, 16h, 16w] float32, the same at the model's input size; what memory is made of.
        iou: [n, 1] float32.
        pointer: [n, c], the object pointer.
        object_score: [n, 1] float32.
        candidates: [n, m, 4h, 4w] float32, all gated candidates (``logits`` is one of them).
        candidate_ious: [n, m] float32.
    """

    logits: Tensor
    high_res_logits: Tensor
    iou: Tensor
    pointer: Tensor
    object_score: Tensor
    candidates: Tensor
    candidate_ious: Tensor

    def __post_init__(self) -> None:
        for name, rank in (("logits", 4), ("high_res_logits", 4), ("iou", 2), ("pointer", 2), ("object_score", 2)):
            _check_rank("MaskPrediction", name, getattr(self, name), rank)

    def __getitem__(self, rows: slice) -> "MaskPrediction":
        """The predictions of some of the objects."""
        return MaskPrediction(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def stack(parts: Sequence["MaskPrediction"]) -> "MaskPrediction":
        """The objects of all ``parts``, of which there is at least one, in one record."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(MaskPrediction)]
        return MaskPrediction(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class FrameMemory:
    """What is kept of a frame for n objects.

    Attributes:
        features: [n, d, h, w], bfloat16 by default, as officially in every precision.
        pointer: [n, c].
        object_score: [n, 1].
    """

    features: Tensor
    pointer: Tensor
    object_score: Tensor

    def __post_init__(self) -> None:
        _check_rank("FrameMemory", "features", self.features, 4)
        _check_rank("FrameMemory", "pointer", self.pointer, 2)
        _check_rank("FrameMemory", "object_score", self.object_score, 2)


@dataclass(frozen=True, slots=True)
class MemoryContext:
    """The past that n objects attend to, lengths equal across objects.

    Attributes:
        features: [n, k, d, h, w], k memories, prompted frames first, then oldest to newest.
        time_slots: k indices into ``maskmem_tpos_enc``: ``num_maskmem - 1`` for prompted frames, 0 for the previous
            frame, 5 for six frames ago.
        pointers: [n, p, c], object pointers of past frames.
        pointer_distances: [n, p] float32, frames between each pointer's frame and this one (signed where the
            behaviour says so).
        max_pointers: what distances are divided by (less one): ``min(num_frames, 16)`` officially, 16 in a stream.
    """

    features: Tensor
    time_slots: tuple[int, ...]
    pointers: Tensor
    pointer_distances: Tensor
    max_pointers: int

    def __post_init__(self) -> None:
        _check_rank("MemoryContext", "features", self.features, 5)
        _check_rank("MemoryContext", "pointers", self.pointers, 3)
        _check_rank("MemoryContext", "pointer_distances", self.pointer_distances, 2)
        if self.features.shape[1] != len(self.time_slots):
            raise ValueError(
                f"MemoryContext.time_slots must have {self.features.shape[1]} entries, got {len(self.time_slots)}"
            )
