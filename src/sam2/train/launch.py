"""Starts the processes that train together, passes a wish to stop on to them, and ends when they have ended.

They find each other as those of torchrun do. On CPUs one single-threaded process a core beats one process with many
threads by half: the cores meet once a step and not in every operation.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

POLL_SECONDS = 0.2


def run_together(command: Sequence[str], count: int) -> int:
    """Run ``command`` ``count`` times on this machine, as ranks 0 to ``count`` - 1; the first bad exit status, or 0.

    Ctrl-C and SIGTERM are passed on. When one process fails, the others, which would wait for it for ever, are ended.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")  # each with all cores would wait for the others
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if os.name == "nt" and number == signal.SIGINT:
            return  # there the console has told them already, and to terminate is to kill
        for process in processes:
            process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(count):
            environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            # In a session of their own, so that a terminal's Ctrl-C reaches them once: from here.
            processes.append(subprocess.Popen(list(command), env=environment, start_new_session=True))
        return _wait(processes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait(processes: Sequence["subprocess.Popen[bytes]"]) -> int:
    while True:
        statuses = [process.poll() for process in processes]
        failed = [status for status in statuses if status]
        if failed:
            return failed[0] if failed[0] > 0 else 128 - failed[0]  # of a signal: as shells say it
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
