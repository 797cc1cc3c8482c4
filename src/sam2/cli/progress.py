"""Progress on a terminal; nothing at all where nobody is looking."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    title: str, total: int | None = None, *, done: int = 0, speed: str | None = None
) -> Iterator[Callable[..., None]]:
    """A function to call after each item, or with the number of items after several.

    Args:
        title: what is being done.
        total: items in all; None counts without a bar.
        done: items that are done already.
        speed: what is counted per second, if that is to be shown, as in ``"frames"``.
    """
    if not sys.stderr.isatty():
        yield lambda steps=1: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text(f"{rate:.1f} {speed}/s" if rate else "")

    name = TextColumn("{task.description}")
    if total is None:
        columns: list[ProgressColumn] = [SpinnerColumn(), name, TextColumn("{task.completed:.0f}")]
    else:
        columns = [name, BarColumn(), MofNCompleteColumn()]
    columns += [Speed()] if speed else []
    columns += [TimeRemainingColumn()] if total is not None else []
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda steps=1: bar.advance(task, steps)
