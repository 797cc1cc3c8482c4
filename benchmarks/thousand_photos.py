"""A thousand photos through the command line: time, memory, and going on after Ctrl-C.

    python benchmarks/thousand_photos.py --photos FOLDER ... [--count 1000] [--points-per-side 8] [--json FILE]

``sam2 image --everything --format json,coco,yolo`` with nano in a process of its own, two of the photos being none. It
is interrupted in the middle and goes on. Claims: what can be done is done, and memory does not grow with the number of
photos: its peak is that of the most difficult one. Reads the memory of the process as Linux accounts for it.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measure import Report

FORMATS = "json,coco,yolo"
JOURNAL = ".sam2-image.jsonl"
BAD = 2


def collect(folders: list[Path], count: int, target: Path) -> None:
    """Put ``count`` photos into ``target``; there are copies among them where the folders hold too few."""
    found = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    for number in range(count - BAD):
        source = found[number % len(found)]
        shutil.copyfile(source, target / f"{number:05d}.jpg")
    (target / "00100_bad.jpg").write_bytes(b"no photo")
    (target / "00101_bad.jpg").write_bytes(found[0].read_bytes()[:2000])


class Run:
    """``sam2 image`` in a process of its own.

    Attributes:
        sizes: (photos that were done, resident megabytes) as time went by.
        seconds: how long it took.
        out, status: what it printed, and its exit status.
    """

    def __init__(self, photos: Path, output: Path, arguments: list[str], *, stop_at: int | None = None) -> None:
        self.sizes: list[tuple[int, float]] = []
        options = ["--everything", "--format", FORMATS, "-o", str(output), "--resume", *arguments]
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sam2", "image", str(photos), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for done in self._watch(output / JOURNAL):
            if stop_at is not None and done >= stop_at:
                self._process.send_signal(signal.SIGINT)
                stop_at = None
        self.out, self.err = self._process.communicate()
        self.status = self._process.returncode
        self.seconds = time.perf_counter() - started

    def _watch(self, journal: Path) -> Iterator[int]:
        """How many photos are done, once a second."""
        done = place = 0
        while self._process.poll() is None:
            time.sleep(1)
            if journal.is_file():
                with open(journal, "rb") as file:
                    file.seek(place)
                    new = file.read()
                done, place = done + new.count(b'{"photo"'), place + len(new)
            size = _resident(self._process.pid)
            if size is not None:
                self.sizes.append((done, size))
            yield done

    @property
    def peak(self) -> float:
        """Megabytes."""
        return max(size for _, size in self.sizes)

    @property
    def growth(self) -> float:
        """Megabytes that the second half of the photos took more than the first but for a tenth, by their medians."""
        start, end = self.sizes[0][0], self.sizes[-1][0]
        shares = [((done - start) / max(1, end - start), size) for done, size in self.sizes]
        earlier = [size for share, size in shares if 0.1 <= share < 0.5] or [0.0]
        return median(size for share, size in shares if share >= 0.5) - median(earlier)


def _resident(process: int) -> float | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return None


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders with .jpg files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--points-per-side", default="8")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    report = Report(f"{arguments.count} photos, {arguments.points_per_side} x {arguments.points_per_side} clicks")
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what runs in the background may have been told to ignore it
    options = ["--points-per-side", arguments.points_per_side, "--model", arguments.model]
    with tempfile.TemporaryDirectory() as folder:
        photos, output = Path(folder, "photos"), Path(folder, "labels")
        photos.mkdir()
        collect(arguments.photos, arguments.count, photos)
        first = Run(photos, output, options, stop_at=arguments.count // 2)
        print(f"     {first.err.splitlines()[-1]}")
        second = Run(photos, output, options)
        print(f"     {second.out.splitlines()[-1]}")
        seconds = first.seconds + second.seconds
        with open(output / "coco.json", encoding="utf-8") as file:
            written = json.load(file)
        report.figure("time", seconds, f"{seconds:9.0f} s, {seconds / arguments.count:.2f} s a photo")
        report.figure("masks", len(written["annotations"]), f"{len(written['annotations']):9d}")
        report.figure("peak memory", second.peak, f"{second.peak:9.0f} MB, {first.peak:.0f} MB before the break")
        size = os.path.getsize(output / JOURNAL) / 2**20
        sizes = first.sizes[:: max(1, len(first.sizes) // 20)]
        report.figure("memory along the way", sizes, " ".join(f"{size:.0f}" for _, size in sizes))
        report.figure("journal", size, f"{size:9.1f} MB")
        report.claim("photos in coco.json", len(written["images"]), at_least=arguments.count - BAD)
        report.claim("exit status: some failed", float(second.status == 1), at_least=1)
        report.claim("interrupted (status 130)", float(first.status == 130), at_least=1)
        report.claim("growth before the break (MB)", first.growth, below=100)
        report.claim("growth after the break (MB)", second.growth, below=100)
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
