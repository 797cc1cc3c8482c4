"""What a training tells: JSON lines in a file, any tracker of Accelerate, short lines or a bar by a callback."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sam2.interop.files import write_file

if TYPE_CHECKING:
    from accelerate import Accelerator

LOG = "log.jsonl"

TrainProgress = Callable[[int, int, Mapping[str, Any]], None]
"""Called after every step with its number, the number of steps, and the line of the log that was written, if any; and
for every line that a validation writes."""

_SHOWN_DIGITS = 4


def print_progress(step: int, total: int, entry: Mapping[str, Any]) -> None:
    """One line of text for every line of the log: what a training shows where nobody asked for something else."""
    if entry:
        print(progress_line(step, total, entry), flush=True)


def progress_line(step: int, total: int, entry: Mapping[str, Any]) -> str:
    """``"step 20/1000  loss 1.234  iou 0.71"``: an entry of the log in one line."""
    shown = [f"{name} {_short(value)}" for name, value in entry.items() if name not in ("step", "config")]
    return "  ".join([*([f"step {step}/{total}"] if total else []), *shown])


def _short(value: Any) -> str:
    return f"{value:.{_SHOWN_DIGITS}g}" if isinstance(value, float) else str(value)


class TrainLog:
    """Averages of what steps report, over steps and processes.

    Args:
        accelerator: of the run; only its main process writes.
        folder: where ``log.jsonl`` is appended to.
        total: steps of the run.
        progress: told after every step.
    """

    def __init__(self, accelerator: "Accelerator", folder: Path, *, total: int, progress: TrainProgress) -> None:
        self.path, self.total = folder / LOG, total
        self._accelerator, self._progress = accelerator, progress
        self._values: dict[str, list[Tensor]] = defaultdict(list)
        self._images, self._seconds, self._since = 0, 0.0, time.monotonic()
        self._shown = 0

    def add(self, values: Mapping[str, Tensor | float], *, images: int) -> None:
        """Note what a step reports (on every process, whose keys must be equal), and how many images it saw here."""
        for name, value in values.items():
            kept = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value))
            self._values[name].append(kept.to(self._accelerator.device, torch.float32))
        self._images += images

    def pause(self) -> None:
        """The clock stands still: what comes now is no training."""
        self._seconds += time.monotonic() - self._since

    def go_on(self) -> None:
        """After :meth:`pause`."""
        self._since = time.monotonic()

    def flush(self, step: int, **more: Any) -> dict[str, float]:
        """Write a line about the steps since the last one, with ``more``; every process has to call it.

        Returns:
            The means over these steps and all processes; empty where there was no step.
        """
        if not self._values:
            return {}
        self.pause()
        means = self._means()
        seconds = max(self._seconds, 1e-9)
        images = self._images * self._accelerator.num_processes
        loss = {name: value for name, value in means.items() if name == "loss"}  # comes first
        speed = {"images_per_second": images / seconds, **_peak_memory(self._accelerator)}
        self.write(step, {**loss, **means, **more, **speed})
        self._values.clear()
        self._images, self._seconds = 0, 0.0
        self.go_on()
        return means

    def write(self, step: int, entry: Mapping[str, Any]) -> None:
        """Write a line: numbers to the trackers too. Only the main process does."""
        if not self._accelerator.is_main_process:
            return
        rounded = {name: _rounded(value) for name, value in entry.items()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **rounded}) + "\n")
        numbers = {name: value for name, value in rounded.items() if type(value) in (int, float)}
        kind = str(entry.get("event", "train"))
        if numbers:
            self._accelerator.log({f"{kind}/{name}": value for name, value in numbers.items()}, step=step)
        self._progress(step, self.total, rounded)
        self._shown = step

    def show(self, step: int) -> None:
        """Tell the callback that step ``step`` is done, if no line of the log has told it."""
        if self._accelerator.is_main_process and self._shown != step:
            self._progress(step, self.total, {})

    def _means(self) -> dict[str, float]:
        """Means over steps and processes of what is a number; NaN where nothing is."""
        names = list(self._values)
        stacked = [torch.stack(self._values[name]) for name in names]
        sums = torch.stack([torch.nan_to_num(v, 0.0, 0.0, 0.0).sum() for v in stacked])
        counts = torch.stack([torch.isfinite(v).sum().float() for v in stacked])
        table = torch.stack([sums, counts])
        reduced = self._accelerator.reduce(table, reduction="sum")
        assert isinstance(reduced, Tensor)
        sums_, counts_ = reduced.tolist()
        return {name: total / count for name, total, count in zip(names, sums_, counts_, strict=True) if count}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of the log of the run in ``folder``; a last line that was cut off is left out."""
    path = folder / LOG
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:  # the process was killed while it wrote
            continue
    return entries


def forget_after(folder: Path, step: int) -> None:
    """Take out of the log what was written after ``step``: a run that is resumed from there will write it again."""
    kept: Iterable[dict[str, Any]] = (entry for entry in read_log(folder) if entry.get("step", 0) <= step)
    if (folder / LOG).is_file():
        write_file(folder / LOG, "".join(json.dumps(entry) + "\n" for entry in kept))


def _rounded(value: Any) -> Any:
    """Numbers with six digits, and None in place of what JSON does not know."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _peak_memory(accelerator: "Accelerator") -> dict[str, float]:
    """Most memory in use so far: of the accelerator, else of this process, in MB; nothing where it is not known."""
    if accelerator.device.type == "cuda":
        return {"memory_mb": torch.cuda.max_memory_allocated(accelerator.device) / 2**20}
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return {}
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
