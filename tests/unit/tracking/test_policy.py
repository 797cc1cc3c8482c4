"""Policies: which memories are read, and a policy of one's own."""

from collections.abc import Callable

import pytest
from small_tracker import ABSENT, LENGTH, click, gap, logits, new_tracker, session, tracker

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import MemorySelection
from sam2.tracking import ConfidentMemory, OfficialMemory
from sam2.tracking.policy import FrameStats, MemoryQuestion

SEEN, HIDDEN, BAD = FrameStats(2.0, 0.9), FrameStats(-2.0, 0.9), FrameStats(2.0, 0.2)


def question(
    frame: int,
    stats: Callable[[int], FrameStats],
    *,
    prompted: tuple[int, ...] = (0,),
    tracked: set[int] | None = None,
    reverse: bool = False,
) -> MemoryQuestion:
    known = set(range(1, 200)) - set(prompted) - {frame} if tracked is None else tracked
    return MemoryQuestion(frame, prompted, known.__contains__, stats, 200, reverse, Behaviour(), 7)


def test_sure_of_every_frame_the_confident_policy_is_the_official_one() -> None:
    asked = question(50, lambda t: SEEN)

    assert ConfidentMemory().select(asked) == OfficialMemory().select(asked)


@pytest.mark.parametrize("doubtful", [HIDDEN, BAD], ids=["hidden", "bad"])
def test_doubtful_frames_are_passed_over(doubtful: FrameStats) -> None:
    asked = question(50, lambda t: doubtful if 30 <= t <= 48 else SEEN)

    selection = ConfidentMemory().select(asked)

    assert selection.memories == ((0, 6), (25, 5), (26, 4), (27, 3), (28, 2), (29, 1), (49, 0))
    assert selection.pointers == OfficialMemory().select(asked).pointers


def test_the_previous_frame_always_has_its_place() -> None:
    selection = ConfidentMemory().select(question(50, lambda t: HIDDEN))

    assert selection.memories == ((0, 6), (49, 0))


def test_reverse_looks_forward_in_time() -> None:
    asked = question(50, lambda t: HIDDEN if t < 60 else SEEN, prompted=(190,), reverse=True)

    assert ConfidentMemory().select(asked).memories == ((190, 6), (64, 5), (63, 4), (62, 3), (61, 2), (60, 1), (51, 0))


def test_what_is_beyond_the_window_is_not_read() -> None:
    policy = ConfidentMemory(window=20)
    asked = question(100, lambda t: SEEN if t < 85 else HIDDEN)

    selection = policy.select(asked)

    assert [t for t, _ in selection.memories] == [0, 80, 81, 82, 83, 84, 99]
    for reverse, oldest in ((False, 80), (True, 120)):
        memory, _ = policy.horizon(100, reverse=reverse, behaviour=Behaviour(), num_maskmem=7)
        assert memory == oldest


def test_frames_of_low_score_do_not_fill_the_memory() -> None:
    """A model to which nothing is there: only the prompt and the previous frame are read."""

    class Recording(ConfidentMemory):
        def select(self, question: MemoryQuestion) -> MemorySelection:
            selection = super().select(question)
            read.append([t for t, _ in selection.memories])
            return selection

    read: list[list[int]] = []
    video = session(new_tracker(bias=-20.0), policy=Recording())
    click(video, 0)
    results = list(video.propagate())

    assert all((result.low_res == ABSENT).all() for result in results)
    assert read == [[0]] + [[0, t - 1] for t in range(2, LENGTH)]


def test_the_confident_policy_keeps_its_window_and_no_more() -> None:
    video = session(policy=ConfidentMemory(window=4))
    click(video, 0)
    list(video.propagate())

    kept = video.tracks[1].bank.recent
    assert [t for t, output in kept.items() if output.memory is not None] == list(range(LENGTH - 5, LENGTH))
    assert len(kept) == 16


class PromptsOnly:
    """Reads what the user said, and nothing else."""

    def select(self, question: MemoryQuestion) -> MemorySelection:
        official = OfficialMemory().select(question)
        return MemorySelection(official.memories[: len(question.prompted)], (), official.max_pointers)

    def horizon(self, frame: int, **_: object) -> tuple[int, int]:
        return frame, frame


def test_a_policy_of_ones_own() -> None:
    video = session(policy=PromptsOnly())
    click(video, 0)
    found = logits(video.propagate())
    official = session()
    click(official, 0)

    assert gap(found[1, 8], logits(official.propagate())[1, 8]) > 1e-3
    assert list(video.tracks[1].bank.recent) == [LENGTH - 1], "nothing is kept that the policy cannot read"


def test_a_policy_that_reads_what_it_let_go_is_not_believed() -> None:
    """Memories that are gone are passed over rather than failing in the middle of a video."""

    class Forgetful(OfficialMemory):
        def horizon(self, frame: int, **_: object) -> tuple[int, int]:
            return frame - 1, frame - 15

    video = session(policy=Forgetful())
    click(video, 0)

    assert len(list(video.propagate())) == LENGTH


def test_clearing_memory_around_prompts() -> None:
    """The official option, of this object alone."""
    video, plain = (session(tracker(clear_non_cond_mem_around_input=flag), history=2**30) for flag in (True, False))
    for one in (video, plain):
        click(one, 0, 1)
        click(one, 0, 2, at=(90, 60))
        list(one.propagate())
        click(one, 9, 1, at=(100, 80), label=0)

    found, want = logits(video.propagate(start=10)), logits(plain.propagate(start=10))

    assert gap(found[1, 10], want[1, 10]) > 1e-3
    for frame in range(10, LENGTH):
        assert gap(found[2, frame], want[2, frame]) < 1e-3
