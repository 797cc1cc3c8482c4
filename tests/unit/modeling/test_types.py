"""The records refuse a wrong layout where it is made."""

import pytest
import torch

from sam2.modeling.types import (
    FrameMemory,
    ImageFeatures,
    MaskCandidates,
    MaskPrediction,
    MemoryContext,
    PromptBatch,
)


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


def features(images: int = 2) -> ImageFeatures:
    return ImageFeatures(zeros(images, 8, 4, 4), (zeros(images, 1, 16, 16), zeros(images, 2, 8, 8)), zeros(1, 8, 4, 4))


def test_image_features_check_their_ranks() -> None:
    with pytest.raises(ValueError, match=r"ImageFeatures\.embed must have 4 dimensions, got shape \(8, 4, 4\)"):
        ImageFeatures(zeros(8, 4, 4), (zeros(1, 1, 16, 16), zeros(1, 2, 8, 8)), zeros(1, 8, 4, 4))


def test_image_features_are_cut_and_repeated() -> None:
    both = features(2)
    both.embed[1] = 1.0

    assert len(both[1:2]) == 1
    repeated = both.repeat([1, 3])
    assert repeated.embed[:, 0, 0, 0].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert [len(level) for level in repeated.high_res] == [4, 4]
    with pytest.raises(ValueError, match=r"one entry per image \(2\), got 1"):
        both.repeat([2])


def test_prompts_need_points_or_masks() -> None:
    with pytest.raises(ValueError, match="needs points or masks"):
        PromptBatch()


def test_prompts_need_points_and_labels_together() -> None:
    with pytest.raises(ValueError, match="points and labels together"):
        PromptBatch(points=zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"labels must have shape \(1, 2\), got \(1, 3\)"):
        PromptBatch(points=zeros(1, 2, 2), labels=zeros(1, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": zeros(2, 2), "labels": zeros(1, 2)}, "points must have 3"),
        ({"points": zeros(1, 2, 2), "labels": zeros(2)}, "labels must have 2"),
        ({"masks": zeros(1, 8, 8)}, "masks must have 4"),
    ],
)
def test_prompts_check_their_ranks(arguments: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptBatch(**arguments)


def test_prompts_count_objects_and_points() -> None:
    assert len(PromptBatch(zeros(3, 2, 2), zeros(3, 2))) == 3
    assert PromptBatch(zeros(3, 2, 2), zeros(3, 2)).num_points == 2
    assert len(PromptBatch(masks=zeros(5, 1, 8, 8))) == 5
    assert PromptBatch(masks=zeros(5, 1, 8, 8)).num_points == 0


def test_no_prompt_is_one_point_that_is_none() -> None:
    empty = PromptBatch.empty(3)

    assert empty.points is not None
    assert empty.points.tolist() == [[[0.0, 0.0]]] * 3
    assert empty.labels is not None
    assert empty.labels.tolist() == [[-1]] * 3


def test_the_other_records_check_their_ranks() -> None:
    with pytest.raises(ValueError, match=r"MaskCandidates\.logits must have 4"):
        MaskCandidates(zeros(1, 8, 8), zeros(1, 3), zeros(1, 3, 8), zeros(1, 1))
    with pytest.raises(ValueError, match=r"MaskPrediction\.pointer must have 2"):
        MaskPrediction(
            *(zeros(1, 1, 8, 8), zeros(1, 1, 32, 32), zeros(1, 1), zeros(8), zeros(1, 1)),
            *(zeros(1, 3, 8, 8), zeros(1, 3)),
        )
    with pytest.raises(ValueError, match=r"FrameMemory\.features must have 4"):
        FrameMemory(zeros(8, 4, 4), zeros(1, 8), zeros(1, 1))
    with pytest.raises(ValueError, match="time_slots must have 2 entries, got 1"):
        MemoryContext(zeros(1, 2, 8, 4, 4), (6,), zeros(1, 0, 8), zeros(1, 0), 16)


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        features().embed = zeros(1, 8, 4, 4)  # type: ignore[misc]
