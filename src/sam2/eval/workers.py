"""Work that is shared among processes, each of which loads the model once.

The main process hands out one item after another and gives results as they come, so that what is done can be kept
whatever happens next. A worker that dies (out of memory, for instance) is named, and ends the run.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

Tell = Callable[[int], None]
"""Told how many steps of the item at hand have been done since it was last called."""

Work = Callable[[Any, Tell], Any]
"""What a worker does with an item."""

Start = Callable[[int, int], Work]
"""Makes what a worker does, once in each process, from its number and how many there are. It is sent to the process:
a function, or an instance of a class, of a module's top."""


class WorkerError(RuntimeError):
    """A worker died; the message says on what."""


def run_items(
    start: Start, items: Sequence[Any], *, workers: int = 1, tell: Tell | None = None
) -> Iterator[tuple[int, Any]]:
    """(place in ``items``, result) in the order in which they are done.

    Args:
        start: called once in each process, with its number and how many there are.
        items: are sent to processes, as results are sent back: both can be pickled.
        workers: processes; 1 works in this one. No more than there are items are started.
        tell: told, in this process, how many steps have been done.

    Raises:
        ValueError: ``workers`` is less than 1.
        WorkerError: a process died.
        Whatever ``start`` or the work raise: the first error ends all workers.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    note = tell or (lambda steps: None)
    count = min(workers, len(items))
    if count > 1:
        yield from _share(start, items, count, note)
        return
    work = start(0, 1) if len(items) else None
    for place, item in enumerate(items):
        assert work is not None
        yield place, work(item, note)


def _share(start: Start, items: Sequence[Any], count: int, tell: Tell) -> Iterator[tuple[int, Any]]:
    context = multiprocessing.get_context("spawn")  # forked processes can use neither CUDA nor torch's threads
    pipes: dict[Connection, int] = {}
    at: dict[Connection, int] = {}
    processes: list[Any] = []
    waiting = iter(range(len(items)))
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, start, number, count), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes[ours] = number
            _hand_out(ours, waiting, items, at)
        while at:
            for pipe in wait(list(at)):
                assert isinstance(pipe, Connection)
                kind, content = _received(pipe, processes[pipes[pipe]], at[pipe])
                if kind == "steps":
                    tell(content)
                    continue
                place = at.pop(pipe)
                _hand_out(pipe, waiting, items, at)
                yield place, content
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _hand_out(pipe: Connection, waiting: Iterator[int], items: Sequence[Any], at: dict[Connection, int]) -> None:
    place = next(waiting, None)
    if place is None:
        return
    at[pipe] = place
    pipe.send(items[place])


def _received(pipe: Connection, process: Any, place: int) -> tuple[str, Any]:
    try:
        kind, content = pipe.recv()
    except (EOFError, ConnectionError) as error:
        process.join(10)
        raise WorkerError(
            f"worker process ended with status {process.exitcode} at item {place + 1}: it may have run out of memory"
            " (fewer --workers need less)"
        ) from error
    if kind == "error":
        raise content
    return kind, content


def _serve(pipe: Connection, start: Start, number: int, count: int) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process gets it as well, and ends this one
    try:
        _limit_threads(count)
        work = start(number, count)
        while True:
            pipe.send(("result", work(pipe.recv(), lambda steps: pipe.send(("steps", steps)))))
    except (EOFError, ConnectionError):
        return  # nobody waits any more
    except BaseException as error:
        pipe.send(("error", _sendable(error)))


def _limit_threads(count: int) -> None:
    """Share the cores, unless somebody has said how many threads there are to be."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))


def _sendable(error: BaseException) -> BaseException:
    """The error, or one that says the same where it cannot be pickled."""
    import pickle

    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
