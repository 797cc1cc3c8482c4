"""J and F, the two measures of the DAVIS challenges: how well regions overlap, and how well contours agree.

Written from their definition (Perazzi et al., CVPR 2016): J is the intersection over union of two masks, F the
F-measure of their boundaries, where a boundary pixel counts as found if the other boundary passes within 0.8 % of the
image's diagonal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY_TOLERANCE = 0.008
"""Share of the image's diagonal."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MaskQuality:
    """J and F of a mask, or their means, in 0..1."""

    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        """The mean of the two, by which methods are ranked."""
        return (self.j + self.f) / 2


def region_similarity(found: Mask, truth: Mask) -> float:
    """J: intersection over union of two masks [h, w]; 1 where both are empty.

    Raises ``ValueError`` where they differ in shape.
    """
    _check(found, truth)
    either = int((found | truth).sum())
    return int((found & truth).sum()) / either if either else 1.0


def boundary_measure(found: Mask, truth: Mask, *, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F: harmonic mean of the precision and recall of the boundary of ``found`` against that of ``truth``, [h, w].

    A mask without a boundary (empty, or the whole image) claims nothing: against such a truth F is 1, against any
    other 0.

    Args:
        tolerance: how far apart two boundaries may be, as a share of the image's diagonal, rounded up to whole pixels.

    Raises ``ValueError`` where the masks differ in shape.
    """
    _check(found, truth)
    reach = math.ceil(tolerance * math.hypot(*truth.shape))
    drawn, wanted = boundary(found), boundary(truth)
    claimed, expected = int(drawn.sum()), int(wanted.sum())
    if not claimed or not expected:
        return float(claimed == expected)
    precision = int((drawn & _grown(wanted, reach)).sum()) / claimed
    recall = int((wanted & _grown(drawn, reach)).sum()) / expected
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mask_quality(found: Mask, truth: Mask, *, void: Mask | None = None) -> MaskQuality:
    """J and F of ``found`` against ``truth``, both [h, w] bool; what lies in ``void`` belongs to neither."""
    if void is not None:
        found, truth = found & ~void, truth & ~void
    return MaskQuality(region_similarity(found, truth), boundary_measure(found, truth))


def recall(values: Sequence[float], *, threshold: float = 0.5) -> float:
    """Share of frames whose J (or F) is above ``threshold``, as DAVIS reports it."""
    return float(np.mean(np.asarray(values) > threshold))


def decay(values: Sequence[float], *, quarters: int = 4) -> float:
    """How much J (or F) falls from the first quarter of the frames to the last, as DAVIS reports it.

    Quarters share the frames at which they meet, so that clips with fewer than four frames have one as well.
    """
    ends = np.floor(np.linspace(0, len(values) - 1, quarters + 1) + 0.5).astype(int)
    first, last = np.asarray(values)[: ends[1] + 1], np.asarray(values)[ends[-2] :]
    return float(first.mean() - last.mean())


def boundary(mask: Mask) -> Mask:
    """Pixels of [h, w] that differ from their neighbour to the right, below, or both; the image's edge is no neighbour.

    Boundaries lie between pixels; this marks, as the benchmark does, the one above and to the left.
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _grown(edge: Mask, reach: int) -> Mask:
    axis = np.arange(-reach, reach + 1)
    disk = (axis[:, None] ** 2 + axis[None] ** 2 <= reach**2).astype(np.uint8)
    return cv2.dilate(edge.astype(np.uint8), disk) > 0


def _check(found: Mask, truth: Mask) -> None:
    if found.ndim != 2 or found.shape != truth.shape:
        raise ValueError(f"found and truth must be [h, w] masks of one size, got {found.shape} and {truth.shape}")
