"""Semi-supervised video object segmentation: the true mask of each object's first frame is given, the rest is tracked.

The protocol of the DAVIS challenges: J and F of every object (:mod:`sam2.eval.vos_metrics`), averaged over the
annotated frames of a clip but its first, which was given, and its last, as the official toolkit does; then over
objects. Other benchmarks differ in which frames count (:mod:`sam2.eval.layouts`). An object that appears later is
prompted on the first frame that shows it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sam2.eval.clips import FrameMasks, Mask, VosClip
from sam2.eval.label_images import read_labels
from sam2.eval.layouts import LAYOUTS, Counting, VosChoice, VosData, open_vos
from sam2.eval.mask_files import MaskWriter, read_predictions
from sam2.eval.memory import peak_memory
from sam2.eval.vos_metrics import mask_quality
from sam2.eval.vos_scores import ClipResult, ClipScore, ClipScorer, VosScores
from sam2.modeling.sam2_base import SAM2Base, suppress_overlaps
from sam2.tracking import FrameResult, VideoSession

__all__ = [
    "LAYOUTS",
    "ClipResult",
    "ClipScore",
    "TrackOptions",
    "VosChoice",
    "VosClip",
    "VosData",
    "VosScores",
    "evaluate_vos",
    "open_vos",
    "read_labels",
    "score_predictions",
    "track_clip",
]

Prompts = Literal["appearance", "first", "all"]
Progress = Callable[[str, int, int], None]
"""Told after every frame: the clip, frames done in it, frames in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """How clips are tracked and scored.

    Attributes:
        counting: which frames count, see :class:`sam2.eval.layouts.VosLayout`.
        prompts: which masks are given: each object's on the first frame that shows it ("appearance"), those of the
            first annotated frame only ("first"), or those of every annotated frame ("all").
        threshold: logits above it are the object.
        masks: folder for the masks of all frames, in the layout of the annotations; None writes none.
        scored: false leaves measuring out, where only masks are wanted.
    """

    counting: Counting = "between"
    prompts: Prompts = "appearance"
    threshold: float = 0.0
    masks: Path | None = None
    scored: bool = True


def evaluate_vos(
    model: SAM2Base, root: str | Path, *, clips: Sequence[str] | None = None, progress: Progress | None = None
) -> VosScores:
    """Track through the clips of a folder and score every object.

    Args:
        model: put in evaluation mode and back.
        root: a benchmark in any of the layouts that :func:`open_vos` knows.
        clips: names; all by default.

    Raises:
        FileNotFoundError: there is no such folder, or no clip with annotations in it.
        ValueError: a name in ``clips`` is not there, something is missing, or nothing can be scored.
    """
    data = open_vos(root, VosChoice(clips=clips))
    options = TrackOptions(counting=data.counting)
    training = model.training
    model.eval()
    try:
        results = [track_clip(model, clip, options, progress=progress) for clip in data.clips]
    finally:
        model.train(training)
    scores = VosScores(tuple(score for result in results for score in result.objects))
    if not scores.objects:
        raise ValueError(nothing_to_score(data.clips))
    return scores


def nothing_to_score(clips: Sequence[VosClip]) -> str:
    """What to say where no frame counts."""
    return (
        f"{', '.join(clip.name for clip in clips[:3])}: nothing to be scored: a clip needs an object and at least 3 "
        "annotated frames, of which the first and the last do not count"
    )


@torch.inference_mode()
def track_clip(
    model: SAM2Base, clip: VosClip, options: TrackOptions | None = None, *, progress: Progress | None = None
) -> ClipResult:
    """Track the objects of a clip, and score them where their true masks are known.

    Objects of label images share no pixel, as in the benchmark: each goes to the object with the highest logit there.

    Args:
        model: in evaluation mode.
        clip: with images.
        options: by default those of DAVIS.
        progress: told after every frame.

    Raises:
        ValueError: the clip shows no object, or masks and images differ in size.
    """
    options = options or TrackOptions()
    prompts = _prompts(clip, options.prompts)
    first_of = {obj_id: index for index in sorted(prompts, reverse=True) for obj_id in prompts[index]}
    if not first_of or clip.frames is None:
        raise ValueError(f"{clip.name}: no frame shows an object to be tracked")
    wanted = _wanted(clip, first_of, options.counting) if options.scored else {}
    start = min(prompts)
    stop = len(clip.stems) if options.masks is not None else max(wanted, default=start - 1) + 1
    if stop <= start:
        return ClipResult(clip.name, ())
    scorer = ClipScorer(clip.name)
    writer = None if options.masks is None else MaskWriter(options.masks, clip)
    began, tracked = time.perf_counter(), 0
    seconds = 0.0
    for result, masks, size in _track(model, clip, prompts, stop - start, options.threshold):
        seconds += time.perf_counter() - began
        if not tracked:
            if options.scored:
                _check_sizes(clip, prompts, size)
            _before(clip, range(start), wanted, (scorer, writer), size)
        tracked += 1
        if result.frame_idx in wanted:
            _score(scorer, clip, result.frame_idx, wanted[result.frame_idx], FrameMasks(masks, None, size))
        if writer is not None:
            writer.write(result.frame_idx, masks, size)
        if progress is not None:
            progress(clip.name, tracked, stop - start)
        began = time.perf_counter()
    return ClipResult(clip.name, scorer.scores(), tracked, seconds, peak_memory(model.device))


def score_predictions(
    clip: VosClip, folder: Path, options: TrackOptions | None = None, *, partial: bool = False
) -> ClipResult:
    """Score masks that lie in ``folder/CLIP`` as the annotations of ``clip`` do.

    Args:
        partial: leave out frames of which there is no file.

    Raises:
        FileNotFoundError: a file is missing, and ``partial`` is false.
        ValueError: a file is no label image, has another size than the annotation, or shows an object that no
            annotation of the clip shows.
    """
    options = options or TrackOptions()
    first_of = {obj_id: index for index, masks in clip.appearances().items() for obj_id in masks}
    scorer = ClipScorer(clip.name)
    left_out = 0
    for index, obj_ids in sorted(_wanted(clip, first_of, options.counting).items()):
        try:
            found = read_predictions(folder, clip, index, obj_ids)
        except FileNotFoundError:
            if not partial:
                raise
            left_out += 1
            continue
        if unknown := sorted(found.objects.keys() - first_of.keys()):
            raise ValueError(
                f"{folder / clip.name}, frame {clip.stems[index]}, shows object {unknown[0]}, which is not annotated: "
                f"objects of {clip.name} are {', '.join(map(str, sorted(first_of)))}"
            )
        _score(scorer, clip, index, obj_ids, found)
    return ClipResult(clip.name, scorer.scores(), left_out=left_out)


def _prompts(clip: VosClip, kind: Prompts) -> dict[int, dict[int, Mask]]:
    """Masks to be given, by frame and object."""
    if kind == "appearance":
        return clip.appearances()
    frames = clip.annotated if kind == "all" else clip.annotated[:1]
    shown = {index: clip.masks(index).objects for index in frames}
    shown = {index: {o: mask for o, mask in masks.items() if mask.any()} for index, masks in shown.items()}
    return {index: masks for index, masks in shown.items() if masks}


def _wanted(clip: VosClip, first_of: Mapping[int, int], counting: Counting) -> dict[int, list[int]]:
    """The objects that count, by frame."""
    wanted: dict[int, list[int]] = {}
    for obj_id, first in first_of.items():
        annotated = clip.annotated_of(obj_id)
        if counting == "all":
            counted = list(annotated)
        elif counting == "after_prompt":
            counted = [index for index in annotated if index > first]
        elif clip.per_object:
            counted = list(annotated[1:-1])
        else:
            counted = [index for index in annotated[:-1] if index > first]
        for index in counted:
            wanted.setdefault(index, []).append(obj_id)
    return wanted


def _track(
    model: SAM2Base, clip: VosClip, prompts: Mapping[int, Mapping[int, Mask]], count: int, threshold: float
) -> Iterator[tuple[FrameResult, dict[int, Mask], tuple[int, int]]]:
    """Results of ``count`` frames from the first prompt on, with the masks as arrays, and the size of the frames."""
    with VideoSession(model, clip.frames) as session:
        for index, masks in sorted(prompts.items()):
            for obj_id, mask in masks.items():
                session.add_mask(index, obj_id, mask)
        for result in session.propagate(num_frames=count):
            logits = result.logits if clip.per_object else suppress_overlaps(result.logits)
            found = (logits[:, 0] > threshold).cpu().numpy()
            yield result, dict(zip(result.obj_ids, found, strict=True)), (found.shape[1], found.shape[2])


def _check_sizes(clip: VosClip, prompts: Mapping[int, Mapping[int, Mask]], size: tuple[int, int]) -> None:
    """Masks that are given have to be of the frames' size, as those that are compared with."""
    for index, masks in prompts.items():
        for mask in masks.values():
            if mask.shape != size:
                raise ValueError(_other_size(clip, index, (mask.shape[0], mask.shape[1]), size))


def _other_size(clip: VosClip, index: int, truth: tuple[int, int], found: tuple[int, int]) -> str:
    return (
        f"{clip.name}/{clip.stems[index]}: the annotation has {truth[1]} x {truth[0]} pixels, "
        f"the mask {found[1]} x {found[0]}"
    )


def _before(
    clip: VosClip,
    frames: range,
    wanted: Mapping[int, list[int]],
    sinks: tuple[ClipScorer, MaskWriter | None],
    size: tuple[int, int],
) -> None:
    """Frames before the first prompt: there is nothing on them."""
    scorer, writer = sinks
    for index in frames:
        if index in wanted:
            _score(scorer, clip, index, wanted[index], FrameMasks({}, None, size))
        if writer is not None:
            writer.write(index, {}, size)


def _score(scorer: ClipScorer, clip: VosClip, index: int, obj_ids: Sequence[int], found: FrameMasks) -> None:
    truth = clip.masks(index)
    if truth.size != found.size:
        raise ValueError(_other_size(clip, index, truth.size, found.size))
    for obj_id in obj_ids:
        scorer.add(index, obj_id, mask_quality(found.of(obj_id), truth.of(obj_id), void=truth.void))
