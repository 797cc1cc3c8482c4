"""A thousand photos through ``sam2 image --everything``: constant memory, bad files among them, breaks.

``nano`` at 256 px with random weights and 2 x 2 clicks, so that it takes a minute or two on two cores. The bundled
model at its own size is measured by ``benchmarks/thousand_photos.py``.
"""

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import sam2
from sam2.cli.errors import run
from sam2.cli.image.journal import NAME
from sam2.interop.formats import read_annotations
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc"),
]

MB = 2**20
PHOTOS, FEW = 1000, 60
SETTLED = 150
"""Photos after which everything that is kept has been kept once."""
BAD = range(20, PHOTOS, 100)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``0000.jpg`` to ``0999.jpg``, disks and bars on noise, of many sizes; some are cut off, empty, or text."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0).integers(60, 130, (96, 128, 3)).astype(np.uint8)
    for number in range(PHOTOS):
        picture = np.roll(noise, number, axis=1)[number % 13 :, number % 7 * 4 :].copy()
        colour = [int(value) for value in np.random.default_rng(number).integers(0, 255, 3)]
        cv2.circle(picture, (30 + number % 70, 30 + number % 40), 12 + number % 16, colour, -1)
        cv2.rectangle(picture, (5, 60 + number % 20), (70, 90), colour[::-1], -1)
        path = folder / f"{number:04d}.jpg"
        cv2.imwrite(str(path), picture)
        if number in BAD:
            data = path.read_bytes()
            path.write_bytes([data[: len(data) // 2], b"", b"no photo\n"][number // 100 % 3])
    return folder


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = build_model(replace(NANO, image_size=256)).eval()
    monkeypatch.setattr(sam2, "load", lambda name, **_: model)


def segment(photos: Path, output: Path, *more: str) -> int:
    """The exit status of a run; whatever the weights, it finds something."""
    options = "--everything --points-per-side 2 --iou-threshold 0 --stability-threshold 0 --max-masks 3 --min-area 20"
    formats = "json,coco,yolo,cvat"
    return run(["image", str(photos), *options.split(), "--format", formats, "-o", str(output), *more])


class Watcher(threading.Thread):
    """Looks at the journal and at the memory of this process until ``stop`` is called; may interrupt it."""

    def __init__(self, output: Path, *, interrupt_after: int | None = None) -> None:
        super().__init__(daemon=True)
        self._journal, self._interrupt_after = output / NAME, interrupt_after
        self._stopped = threading.Event()
        self.bytes: dict[int, int] = {}

    def run(self) -> None:
        """Look ten times a second."""
        rows, place = 0, 0
        while not self._stopped.wait(0.1):
            if not self._journal.is_file():
                continue
            with open(self._journal, "rb") as file:
                file.seek(place)
                new = file.read()
            rows, place = rows + new.count(b"\n"), place + len(new)
            self.bytes[rows] = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            if self._interrupt_after is not None and rows > self._interrupt_after:
                os.kill(os.getpid(), signal.SIGINT)
                return

    def stop(self) -> None:
        """End, and wait for it."""
        self._stopped.set()
        self.join()

    @property
    def growth(self) -> int:
        """How many bytes more the second half of the photos took at most than those before, once things had settled."""
        earlier = [size for rows, size in self.bytes.items() if SETTLED <= rows < PHOTOS // 2]
        return max(size for rows, size in self.bytes.items() if rows >= PHOTOS // 2) - max(earlier)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != NAME
    }


def test_a_thousand_photos_in_constant_memory(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(tmp_path / "out")
    watcher.start()
    status = segment(photos, tmp_path / "out")
    watcher.stop()
    captured = capsys.readouterr()

    assert status == 1
    assert f"{PHOTOS} images, {PHOTOS - len(BAD)} done, {len(BAD)} failed, " in captured.out
    assert len(captured.err.splitlines()) == len(BAD)
    assert watcher.growth < 32 * MB
    for name in ("coco.json", "cvat.xml"):
        found = read_annotations(tmp_path / "out" / name)
        assert len(found) == PHOTOS - len(BAD), name
        assert sum(bool(image.objects) for image in found) > PHOTOS / 2, name
    assert len(list((tmp_path / "out" / "yolo" / "labels").glob("*.txt"))) == PHOTOS - len(BAD)
    assert len(list((tmp_path / "out").glob("*.json"))) == PHOTOS - len(BAD) + 1


def test_an_interrupted_run_goes_on_to_the_same_bits(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(photos.iterdir())[:FEW]:
        os.link(path, folder / path.name)
    assert segment(folder, tmp_path / "whole") == 1
    breaks = 0
    for after in (15, 40):
        watcher = Watcher(tmp_path / "broken", interrupt_after=after)
        watcher.start()
        status = segment(folder, tmp_path / "broken", "--resume")
        watcher.stop()
        breaks += status == 130
    assert breaks == 2, "both were in time"
    assert not (tmp_path / "broken" / "coco.json").exists()
    assert segment(folder, tmp_path / "broken", "--resume") == 1
    assert "done before" in capsys.readouterr().out
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "broken")
