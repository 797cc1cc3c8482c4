"""What a run tells: JSON lines in a file, and short lines on the terminal, where a progress bar moves between them."""

import json
import math
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 20
"""Steps that a line averages over."""


class RunLog:
    """Averages of what steps report. ``silent`` for all processes but one.

    Args:
        path: file that lines are appended to.
        images: images that were seen before, in a run that is resumed.
        terminal: draw a progress bar; by default where the output is a terminal.
    """

    def __init__(self, path: Path, *, images: int = 0, silent: bool = False, terminal: bool | None = None) -> None:
        self.path, self.silent = path, silent
        self._values: dict[str, list[float]] = defaultdict(list)
        self._images, self._since = images, time.monotonic()
        self._bar: Progress | None = None
        if not silent and (sys.stdout.isatty() if terminal is None else terminal):
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
            self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stdout))
            self._task = self._bar.add_task("training", total=1.0)
            self._bar.start()

    def add(self, values: dict[str, float], *, progress: float) -> None:
        """Note what one step reports; values that are not numbers (nothing to average over) are left out."""
        for name, value in values.items():
            if not math.isnan(value):
                self._values[name].append(value)
        if self._bar is not None:
            self._bar.update(self._task, completed=min(progress, 1.0))

    def flush(self, *, step: int, progress: float, size: int, images: int) -> None:
        """Write a line about the steps since the last one, if there were any."""
        if not self._values:
            return
        seconds = max(time.monotonic() - self._since, 1e-9)
        entry: dict[str, Any] = {
            "step": step,
            "progress": round(progress, 4),
            "size": size,
            "images": images,
            "images_per_second": round((images - self._images) / seconds, 2),
        }
        entry.update({name: round(math.fsum(v) / len(v), 4) for name, v in self._values.items()})
        self._values.clear()
        self._images, self._since = images, time.monotonic()
        self.write(entry)

    def write(self, entry: dict[str, Any]) -> None:
        """Write ``entry`` as it is; the terminal does not show its ``config``."""
        if self.silent:
            return
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        shown = "  ".join(f"{name} {value}" for name, value in entry.items() if name != "config")
        if self._bar is None:
            print(shown, flush=True)
        else:
            self._bar.console.print(shown, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
