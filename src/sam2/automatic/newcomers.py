"""Which of the masks that are found on a key frame are objects that nobody follows yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam2.automatic.proposals import MaskProposal

Grid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What makes a mask a new object.

    Attributes:
        covered_below: a mask is new if less than this share of it is covered by objects that are there.
        iou_below: and if its IoU with each of them is below this.
        min_area, max_area: as shares of the frame: specks, and the ground on which everything stands, are no objects.
    """

    covered_below: float = 0.5
    iou_below: float = 0.5
    min_area: float = 5e-4
    max_area: float = 0.8

    def __post_init__(self) -> None:
        for name in ("covered_below", "iou_below", "min_area", "max_area"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")
        if self.min_area > self.max_area:
            raise ValueError(f"min_area must not be above max_area, got {self.min_area} and {self.max_area}")


def find_newcomers(
    proposals: Sequence[MaskProposal], known: Grid, rules: Rules, *, limit: int | None = None
) -> list[MaskProposal]:
    """The proposals that are new objects, at most ``limit``.

    They are taken by predicted IoU times the root of their area, so that a thing comes before its parts: what lies
    inside one that was taken is covered by then.

    Args:
        proposals: of one frame.
        known: [n, s, s], the masks of the objects that are there, on a square grid.
        limit: None for any number.
    """
    side = known.shape[-1]
    new: list[MaskProposal] = []
    masks = list(known)
    covered = known.any(axis=0) if len(known) else np.zeros((side, side), bool)
    for proposal in sorted(proposals, key=lambda found: -found.predicted_iou * found.area**0.5):
        if limit is not None and len(new) >= limit:
            break
        height, width = proposal.rle["size"]
        frame = height * width
        if not rules.min_area * frame <= proposal.area <= rules.max_area * frame:
            continue
        mask = on_grid(proposal.mask(), side)
        area = int(mask.sum())
        if not area or int((mask & covered).sum()) >= rules.covered_below * area:
            continue
        if any(grid_iou(mask, other) >= rules.iou_below for other in masks):
            continue
        new.append(proposal)
        masks.append(mask)
        covered = covered | mask
    return new


def on_grid(mask: Grid, side: int) -> Grid:
    """A mask [h, w] on a square grid: set where it covers half of a cell, and where else it would vanish, any of it."""
    share = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    cells = np.asarray(share >= 0.5)
    return cells if cells.any() else np.asarray(share > 0)


def grid_iou(first: Grid, second: Grid) -> float:
    """Intersection over union; 0 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0
