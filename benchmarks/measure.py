"""What the benchmarks share: interleaved timing, the machine in words, claims that hold or do not."""

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Times = dict[str, list[float]]


def interleave(
    tasks: Mapping[str, Callable[[], object]], *, repeats: int, warmup: int = 1, cpu_time: bool = False
) -> Times:
    """Seconds of each task, ``repeats`` times in turn: what slows the machine down slows every task down alike.

    ``cpu_time`` counts the time of this process's threads rather than of the clock: with one thread, ratios mean
    something even on a machine that is busy with other work.
    """
    times: Times = {name: [] for name in tasks}
    clock = time.process_time if cpu_time else time.perf_counter
    for turn in range(-warmup, repeats):
        for name, task in tasks.items():
            start = clock()
            task()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= 0:
                times[name].append(clock() - start)
    return times


def medians(times: Times) -> dict[str, float]:
    """The median of each task in seconds."""
    return {name: statistics.median(values) for name, values in times.items()}


def median_ratio(times: Times, slow: str, fast: str) -> float:
    """How many times faster ``fast`` is: the median over turns, so that drift between turns cancels."""
    return statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def machine() -> dict[str, Any]:
    """Where this ran, for the record."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def peak_megabytes() -> float:
    """The most memory that this process has had resident."""
    peak = _of_process("VmHWM")
    if peak is None:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return peak


def resident_megabytes() -> float:
    """What this process has resident now; the most so far where that cannot be told."""
    resident = _of_process("VmRSS")
    return peak_megabytes() if resident is None else resident


def _of_process(field: str) -> float | None:
    """A field of Linux's account of this process, in megabytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


class Report:
    """Prints claims as they are measured; ``finish`` writes everything as JSON and says whether all held."""

    def __init__(self, title: str) -> None:
        self.record: dict[str, Any] = {"title": title, "machine": machine(), "figures": {}, "claims": []}
        print(f"{title}\n{self.record['machine']}")

    def figure(self, name: str, value: object, text: str) -> None:
        """A number without a claim."""
        self.record["figures"][name] = value
        print(f"     {name:44s} {text}")

    def claim(self, name: str, value: float, *, at_least: float | None = None, below: float | None = None) -> None:
        """A number that is promised to be ``at_least`` or ``below`` a limit."""
        holds = (at_least is None or value >= at_least) and (below is None or value < below)
        limit = f"at least {at_least}" if at_least is not None else f"below {below}"
        self.record["claims"].append({"name": name, "value": value, "limit": limit, "holds": holds})
        print(f"{'ok  ' if holds else 'FAIL'} {name:44s} {value:8.3f}  ({limit})")

    def finish(self, path: Path | None) -> int:
        """Write the JSON, and return the exit status: 0 where every claim holds."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")
        return 0 if all(claim["holds"] for claim in self.record["claims"]) else 1
