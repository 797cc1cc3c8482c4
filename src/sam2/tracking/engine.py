"""One frame through the model for any number of objects, of one video or of several: the five verbs, batched.

Objects share a pass if their memories are of the same ages and their pointers of the same number: padding a shorter
past would change its result.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2.modeling.memory_selection import MemorySelection
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import LOW_RES_LIMIT, ImageFeatures, MaskPrediction, MemoryContext, PromptBatch
from sam2.tracking.bank import MemoryBank
from sam2.tracking.records import FrameOutput, FramePrompt
from sam2.utils.masks import fill_holes

ROWS_AT_ONCE = 32
"""Objects in one pass at 1024 px: bounds the memory of attention and of masks at the model's input size."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackJob:
    """One object to be tracked: what it reads, and which row of the features it is in."""

    bank: MemoryBank
    selection: MemorySelection
    row: int = 0


def track(model: SAM2Base, features: ImageFeatures, jobs: Sequence[TrackJob]) -> list[FrameOutput]:
    """Track objects on one frame of each of b videos; memories are encoded.

    Args:
        features: b rows.
        jobs: any number, in any order of rows.

    Returns:
        One output per job, in order.
    """
    groups: dict[tuple[tuple[int, ...], int, int], list[int]] = defaultdict(list)
    for index, job in enumerate(jobs):
        groups[job.selection.slots, len(job.selection.pointers), job.selection.max_pointers].append(index)
    outputs: dict[int, FrameOutput] = {}
    waiting: dict[int, MaskPrediction] = {}

    def remember() -> None:
        indices = sorted(waiting)
        remembered = _remember(model, features, [waiting[i] for i in indices], [jobs[i].row for i in indices])
        outputs.update(zip(indices, remembered, strict=True))
        waiting.clear()

    step = rows_at_once(model.image_size)
    for members in groups.values():
        for start in range(0, len(members), step):
            part = members[start : start + step]
            predicted = _predict(model, features, [jobs[i] for i in part])
            waiting.update({index: predicted[row : row + 1] for row, index in enumerate(part)})
            # Masks at the input's size are large: few wait, unless all objects have to share the pixels.
            if len(waiting) >= step and not model.behaviour.non_overlap_masks_for_mem_enc:
                remember()
    remember()
    return [outputs[i] for i in range(len(jobs))]


def predict_prompted(
    model: SAM2Base,
    features: ImageFeatures,
    prompt: FramePrompt,
    *,
    fused: Tensor | None = None,
    earlier: Tensor | None = None,
) -> FrameOutput:
    """What the model makes of a user's prompt for one object; memory is not encoded yet.

    Args:
        features: one row.
        fused: [1, C, h, w], the embedding conditioned on the object's memory (``fuse_memory``); None on a frame that
            was not tracked yet, which is read without memory.
        earlier: [1, 1, S/4, S/4], the logits that the user saw, to be corrected.
    """
    if prompt.mask is not None:
        mask = prompt.mask[None, None].to(model.device, torch.float32)
        return _finish(model, model.mask_as_prediction(features, mask))
    logits = None if earlier is None else earlier.to(model.device).clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT)
    batch = prompt.as_batch(model.device, logits)
    embed = model.condition_on_nothing(features.embed) if fused is None else fused
    multimask = model.behaviour.proposes_several(batch.num_points, is_first=fused is None)
    candidates = model.answer_prompts(embed, features.high_res, batch, multimask=multimask)
    return _finish(model, model.select_mask(candidates))


def remember_shown(model: SAM2Base, features: ImageFeatures, outputs: Sequence[FrameOutput]) -> list[FrameOutput]:
    """The memory of prompted frames: made from the masks that the user saw, holes filled, as officially."""
    return [
        output.with_memory(_encode_low_res(model, features, output, shown=True, prompted=True)) for output in outputs
    ]


def remember_again(model: SAM2Base, features: ImageFeatures, output: FrameOutput) -> FrameOutput:
    """The memory of a tracked frame once more, from the logits that were kept of it."""
    return output.with_memory(_encode_low_res(model, features, output, shown=False, prompted=False))


def gather(model: SAM2Base, jobs: Sequence[TrackJob]) -> MemoryContext:
    """The pasts of objects whose selections have the same shape, stacked on the model's device."""
    device = model.device
    first = jobs[0].selection
    example = _memory(jobs[0].bank, first.memories[0][0])
    # Copied into place and not concatenated: an outer autocast to float16 refuses to join bfloat16 tensors.
    memories = example.new_empty(len(jobs), len(first.memories), *example.shape[1:], device=device)
    pointers = torch.empty(len(jobs), len(first.pointers), model.hidden_dim, device=device, dtype=model.compute_dtype)
    for row, job in enumerate(jobs):
        for place, (frame, _) in enumerate(job.selection.memories):
            memories[row, place].copy_(_memory(job.bank, frame)[0], non_blocking=True)
        for place, (frame, _) in enumerate(job.selection.pointers):
            pointers[row, place].copy_(job.bank.pointer_of(frame).pointer[0], non_blocking=True)
    distances = torch.tensor([[float(d) for _, d in job.selection.pointers] for job in jobs], device=device)
    return MemoryContext(memories, first.slots, pointers, distances.reshape(len(jobs), -1), first.max_pointers)


def tensors_read(job: TrackJob) -> list[Tensor]:
    """All that :func:`gather` reads of the past of one object."""
    memories = [_memory(job.bank, frame) for frame, _ in job.selection.memories]
    return [*memories, *(job.bank.pointer_of(frame).pointer for frame, _ in job.selection.pointers)]


def rows_at_once(image_size: int) -> int:
    """Objects in one pass, by the size of the maps that each needs."""
    return max(1, int(ROWS_AT_ONCE * (1024 / image_size) ** 2))


def _memory(bank: MemoryBank, frame: int) -> Tensor:
    memory = bank.memory_of(frame).memory
    assert memory is not None  # memory_of raises otherwise
    return memory


def _rows(features: ImageFeatures, rows: Sequence[int]) -> ImageFeatures:
    """Row ``rows[i]`` of the features for object i; a single row is left to be shared."""
    if len(set(rows)) == 1:
        return features[rows[0] : rows[0] + 1]
    index = torch.tensor(rows, device=features.embed.device)
    fine, middle = features.high_res
    return ImageFeatures(features.embed[index], (fine[index], middle[index]), features.position)


def _predict(model: SAM2Base, features: ImageFeatures, jobs: Sequence[TrackJob]) -> MaskPrediction:
    own = _rows(features, [job.row for job in jobs])
    embed = model.fuse_memory(own, gather(model, jobs))
    prompts = PromptBatch.empty(len(jobs), model.device)
    multimask = model.behaviour.proposes_several(0, is_first=False)
    return model.select_mask(model.decode_masks(embed, own.high_res, prompts, multimask=multimask))


def _remember(
    model: SAM2Base, features: ImageFeatures, predictions: Sequence[MaskPrediction], rows: Sequence[int]
) -> list[FrameOutput]:
    """Encode memories, the objects of one video together: they may have to share its pixels."""
    outputs: list[FrameOutput | None] = [None] * len(predictions)
    exclusive = model.behaviour.non_overlap_masks_for_mem_enc
    for row in sorted(set(rows)):
        members = [i for i, of in enumerate(rows) if of == row]
        step = len(members) if exclusive else rows_at_once(model.image_size)
        for start in range(0, len(members), step):
            part = members[start : start + step]
            stacked = MaskPrediction.stack([predictions[i] for i in part])
            memory = model.encode_memory(features[row : row + 1], stacked, prompted=False)
            for position, index in enumerate(part):
                finished = _finish(model, predictions[index])
                outputs[index] = finished.with_memory(memory.features[position : position + 1])
    return [output for output in outputs if output is not None]


def _finish(model: SAM2Base, prediction: MaskPrediction) -> FrameOutput:
    raw = prediction.logits
    area = model.behaviour.fill_hole_area
    shown = fill_holes(raw, area) if area > 0 else raw
    same = shown is raw or bool(torch.equal(shown, raw))
    return FrameOutput(raw if same else shown, raw, prediction.iou, prediction.object_score, prediction.pointer)


def _encode_low_res(
    model: SAM2Base, features: ImageFeatures, output: FrameOutput, *, shown: bool, prompted: bool
) -> Tensor:
    logits = output.logits if shown else output.raw
    if logits is None:
        raise ValueError("an output without masks cannot become a memory")
    logits = logits.to(model.device)
    side = (model.image_size,) * 2
    prediction = MaskPrediction(
        logits=logits,
        high_res_logits=F.interpolate(logits, size=side, mode="bilinear", align_corners=False),
        iou=output.iou.to(model.device),
        pointer=output.pointer.to(model.device),
        object_score=output.object_score.to(model.device),
        candidates=logits,
        candidate_ious=output.iou.to(model.device),
    )
    return model.encode_memory(features, prediction, prompted=prompted).features
