"""Memory is read once for all corrections of a frame, and again as soon as anything in it is another."""

from unittest.mock import patch

import pytest
import torch
from small_tracker import click, logits, session

from sam2.modeling.memory_selection import MemorySelection
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking.fused import FusedFrames

FRAME = 9
NOTHING = MemorySelection((), (), 16)


def test_it_is_made_again_when_what_was_read_is_another() -> None:
    kept, made = FusedFrames(), []
    first, second = torch.zeros(1), torch.zeros(1)

    def make() -> torch.Tensor:
        made.append(len(made))
        return torch.tensor(made[-1])

    def get(*read: torch.Tensor, selection: MemorySelection = NOTHING) -> int:
        return int(kept.get((1, 0), make, read=read, selection=selection))

    assert [get(first), get(first), get(second), get(second), get(second, first)] == [0, 0, 1, 1, 2]
    assert get(second, first, selection=MemorySelection((), (), 8)) == 3
    kept.clear()
    assert len(kept) == 0


def test_the_last_few_are_kept() -> None:
    kept, read = FusedFrames(keep=2), [torch.zeros(1)]
    for frame in (1, 2, 1, 3):
        kept.get((1, frame), lambda: torch.zeros(1), read=read, selection=NOTHING)

    def again() -> torch.Tensor:
        raise AssertionError("it was there")

    assert len(kept) == 2
    for frame in (1, 3):
        kept.get((1, frame), again, read=read, selection=NOTHING)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        FusedFrames(keep=0)


def test_corrections_of_a_frame_read_memory_once_and_give_the_same() -> None:
    prepared, plain = (session(history=2**30) for _ in range(2))
    for video in (prepared, plain):
        click(video, 0)
        logits(video.propagate())
    assert prepared.prepare(FRAME, 1)
    fuse = SAM2Base.fuse_memory

    with patch.object(SAM2Base, "fuse_memory", autospec=True, side_effect=fuse) as calls:
        shown = [click(prepared, FRAME, at=at, label=0).low_res for at in ((100, 80), (60, 50))]
    plain.fused.clear()
    expected = []
    for at in ((100, 80), (60, 50)):
        expected.append(click(plain, FRAME, at=at, label=0).low_res)
        plain.fused.clear()

    assert calls.call_count == 0
    assert torch.equal(torch.cat(shown), torch.cat(expected))


def test_a_correction_after_tracking_anew_reads_the_new_memory() -> None:
    shown = []
    for forget in (False, True):
        video = session(history=2**30)
        click(video, 0)
        logits(video.propagate())
        before = click(video, FRAME, at=(60, 50), label=0).low_res
        video.clear_prompts(FRAME, 1)
        click(video, 0, at=(90, 60))
        logits(video.propagate(start=0))
        if forget:
            video.fused.clear()
        shown.append(click(video, FRAME, at=(60, 50), label=0).low_res)

    assert torch.equal(*shown)
    assert not torch.equal(shown[0], before)


def test_there_is_nothing_to_prepare_where_nothing_was_tracked() -> None:
    video = session()
    assert not video.prepare(FRAME, 1)
    click(video, 0)
    assert not video.prepare(0, 1)
    with pytest.raises(ValueError, match="frame_idx"):
        video.prepare(1000, 1)
