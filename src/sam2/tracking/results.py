"""What tracking gives for a frame."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sam2.modeling.sam2_base import suppress_overlaps
from sam2.utils.masks import mask_areas, mask_boxes


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The masks of n objects on one frame. What is large is computed when it is asked for.

    Attributes:
        frame_idx: index of the frame.
        obj_ids: identifiers of the objects, in the order of their first prompts.
        low_res: [n, 1, S/4, S/4] float32 logits, holes filled; -1024 throughout where an object is absent.
        object_scores: [n] float32, > 0 where the model thinks that the object is there.
        ious: [n] float32, predicted; 0 for an object that is not tracked on this frame.
        size: (height, width) of the frame.
        non_overlap: give each pixel to one object at most.
    """

    frame_idx: int
    obj_ids: tuple[int, ...]
    low_res: Float[Tensor, "n 1 h w"]
    object_scores: Float[Tensor, " n"]
    ious: Float[Tensor, " n"]
    size: tuple[int, int]
    non_overlap: bool = False

    def __len__(self) -> int:
        return len(self.obj_ids)

    @cached_property
    def logits(self) -> Float[Tensor, "n 1 H W"]:
        """Logits at the size of the frame (bilinear), above 0 where the object is."""
        if not len(self.obj_ids):
            return self.low_res.new_zeros(0, 1, *self.size)
        full = F.interpolate(self.low_res, size=self.size, mode="bilinear", align_corners=False)
        return suppress_overlaps(full) if self.non_overlap else full

    @cached_property
    def masks(self) -> Bool[Tensor, "n H W"]:
        """Where each object is."""
        return self.logits[:, 0] > 0

    @cached_property
    def boxes(self) -> Int[Tensor, "n 4"]:
        """(x0, y0, x1, y1) in pixels, both ends inside; (W, H, -1, -1) for an empty mask."""
        return mask_boxes(self.masks)

    @cached_property
    def areas(self) -> Int[Tensor, " n"]:
        """Pixels of each mask."""
        return mask_areas(self.masks)

    def mask(self, obj_id: int) -> Bool[Tensor, "H W"]:
        """The mask of one object; ``KeyError`` if it is not in this result."""
        if obj_id not in self.obj_ids:
            raise KeyError(f"obj_id {obj_id} is not among {list(self.obj_ids)}")
        return self.masks[self.obj_ids.index(obj_id)]

    def as_tuple(self) -> tuple[int, list[int], Tensor]:
        """The official form: (frame_idx, obj_ids, logits [n, 1, H, W])."""
        return self.frame_idx, list(self.obj_ids), torch.as_tensor(self.logits)
