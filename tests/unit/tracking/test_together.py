"""Several sessions of one model: in one batch, and in threads."""

import threading

import pytest
import torch
from small_tracker import LENGTH, assert_same, click, clip, logits, new_tracker, session, tracker

from sam2.tracking import FrameResult, VideoSession
from sam2.tracking.stepping import propagate_together, step_together

SEEDS = (0, 1, 2)


def _streams(count: int) -> list[VideoSession]:
    return [VideoSession(tracker()) for _ in range(count)]


def test_streams_stepped_together_equal_each_alone() -> None:
    """Objects per stream: one, three of different starts, none."""
    prompts = {(0, 0): [1], (1, 0): [4], (1, 3): [5, 6]}
    together = _streams(3)
    found: list[list[FrameResult]] = [[] for _ in SEEDS]
    for t in range(10):
        frames = [clip(seed=seed)[t] for seed in SEEDS]
        for i, result in enumerate(step_together(together, frames)):
            found[i].append(result)
            for obj_id in prompts.get((i, t), []):
                click(together[i], t, obj_id, at=(20 * obj_id, 50))
    for i, seed in enumerate(SEEDS):
        alone = VideoSession(tracker())
        want = []
        for t in range(10):
            want.append(alone.step(clip(seed=seed)[t]))
            for obj_id in prompts.get((i, t), []):
                click(alone, t, obj_id, at=(20 * obj_id, 50))

        assert [r.frame_idx for r in found[i]] == list(range(10))
        assert_same(logits(found[i]), logits(want))


def test_streams_of_different_sizes_and_ages() -> None:
    old, young = _streams(2)
    for frame in clip()[:4]:
        old.step(frame)
    click(old, 3)

    results = step_together([old, young], [clip()[4], clip(size=(50, 70))[0]])

    assert [result.frame_idx for result in results] == [4, 0]
    assert [result.size for result in results] == [(96, 128), (50, 70)]


def test_videos_tracked_together_equal_each_alone() -> None:
    lengths = (LENGTH, 6, 11)
    together, alone = (
        [session(frames=clip(seed=seed)[:n]) for seed, n in zip(SEEDS, lengths, strict=True)] for _ in range(2)
    )
    for videos in (together, alone):
        for i, video in enumerate(videos):
            for obj_id in range(i + 1):
                click(video, i, obj_id, at=(30 * obj_id + 20, 50))
    found: list[list[FrameResult]] = [[] for _ in SEEDS]
    for i, result in propagate_together(together):
        found[i].append(result)

    for i, video in enumerate(alone):
        assert [result.frame_idx for result in found[i]] == list(range(i, lengths[i]))
        assert_same(logits(found[i]), logits(video.propagate()))


def test_an_object_is_removed_while_videos_are_tracked_together() -> None:
    videos = [session(frames=clip(seed=seed)[:6]) for seed in (0, 1)]
    for video in videos:
        click(video, 0, 1)
        click(video, 0, 2, at=(90, 60))
    ids = []
    for i, result in propagate_together(videos):
        if i == 0:
            ids.append(result.obj_ids)
            if result.frame_idx == 2:
                videos[0].remove_object(1)

    assert ids == [(1, 2)] * 3 + [(2,)] * 3


def test_two_threads_with_a_session_each() -> None:
    model = new_tracker()  # its tables are made by whoever comes first
    found: dict[int, dict] = {}
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            video = session(model, frames=clip(seed=seed), history=0)
            click(video, 0)
            click(video, 4, 2, at=(90, 60))
            found[seed] = logits(video.propagate("both"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    for seed in (0, 1):
        alone = session(tracker(), frames=clip(seed=seed))
        click(alone, 0)
        click(alone, 4, 2, at=(90, 60))
        assert_same(found[seed], logits(alone.propagate("both")))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_sessions_that_take_turns_do_not_mix(order: tuple[int, int]) -> None:
    videos = [session(frames=clip(seed=seed)) for seed in (0, 1)]
    for video in videos:
        click(video, 0)
    passes = [video.propagate() for video in videos]
    found: dict[int, list[FrameResult]] = {0: [], 1: []}
    for _ in range(LENGTH):
        for i in order:
            found[i].append(next(passes[i]))

    for seed in (0, 1):
        alone = session(frames=clip(seed=seed))
        click(alone, 0)
        assert_same(logits(found[seed]), logits(alone.propagate()), exact=True)


def test_a_model_is_left_as_it_was() -> None:
    model = new_tracker()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    video = session(model)
    click(video, 0)
    list(video.propagate(num_frames=3))

    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
