"""What a training shows on a terminal: a bar, with validations above it; elsewhere lines."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sam2.train.log import TrainProgress, print_progress, progress_line

_SHOWN = ("loss", "last_iou")


@contextmanager
def shown_progress() -> Iterator[TrainProgress]:
    """For the main process on a terminal a bar on stderr, that is gone at the end; otherwise a line for every entry."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield print_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None, said="")

        def show(step: int, total: int, entry: Mapping[str, Any]) -> None:
            bar.update(task, completed=step, total=total)
            if "event" in entry:
                bar.console.print(progress_line(step, total, entry), markup=False, highlight=False)
            elif "loss" in entry:
                bar.update(
                    task, said="  ".join(f"{name} {entry[name]:.3f}" for name in _SHOWN if _is_number(entry, name))
                )

        yield show


def _is_number(entry: Mapping[str, Any], name: str) -> bool:
    return isinstance(entry.get(name), float)
