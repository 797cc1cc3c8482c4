"""Find all objects of a photo or frame that are not known there yet."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.automatic.proposals import MaskProposal, propose
from sam2.automatic.settings import AutomaticSettings, ByModel, Thresholds, grids_from, thresholds_for
from sam2.automatic.video_overlaps import new_masks, small_mask
from sam2.automatic.video_settings import VideoMaskSettings
from sam2.interop.rle import decode_mask, encode_mask
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.amg import remove_small_regions
from sam2.web.engine.runner import Priority, Runner
from sam2.web.jobs import Job
from sam2.web.projects.project import Project
from sam2.web.schemas import EverythingRequest, RleMask

COMPARED_SIDE = 128
"""Masks are compared at this size."""
CLICKS_AT_ONCE = 16
"""So few that a person's click does not wait long for them."""


def find_everything(project: Project, frame: int, request: EverythingRequest, *, runner: Runner, job: Job) -> None:
    """Add what is found on a frame as new objects.

    What objects that are there cover for the most part is not new. Clicks of people come in between.

    Args:
        project: is given the objects.
        frame: a photo or frame.
        request: how densely to look, how many objects to add at most, and their class.
        runner: computes.
        job: is told of progress; when it is cancelled nothing is added.
    """
    encoded = project.encoded(frame)
    height, width = encoded.sizes[0]
    try:
        with torch.inference_mode():
            found = propose(
                _through(runner), None, _settings(runner.model, request), features=encoded, progress=_progress(job)
            )
    except _Stopped:
        return
    chosen = choose_new(found, known_masks(project, frame), size=(height, width), most=request.max_masks)
    if chosen:
        project.add_found(
            frame,
            [item.mask for item in chosen],
            label=request.label,
            scores=[item.score for item in chosen],
        )
    job.message = {0: "nothing new was found", 1: "1 object was found"}.get(
        len(chosen), f"{len(chosen)} objects were found"
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A new object: its mask, and how sure the model is of it, 0..1."""

    mask: RleMask
    score: float


def choose_new(found: list[MaskProposal], known: list[RleMask], *, size: tuple[int, int], most: int) -> list[Found]:
    """Those of ``found`` that are objects and that ``known`` masks leave uncovered: sure and large ones first.

    Args:
        size: (height, width) of the frame.
        most: how many at most.
    """
    settings = VideoMaskSettings()
    masks: list[NDArray[np.bool_]] = []
    scores: list[float] = []
    ranks: list[float] = []
    for proposal in found:
        mask = _without_specks(proposal, settings, size)
        if mask is not None:
            masks.append(mask)
            scores.append(min(1.0, max(0.0, proposal.predicted_iou)))
            ranks.append(proposal.predicted_iou**2 * float(mask.sum()) ** 0.25)  # things before their parts
    if not masks:
        return []
    planes = np.stack([small_mask(mask, COMPARED_SIDE) for mask in masks])
    followed = [small_mask(decode_mask(mask.model_dump()), COMPARED_SIDE) for mask in known]
    others = np.stack(followed) if followed else np.zeros((0, COMPARED_SIDE**2), np.float32)
    rows = new_masks(planes, ranks, others, settings)[:most]
    return [Found(RleMask(size=size, counts=encode_mask(masks[row])["counts"]), scores[row]) for row in rows]


def _without_specks(
    proposal: MaskProposal, settings: VideoMaskSettings, size: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """A mask without small holes and islands; None if it is no object: a speck itself, or the whole frame."""
    smallest, largest = settings.smallest(size), settings.largest(size)
    if proposal.area < smallest:
        return None
    mask = proposal.mask()
    for what in ("holes", "islands"):
        mask, _ = remove_small_regions(mask, smallest, what)
    return mask if max(1, smallest) <= mask.sum() <= largest else None


def known_masks(project: Project, frame: int) -> list[RleMask]:
    """The masks of a frame that are not empty."""
    return [item.mask for item in project.frame(frame).objects if item.mask is not None and item.area > 0]


class _Stopped(Exception):
    """The job was cancelled."""


def _progress(job: Job) -> Any:
    def advance(done: int, total: int) -> None:
        if job.cancelled:
            raise _Stopped
        job.advance(done, total=total)

    return advance


def _settings(model: SAM2Base, request: EverythingRequest) -> AutomaticSettings:
    thresholds = thresholds_for(model.config, Thresholds(ByModel(0.8), ByModel(0.95), ByModel(1.0)))
    return AutomaticSettings(
        grids=grids_from(request.points_per_side, None, layers=0, downscale=1),
        points_per_batch=CLICKS_AT_ONCE,
        pred_iou_thresh=thresholds.pred_iou_thresh,
        stability_score_thresh=thresholds.stability_score_thresh,
        stability_score_offset=thresholds.stability_score_offset,
        mask_nms_thresh=0.8,
    )


def _through(runner: Runner) -> SAM2Base:
    """The model, with its answers computed on the runner: a few clicks at a time, after everything else that waits."""

    class Through:
        def __getattr__(self, name: str) -> Any:
            return getattr(runner.model, name)

        def answer_prompts(self, *args: Any, **options: Any) -> Any:
            return runner.run(lambda: runner.model.answer_prompts(*args, **options), priority=Priority.BACKGROUND)

    return cast(SAM2Base, Through())
