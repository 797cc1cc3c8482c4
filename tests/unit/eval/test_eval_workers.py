"""Work shared among processes."""

import os
from dataclasses import dataclass

import pytest

from sam2.eval.workers import WorkerError, run_items


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; 13 is bad luck, and 99 kills the process."""

    def __call__(self, worker, workers):
        assert 0 <= worker < workers
        return self.work

    def work(self, item, tell):
        if item == 13:
            raise ValueError("13 is bad luck")
        if item == 99:
            os._exit(3)
        tell(item)
        return 2 * item, os.getpid()


def test_one_process_is_this_one():
    told = []
    found = dict(run_items(Doubling(), [3, 4], tell=told.append))
    assert found == {0: (6, os.getpid()), 1: (8, os.getpid())}
    assert told == [3, 4]


def test_nothing_to_do():
    assert list(run_items(Doubling(), [], workers=3)) == []


def test_less_than_one_worker():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        list(run_items(Doubling(), [1], workers=0))


def test_an_error_ends_the_run():
    run = run_items(Doubling(), [1, 13, 2])
    assert next(run)[0] == 0
    with pytest.raises(ValueError, match="bad luck"):
        next(run)


@pytest.mark.slow
def test_two_processes_share():
    told = []
    found = dict(run_items(Doubling(), [1, 2, 3, 4, 5], workers=2, tell=told.append))
    assert {place: value for place, (value, _) in found.items()} == {i: 2 * (i + 1) for i in range(5)}
    assert os.getpid() not in {pid for _, pid in found.values()}
    assert sum(told) == 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "error", "message"),
    [(13, ValueError, "bad luck"), (99, WorkerError, "ended with status 3 at item 2: it may have run out of memory")],
)
def test_what_goes_wrong_elsewhere_is_heard_of_here(item, error, message):
    with pytest.raises(error, match=message):
        list(run_items(Doubling(), [1, item], workers=2))
