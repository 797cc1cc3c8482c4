"""What the user of a training clip does: which frames are prompted, how, and which are corrected.

A plan holds for a whole batch, because objects that are decoded together have equally many points (padding is not
neutral). It follows from the batch's ``step_seed`` alone, so that processes that share a step agree on it. Where clicks
fall is each object's own affair: :mod:`sam2.train.simulate_clicks`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sam2.train.data.clip import mixed_seed

PromptKind = Literal["click", "box", "mask", "sketch"]
"""A first prompt. "mask" is taken as it is (``mask_as_prediction``), "sketch" is a poor mask that the decoder reads."""

_SHARES = (
    "point_share",
    "box_share",
    "still_point_share",
    "still_box_share",
    "truth_share",
    "centre_share",
    "no_hints",
)
_COUNTS = ("corrected_frames", "corrections", "still_corrections")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastConfig:
    """How the past of a clip is made to look like that of a long video. Shares are of clips; all is off officially.

    Attributes:
        drop_share: share of which some memories are missing: each frame that was not prompted is then forgotten with
            probability ``drop``.
        gap_share: share whose first prompt pretends to be up to ``max_gap`` frames older than it is.
        stride_share: share that remembers every second frame.
        binarize_share: share whose prompted masks are remembered as 0 and 1, as the video predictor remembers them.
        long_video: pointers' distances are scaled as in videos of 16 frames and more, whatever the clip's length.
    """

    drop_share: float = 0.0
    drop: float = 0.4
    gap_share: float = 0.0
    max_gap: int = 120
    stride_share: float = 0.0
    binarize_share: float = 0.0
    long_video: bool = False

    def __post_init__(self) -> None:
        _check_shares(self, ("drop_share", "drop", "gap_share", "stride_share", "binarize_share"))
        if self.max_gap < 1:
            raise ValueError(f"max_gap must be at least 1, got {self.max_gap}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """The simulated user. Shares are probabilities; the defaults are the official fine-tuning recipe's.

    Attributes:
        point_share: clips that start from a box or a click; the others start from masks, and are not corrected.
        box_share: of those, frames that start from a box.
        still_point_share, still_box_share: the same for stills. What does not start from a box or a click starts from
            a sketch there: a poor mask as the decoder's mask prompt. Officially there is none.
        init_frames: frames with a first prompt, at most: the clip's first one, and others anywhere after it.
        random_init_frames: 1 to ``init_frames`` of them, drawn; else exactly so many.
        corrected_frames: frames that are corrected, at most: those with a first prompt, then others anywhere. They
            become conditioning frames.
        random_corrected_frames: as many as have a first prompt, to ``corrected_frames`` of them, drawn.
        corrections: clicks on each corrected frame, each with the logits before it as mask prompt.
        still_corrections: the same for stills.
        random_corrections: 0 to so many clicks, drawn for the whole batch.
        truth_share: of these clicks, those that fall anywhere in the true mask rather than in the error.
        centre_share: of all clicks, those in the middle of their region (the point furthest from its border) rather
            than anywhere in it.
        box_noise: most that a box's side is moved, as a share of the box's width or height.
        box_noise_limit: the same, in pixels of an image of 1024.
        detach_logits: stop gradients at the logits that become a mask prompt; officially they pass.
        no_hints: batches that go without the high-resolution part of drawn prompts, in models that draw them.
        past: what clips remember.
    """

    point_share: float = 0.5
    box_share: float = 0.5
    still_point_share: float = 1.0
    still_box_share: float = 0.5
    init_frames: int = 2
    random_init_frames: bool = True
    corrected_frames: int = 2
    random_corrected_frames: bool = True
    corrections: int = 7
    still_corrections: int = 7
    random_corrections: bool = False
    truth_share: float = 0.1
    centre_share: float = 0.0
    box_noise: float = 0.1
    box_noise_limit: float = 20.0
    detach_logits: bool = False
    no_hints: float = 0.0
    past: PastConfig = field(default_factory=PastConfig)

    def __post_init__(self) -> None:
        _check_shares(self, _SHARES)
        if self.init_frames < 1:
            raise ValueError(f"init_frames must be at least 1, got {self.init_frames}")
        for name in (*_COUNTS, "box_noise", "box_noise_limit"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def _check_shares(owner: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(owner, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be within 0 to 1, got {value}")


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """What is done to one batch.

    Attributes:
        first: the first prompt of each frame that has one, the clip's first frame first.
        corrected: for each corrected frame, one entry a click: whether it falls anywhere in the truth.
        hints: whether the high-resolution part of drawn prompts is used.
        dropped: frames that are not remembered.
        gap: frames by which the first prompt pretends to be older.
        stride: of the frames that are remembered.
        binarize: prompted masks are remembered as 0 and 1.
    """

    first: dict[int, PromptKind]
    corrected: dict[int, tuple[bool, ...]]
    hints: bool = True
    dropped: frozenset[int] = frozenset()
    gap: int = 0
    stride: int = 1
    binarize: bool = False

    def order(self, frames: int) -> list[int]:
        """The frames in the order in which they are seen: those with a first prompt, then the others."""
        return [*self.first, *(t for t in range(frames) if t not in self.first)]


def draw_plan(config: PromptConfig, frames: int, step_seed: int) -> PromptPlan:
    """The plan of a batch of clips of ``frames`` frames, a function of its arguments.

    Raises:
        ValueError: ``frames`` is less than 1, or ``step_seed`` is negative.
    """
    if frames < 1 or step_seed < 0:
        raise ValueError(f"frames must be at least 1 and step_seed not negative, got {frames} and {step_seed}")
    rng = np.random.default_rng(mixed_seed(step_seed, 1))
    first = _first_prompts(rng, config, frames)
    return PromptPlan(first, _corrections(rng, config, frames, first), **_past(rng, config, frames))


def _first_prompts(rng: np.random.Generator, config: PromptConfig, frames: int) -> dict[int, PromptKind]:
    most = min(config.init_frames, frames)
    count = int(rng.integers(1, most, endpoint=True)) if config.random_init_frames else most
    later = rng.choice(np.arange(1, frames), count - 1, replace=False) if count > 1 else []
    still = frames == 1
    if rng.random() >= (config.still_point_share if still else config.point_share):
        return dict.fromkeys([0, *map(int, later)], "sketch" if still else "mask")
    share = config.still_box_share if still else config.box_share
    kinds: dict[int, PromptKind] = {}
    for t in (0, *map(int, later)):
        kinds[t] = "box" if rng.random() < share else "click"
    return kinds


def _corrections(
    rng: np.random.Generator, config: PromptConfig, frames: int, first: dict[int, PromptKind]
) -> dict[int, tuple[bool, ...]]:
    """Which frames are corrected, and for each click whether it falls anywhere in the truth."""
    clicks = config.still_corrections if frames == 1 else config.corrections
    if config.random_corrections:
        clicks = int(rng.integers(0, clicks, endpoint=True))
    if not clicks or "mask" in first.values():
        return {}
    most = min(config.corrected_frames, frames)
    count = most
    if config.random_corrected_frames and most > len(first):
        count = int(rng.integers(len(first), most, endpoint=True))
    others = [t for t in range(frames) if t not in first]
    extra = rng.choice(others, count - len(first), replace=False) if count > len(first) else []
    chosen = [*list(first)[:count], *map(int, extra)]
    return {t: tuple(bool(value) for value in rng.random(clicks) < config.truth_share) for t in chosen}


def _past(rng: np.random.Generator, config: PromptConfig, frames: int) -> dict[str, Any]:
    """What the plan says of hints and of the past."""
    past = config.past
    dropped: frozenset[int] = frozenset()
    if rng.random() < past.drop_share:
        dropped = frozenset(t for t in range(1, frames) if rng.random() < past.drop)
    gap = int(np.exp(rng.uniform(0, np.log(past.max_gap)))) if rng.random() < past.gap_share else 0
    return {
        "dropped": dropped,
        "gap": gap,
        "stride": 2 if rng.random() < past.stride_share else 1,
        "binarize": bool(rng.random() < past.binarize_share),
        "hints": bool(rng.random() >= config.no_hints),
    }
