"""The thread that computes, and the features that it made."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sam2.image import encode
from sam2.interop.rle import decode_mask
from sam2.web.engine.features import FeatureCache
from sam2.web.engine.prompts import answer, masks_of, to_batch
from sam2.web.engine.runner import Priority, Runner
from sam2.web.schemas import Point, Prompts


@pytest.fixture
def runner(nano) -> Iterator[Runner]:
    found = Runner(nano)
    yield found
    found.close()


class Gate:
    """Holds the runner until it is opened, so that work queues up."""

    def __init__(self, runner: Runner) -> None:
        self.open, begun = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            self.open.wait(10)

        self.future = runner.submit(wait, priority=Priority.CLICK)
        assert begun.wait(10)


def test_urgent_work_goes_first_and_nothing_waits_for_ever(runner):
    gate, order = Gate(runner), []
    futures = [runner.submit(lambda: order.append("track"), priority=Priority.TRACK)]
    futures += [runner.submit(lambda n=n: order.append(n), priority=Priority.CLICK) for n in range(20)]
    gate.open.set()
    for future in futures:
        future.result(10)
    assert [item for item in order if item != "track"] == list(range(20))
    assert 0 < order.index("track") < 20  # after some clicks, before all of them


def test_errors_reach_who_asked_and_nobody_else(runner):
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        runner.run(fail)
    assert runner.run(lambda: 5) == 5
    assert runner.run(lambda: runner.run(lambda: 7)) == 7  # from its own thread: at once
    assert runner.run(torch.is_inference_mode_enabled)


def test_a_closed_runner_refuses(nano):
    runner = Runner(nano)
    gate = Gate(runner)
    waiting = runner.submit(lambda: 1, priority=Priority.TRACK)
    closing = threading.Thread(target=runner.close)
    closing.start()
    with pytest.raises(RuntimeError, match="closing"):
        waiting.result(10)
    gate.open.set()
    closing.join(10)
    with pytest.raises(RuntimeError, match="closing"):
        runner.run(lambda: 1)
    runner.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 80, 3)).astype(np.uint8)


def test_clicks_that_wait_together_share_a_pass_with_the_results_of_each_alone(runner):
    images = [runner.run(lambda n=n: encode(runner.model, [picture(n)], runner.transforms)) for n in range(3)]
    said = [Prompts(points=(Point(x=20 + 10 * n, y=30),)) for n in range(3)]
    alone = [answer(prompts, image, runner)[0] for prompts, image in zip(said, images, strict=True)]
    gate, found = Gate(runner), {}

    def ask(n: int) -> None:
        found[n] = runner.decode(images[n], to_batch(said[n], runner, (64, 80)), multimask=True).best()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    gate.open.set()
    for thread in threads:
        thread.join(20)
    for n in range(3):
        before = decode_mask(alone[n].model_dump())
        now = found[n].masks()[0, 0].numpy()
        assert (before ^ now).sum() <= 0.005 * before.size


def test_masks_are_those_of_the_image_predictor(runner):
    image = runner.run(lambda: encode(runner.model, [picture(1)], runner.transforms))
    said = Prompts(points=(Point(x=20, y=30), Point(x=50, y=40)))
    result = runner.decode(image, to_batch(said, runner, (64, 80)), multimask=False)
    (mask,) = masks_of(result)
    assert (decode_mask(mask.model_dump()) ^ result.masks()[0, 0].numpy()).sum() <= 2  # the last bits of a logit
    assert result.masks().any()


def test_features_are_made_once_and_kept_within_the_budget(runner):
    made = []

    def make(n: int) -> torch.Tensor:
        made.append(n)
        return torch.zeros(100)  # 400 bytes

    cache = FeatureCache(runner, 1000)
    threads = [threading.Thread(target=lambda: cache.get(("p", 0), lambda: make(0))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made == [0]
    cache.get(("p", 1), lambda: make(1))
    cache.get(("p", 0), lambda: make(0))
    cache.get(("q", 2), lambda: make(2))  # 1 goes: 0 was used since
    assert (("p", 0) in cache, ("p", 1) in cache, ("q", 2) in cache) == (True, False, True)
    assert cache.num_bytes == 800
    cache.forget("p")
    assert cache.num_bytes == 400


def test_wishes_are_granted_and_old_ones_dropped(runner):
    gate, made = Gate(runner), []
    cache = FeatureCache(runner, 10**6)
    for n in range(10):
        cache.prefetch(("p", n), lambda n=n: made.append(n) or torch.zeros(1))
    gate.open.set()
    cache.get(("p", 9), lambda: torch.zeros(1))
    runner.run(lambda: None, priority=Priority.BACKGROUND)
    assert len(made) <= 4
    assert made == sorted(made)
    assert ("p", 9) in cache
    assert ("p", 0) not in cache


def test_features_that_cannot_be_made_are_not_kept(runner):
    cache = FeatureCache(runner, 1000)

    def fail() -> torch.Tensor:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        cache.get(("p", 0), fail)
    assert cache.get(("p", 0), lambda: torch.ones(1)) == 1
    assert runner.run(lambda: cache.get(("p", 1), lambda: torch.ones(1))) == 1  # on its own thread
