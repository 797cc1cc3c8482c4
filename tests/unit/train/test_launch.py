"""Processes that train together: started, told to stop, ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sam2
from sam2.train.launch import run_together


def test_when_one_process_fails_the_others_are_ended():
    script = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    assert run_together([sys.executable, "-c", script], 2) == 3
    with pytest.raises(ValueError, match="count must be at least 1"):
        run_together(["true"], 0)


def test_a_process_has_one_thread_unless_told_otherwise(monkeypatch):
    script = "import os, sys; sys.exit(int(os.environ['OMP_NUM_THREADS']) + 10)"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run_together([sys.executable, "-c", script], 2) == 11
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run_together([sys.executable, "-c", script], 2) == 13


def test_a_wish_to_stop_reaches_the_processes(tmp_path):
    """The launcher, told to end, tells its processes, and waits until they have saved."""
    child = (
        "import os, pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def save(*_):\n"
        "    (folder / ('saved' + os.environ['RANK'])).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(folder / ('ready' + os.environ['RANK'])).touch()\n"
        "time.sleep(600)\n"
    )
    launcher = (
        "import sys\nfrom sam2.train.launch import run_together\n"
        f"sys.exit(run_together([sys.executable, '-c', {child!r}], 2))"
    )
    source = str(Path(sam2.__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-c", launcher], env={**os.environ, "PYTHONPATH": source})
    try:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "ready0").exists() and (tmp_path / "ready1").exists()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert (tmp_path / "saved0").exists()
    assert (tmp_path / "saved1").exists()
