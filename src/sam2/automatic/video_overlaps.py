"""How much masks have in common, and which of them are new: plain functions of small masks.

Masks are compared as the tracker sees them, at a quarter of the model's input, whatever the size of the frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sam2.automatic.video_settings import VideoMaskSettings

Planes = npt.NDArray[np.float32]
"""[n, p] masks as 0 and 1, a row each: sums of products are areas, exactly."""

MEMBER_INSIDE = 0.75
MEMBER_OVERLAP = 0.1
MOST_OF_GROUP = 0.75
GROUP_FILLED = 0.8


def small_mask(mask: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.float32]:
    """A mask [H, W] as a row [side * side]: 1 where half of a cell is inside; of a thin mask, less."""
    shrunk = np.asarray(cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA))
    threshold = min(0.5, float(shrunk.max()) / 2)
    return ((shrunk >= threshold) & (shrunk > 0)).astype(np.float32).ravel()


def new_masks(found: Planes, ranks: Sequence[float], followed: Planes, settings: VideoMaskSettings) -> list[int]:
    """Rows of ``found`` that ``followed`` objects, and better rows, leave uncovered; the best one first.

    Args:
        found: [m, p] masks of a frame; empty ones are no objects.
        ranks: m numbers, of which a larger one goes first.
        followed: [n, p] masks of the objects that are followed.
    """
    areas = found.sum(1)
    known = list(followed)
    union = followed.max(0) if len(followed) else np.zeros(found.shape[1:], np.float32)
    chosen: list[int] = []
    for row in np.argsort(-np.asarray(ranks), kind="stable").tolist():
        mask, area = found[row], areas[row]
        if area == 0 or float(mask @ union) >= settings.new_object_coverage * area:
            continue
        if any(_iou(mask, other) >= settings.new_object_iou for other in known):
            continue
        chosen.append(row)
        known.append(mask)
        union = np.maximum(union, mask)
    return chosen


def without_groups(masks: Planes, scores: Sequence[float]) -> list[int]:
    """Rows of ``masks`` that are one thing: those that no two or more surer masks, apart from each other, fill.

    A mask that has run over several things may be rated nearly as high as they are; that they are rated higher, each
    by itself, tells it from a thing whose parts are less sure than the whole.

    Args:
        masks: [m, p].
        scores: m predicted IoUs.
    """
    common = masks @ masks.T
    areas = np.diag(common)
    by_score = np.argsort(-np.asarray(scores), kind="stable").tolist()
    single = []
    for row, (score, area) in enumerate(zip(scores, areas, strict=True)):
        members: list[int] = []
        for other in by_score:
            if scores[other] <= score:
                break
            inside = common[other, row] >= MEMBER_INSIDE * areas[other] > 0
            apart = all(common[other, member] <= MEMBER_OVERLAP * areas[other] for member in members)
            if inside and apart and areas[other] <= MOST_OF_GROUP * area:
                members.append(other)
        if len(members) < 2 or areas[members].sum() < GROUP_FILLED * area:
            single.append(row)
    return single


def same_masks(masks: Planes, threshold: float) -> list[tuple[int, int]]:
    """Pairs of rows (i < j) whose IoU is at least ``threshold``; empty masks are like nothing."""
    common = masks @ masks.T
    areas = np.diag(common)
    union = areas[:, None] + areas[None] - common
    like = (common >= threshold * union) & (union > 0)
    first, second = np.nonzero(np.triu(like, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _iou(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    common = float(first @ second)
    union = float(first.sum() + second.sum()) - common
    return common / union if union else 0.0
