"""Everything in a photo: a grid of clicks, and what is left of their masks."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.cli.image.asked import Asked, Grid
from sam2.cli.image.found import Candidate, Found, Segmenter
from sam2.cli.progress import progress
from sam2.cli.prompts import ObjectPrompt
from sam2.modeling.sam2_base import SAM2Base

POINTS_PER_SIDE, NANO_POINTS_PER_SIDE = 32, 16
"""The official grid; and one for nano, which finds little more with four times the clicks."""
NANO_LEAST_SHARE = 3e-4
"""Of a photo: smaller islands and holes in nano's masks are noise."""


def everything_segmenter(model: SAM2Base, grid: Grid, asked: Asked, *, alone: bool) -> Segmenter:
    """What finds everything in a photo; objects are numbered by predicted IoU, the best first.

    Args:
        model: in evaluation mode.
        grid: what was asked for; what is None is chosen for the model.
        asked: the names of classes, and the threshold of masks.
        alone: whether there is one photo only, whose own progress is shown.
    """
    is_nano = model.config.version == "nano"
    points = grid.points_per_side or (NANO_POINTS_PER_SIDE if is_nano else POINTS_PER_SIDE)
    thresholds: dict[str, Any] = {
        "pred_iou_thresh": grid.iou_threshold,
        "stability_score_thresh": grid.stability_threshold,
    }
    thresholds = {name: value for name, value in thresholds.items() if value is not None}

    def segment(path: Path, image: np.ndarray) -> list[Found]:
        least = grid.min_area
        if least is None:
            least = round(NANO_LEAST_SHARE * image.shape[0] * image.shape[1]) if is_nano else 0
        generator = SAM2AutomaticMaskGenerator(
            model, points_per_side=points, mask_threshold=asked.threshold, min_mask_region_area=least, **thresholds
        )
        with progress("clicking", points * points) if alone else nullcontext() as advance:
            generator.progress = _steps(advance) if advance is not None else None
            proposals = generator.propose(image)
        proposals = sorted((item for item in proposals if item.area >= least), key=lambda item: -item.predicted_iou)
        return [
            Found(
                ObjectPrompt(number, (item.point,), (1,)),
                (Candidate(item.rle, item.predicted_iou),),
                asked.labels.rest,
                stability=item.stability_score,
            )
            for number, item in enumerate(proposals[: grid.max_masks], start=1)
        ]

    return segment


def _steps(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """From how many clicks are done to how many more."""
    before = 0

    def note(done: int, _: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return note
