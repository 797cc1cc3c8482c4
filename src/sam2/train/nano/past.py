"""What training clips remember of their frames: the past of a long video, acted out in a few frames."""

from dataclasses import dataclass, replace

import numpy as np

from sam2.modeling.config import Behaviour


@dataclass(frozen=True, slots=True, kw_only=True)
class PastConfig:
    """How the past of a training clip is made to look like that of a long video. Shares are probabilities.

    Attributes:
        correct_share: clips with a frame that is corrected by a click.
        drop_share: clips of which some memories are missing; each is then dropped with ``drop``.
        gap_share: clips whose first prompt pretends to be up to ``max_gap`` frames older than it is.
        stride_share: clips that remember every second frame.
        binarize_share: clips whose prompted masks are remembered as 0 and 1.
    """

    correct_share: float = 0.3
    drop_share: float = 0.3
    drop: float = 0.4
    gap_share: float = 0.4
    max_gap: int = 120
    stride_share: float = 0.15
    binarize_share: float = 0.7


@dataclass(frozen=True, slots=True)
class Past:
    """How one clip is remembered; see :class:`PastConfig`. The default is plain inference.

    Attributes:
        corrected: frames that are corrected.
        dropped: frames that are not remembered.
        gap: frames by which the first prompt pretends to be older.
        behaviour: None for the model's own.
    """

    corrected: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    gap: int = 0
    behaviour: Behaviour | None = None


def draw_past(rng: np.random.Generator, frames: int, behaviour: Behaviour, *, config: PastConfig) -> Past:
    """How a training clip of ``frames`` is remembered."""
    fixed: tuple[int, ...] = ()
    if frames > 2 and rng.random() < config.correct_share:
        fixed = (int(rng.integers(1, frames - 1)),)
    dropped: tuple[int, ...] = ()
    if rng.random() < config.drop_share:
        dropped = tuple(t for t in range(1, frames) if rng.random() < config.drop)
    gap = int(np.exp(rng.uniform(0, np.log(config.max_gap)))) if rng.random() < config.gap_share else 0
    behaviour = replace(
        behaviour,
        memory_temporal_stride_for_eval=2 if rng.random() < config.stride_share else 1,
        binarize_mask_from_pts_for_mem_enc=bool(rng.random() < config.binarize_share),
    )
    return Past(fixed, tuple(t for t in dropped if t not in fixed), gap, behaviour)
