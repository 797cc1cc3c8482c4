"""Non-maximum suppression: of things that overlap too much, the better one stays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sam2.interop.rle import Rle, common_area, mask_area, mask_edges


def box_nms(boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.int64]:
    """Which boxes stay, best first, as torchvision's ``nms`` (which is not needed) has it.

    Args:
        boxes: [n, 4] (x0, y0, x1, y1).
        scores: [n]; of equal ones, the first counts as better.
        threshold: a box goes if its IoU with a better one that stays is above this.
    """
    order = np.argsort(-scores, kind="stable")
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides[:, 0] * sides[:, 1]
    alive = np.ones(len(boxes), bool)
    kept = []
    for place, row in enumerate(order):
        if not alive[row]:
            continue
        kept.append(row)
        rest = order[place + 1 :]
        corners = np.maximum(boxes[rest, :2], boxes[row, :2]), np.minimum(boxes[rest, 2:], boxes[row, 2:])
        overlap = np.maximum(corners[1] - corners[0], 0).prod(axis=1)
        union = areas[rest] + areas[row] - overlap
        # boxes of one pixel's width have no area here, as officially: they overlap nothing
        alive[rest[overlap > threshold * union]] = False
    return np.array(kept, np.int64)


def mask_nms(rles: Sequence[Rle], scores: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.int64]:
    """Which masks stay, best first: a mask goes if its IoU with a better one that stays is above ``threshold``.

    Masks whose boxes and areas already rule that out are not compared. All have one size.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = np.array([mask_edges(rle) for rle in rles], np.int64).reshape(-1, 4)
    areas = np.array([mask_area(rle) for rle in rles], np.int64)
    kept: list[int] = []
    for row in order:
        rivals = np.array(kept, np.int64)
        corners = np.maximum(boxes[rivals, :2], boxes[row, :2]), np.minimum(boxes[rivals, 2:], boxes[row, 2:])
        common = np.minimum(np.maximum(corners[1] - corners[0], 0).prod(axis=1), np.minimum(areas[rivals], areas[row]))
        possible = rivals[common > threshold * (areas[rivals] + areas[row] - common)]
        if not any(mask_iou(rles[row], rles[rival]) > threshold for rival in possible):
            kept.append(int(row))
    return np.array(kept, np.int64)


def mask_iou(first: Rle, second: Rle) -> float:
    """Intersection over union of two masks of one size, in pixels; 0 where both are empty."""
    common = common_area(first, second)
    union = mask_area(first) + mask_area(second) - common
    return common / union if union else 0.0
