"""Which frames a pass gives, in which order, and what happens when it is left, cancelled or disturbed."""

import pytest
import torch
from small_tracker import ABSENT, LENGTH, assert_same, click, clip, gap, logits, new_tracker, session, tracker

LAST = LENGTH - 1


def test_from_the_earliest_prompt_on() -> None:
    video = session()
    click(video, 7)
    click(video, 4, 2)

    assert [result.frame_idx for result in video.propagate()] == list(range(4, LENGTH))


def test_in_reverse_from_the_latest_prompt_down() -> None:
    video = session()
    click(video, 7)
    click(video, 4, 2)

    assert [result.frame_idx for result in video.propagate("reverse")] == list(range(7, -1, -1))


@pytest.mark.parametrize(
    ("direction", "start", "num_frames", "expected"),
    [
        ("forward", 5, 3, [5, 6, 7]),
        ("forward", LAST, 9, [LAST]),
        ("reverse", 5, 3, [5, 4, 3]),
        ("reverse", 0, None, [0]),
        ("both", 5, 2, [5, 6, 4, 3]),
        ("both", 0, 1, [0]),
    ],
)
def test_windows(direction: str, start: int, num_frames: int | None, expected: list[int]) -> None:
    video = session()
    click(video, start)

    frames = [result.frame_idx for result in video.propagate(direction, start=start, num_frames=num_frames)]

    assert frames == expected


def test_both_directions_give_each_frame_once_whatever_their_order() -> None:
    """Each direction reads memories of its own pass only: the same as two sessions that know one direction each."""
    both, forward, reverse = session(history=2**30), session(), session()
    for video in (both, forward, reverse):
        click(video, 6)
    list(both.propagate())  # an earlier pass leaves nothing that the backward pass reads

    found = logits(both.propagate("both"))

    assert len(found) == LENGTH
    want = logits(forward.propagate()) | logits(reverse.propagate("reverse", start=5))
    assert_same(found, want, exact=True)


def test_both_directions_with_objects_of_different_starts() -> None:
    both, early, late = session(), session(), session()
    for video, objects in ((both, {1: 4, 2: 10}), (early, {1: 4}), (late, {2: 10})):
        for obj_id, frame in objects.items():
            click(video, frame, obj_id, at=(30 * obj_id, 50))

    results = list(both.propagate("both"))
    found = logits(results)
    want = logits(early.propagate("both")) | logits(late.propagate("both"))

    assert sorted(result.frame_idx for result in results) == list(range(LENGTH))
    assert all(result.obj_ids == (1, 2) for result in results)
    for key, logit in want.items():
        assert gap(found[key], logit) < 1e-3


def test_a_prompted_frame_is_given_as_it_was_prompted() -> None:
    video = session()
    shown = click(video, 6)

    assert torch.equal(logits(video.propagate("both"))[1, 6], shown.low_res[0])


def test_only_the_objects_asked_for_are_inferred_and_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_tracker()
    video = session(model)
    for obj_id in (1, 2, 3):
        click(video, 0, obj_id, at=(30 * obj_id, 50))
    rows = []
    decode = model.decode_masks
    monkeypatch.setattr(
        model,
        "decode_masks",
        lambda embed, high_res, prompts, **options: (
            rows.append(len(prompts)) or decode(embed, high_res, prompts, **options)
        ),
    )

    results = list(video.propagate(obj_ids=[3]))

    assert sum(rows) == LENGTH - 1
    assert all(result.obj_ids == (3,) for result in results)
    assert len(video.tracks[1].bank.recent) == 0


@pytest.mark.parametrize("history", [None, 2**30], ids=["no history", "history"])
def test_a_pass_is_left_and_resumed(history: int | None) -> None:
    whole, parts = session(history=history), session(history=history)
    for video in (whole, parts):
        click(video, 0)
    found = {}
    for result in parts.propagate():
        found.update(logits([result]))
        if result.frame_idx == 6:
            break
    found.update(logits(parts.propagate(start=7, num_frames=5)))
    found.update(logits(parts.propagate(start=12)))

    assert_same(found, logits(whole.propagate()), exact=True)


def test_an_object_is_removed_in_the_middle_of_a_pass() -> None:
    video, alone = session(), session()
    click(video, 0, 1)
    click(video, 0, 2, at=(90, 60))
    click(alone, 0, 2, at=(90, 60))
    results = []
    for result in video.propagate():
        results.append(result)
        if result.frame_idx == 5:
            video.remove_object(1)

    assert [result.obj_ids for result in results] == [(1, 2)] * 6 + [(2,)] * (LENGTH - 6)
    found, want = logits(results), logits(alone.propagate())
    assert_same(found, want, keys=want)
    assert video.obj_ids == [2]


def test_all_objects_go_in_the_middle_of_a_pass() -> None:
    video = session()
    click(video, 0)
    passing = video.propagate()
    next(passing)
    video.reset()
    click(video, 3, 8)

    assert all(result.obj_ids == () for result in passing)
    assert list(video.tracks[8].drafts) == [3]


def test_prompts_are_taken_back_in_the_middle_of_a_pass() -> None:
    for early in (False, True):
        video = session(tracker(track_before_first_prompt=early))
        click(video, 0, 1)
        click(video, 0, 2)
        passing = video.propagate()
        next(passing)
        video.clear_prompts(0, 1)

        result = next(passing)

        assert result.obj_ids == (1, 2)
        assert (result.low_res[0] == ABSENT).all()


def test_prompts_given_in_the_middle_of_a_pass_count_from_the_next_one() -> None:
    video = session()
    click(video, 0)
    passing = video.propagate()
    for _ in range(6):
        next(passing)
    click(video, 5, at=(100, 80), label=0)
    click(video, 5, 2)

    assert all(result.obj_ids == (1,) for result in passing)
    assert next(iter(video.propagate(start=5))).obj_ids == (1, 2)


def test_progress() -> None:
    video = session()
    click(video, 6)
    seen = []
    list(video.propagate("both", progress=lambda done, total: seen.append((done, total))))

    assert seen == [(i + 1, LENGTH) for i in range(LENGTH)]


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_cancel(direction: str) -> None:
    video = session(history=2**30)
    click(video, 6)
    given = []
    for result in video.propagate(direction, cancel=lambda: len(given) >= 4):
        given.append(result.frame_idx)

    assert given == [6, 7, 8, 9]
    assert video.result_at(9).masks.any()
    assert len(list(video.propagate(start=10))) == LENGTH - 10


def test_leaving_a_pass_ends_the_reading_of_frames() -> None:
    closed = []

    class Frames(type(session().frames)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(list(clip()))

        def read(self, *span: int):
            try:
                yield from super().read(*span)
            finally:
                closed.append(span)

    video = session(frames=Frames())
    click(video, 0)
    passing = video.propagate()
    next(passing)
    passing.close()

    assert closed == [(0, LENGTH, 1)]


def test_no_graph_is_built() -> None:
    model = new_tracker()
    assert any(weight.requires_grad for weight in model.parameters())
    video = session(model)
    click(video, 0)

    for result in video.propagate(num_frames=3):
        assert not result.low_res.requires_grad
        features = video.features.get(result.frame_idx)
        assert features.embed.grad_fn is None


def test_results_are_the_callers_own() -> None:
    video = session()
    shown = click(video, 0)
    before = shown.low_res.clone()
    shown.low_res.zero_()
    for result in video.propagate(num_frames=2):
        result.low_res.zero_()

    assert torch.equal(video.result_at(0).low_res, before)
    assert video.result_at(1).low_res.abs().max() > 0
