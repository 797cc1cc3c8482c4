"""``sam2 camera``: files in place of cameras, and a window that is not there."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from sam2.cli.video import live, window

Cli = Callable[..., Any]
LENGTH = 12
BOX = ("--box", "20,20,60,70")


def length(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class Screen:
    """Stands for OpenCV's windows: what was shown, and somebody who clicks and types."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[np.ndarray] = []
        self.events: dict[int, list[tuple[int, int, int]]] = {}
        self.keys: dict[int, str] = {}
        self.closed = False
        self._callback: Callable[..., None] = print
        monkeypatch.setattr(window, "has_windows", lambda: True)
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "setMouseCallback", lambda _, callback: setattr(self, "_callback", callback))
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", self._wait)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
        monkeypatch.setattr(cv2, "destroyWindow", lambda _: setattr(self, "closed", True))

    def _wait(self, _: int) -> int:
        number = len(self.shown) - 1
        for event in self.events.get(number, []):
            self._callback(*event, 0, None)
        return ord(self.keys[number]) if number in self.keys else -1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A window."""
    return Screen(monkeypatch)


def test_a_file_is_written_frame_by_frame(cli: Cli, movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "film.mp4"
    outcome = cli("camera", movie, *BOX, "--point", "2@95,60", "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("12 frames in ")
    assert outcome.out.rstrip().endswith(f"written to {out}")
    assert length(out) == LENGTH


def test_frames_can_be_counted(cli: Cli, movie: Path, tmp_path: Path) -> None:
    assert cli("camera", movie, *BOX, "-o", tmp_path / "a.mp4", "--frames", "5").status == 0
    assert length(tmp_path / "a.mp4") == 5


def test_a_slow_camera_gives_a_film_that_is_as_long_as_it_took(
    cli: Cli, pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames(_: object) -> Iterator[np.ndarray]:
        for picture in pictures[:4]:
            time.sleep(0.3)
            yield picture

    monkeypatch.setattr(live, "stream_frames", frames)
    assert cli("camera", "0", *BOX, "-o", tmp_path / "a.mp4", "--fps", "20").status == 0
    assert length(tmp_path / "a.mp4") >= 4 * 0.3 * 20 - 2


def test_a_window_shows_takes_clicks_and_ends(cli: Cli, movie: Path, screen: Screen) -> None:
    screen.events = {1: [(cv2.EVENT_LBUTTONDOWN, 45, 45), (cv2.EVENT_RBUTTONDOWN, 110, 10)]}
    screen.keys = {3: "n", 6: "q"}
    screen.events[3] = [(cv2.EVENT_LBUTTONDOWN, 95, 60), (cv2.EVENT_MOUSEMOVE, 5, 5)]
    outcome = cli("camera", movie)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("7 frames in ")
    assert screen.closed
    assert len(screen.shown) == 7
    plain = screen.shown[0][..., ::-1].astype(int)
    green, red = (screen.shown[2][y - 2 : y + 3, x - 2 : x + 3, ::-1].astype(int) for x, y in ((45, 45), (110, 10)))
    assert (np.median(green, (0, 1)) != np.median(plain[43:48, 43:48], (0, 1))).any()
    assert (red[..., 0] - red[..., 1]).max() > 100


def test_starting_over_in_the_window(cli: Cli, movie: Path, screen: Screen, pictures: np.ndarray) -> None:
    screen.keys = {3: "r", 5: "\x1b"}
    outcome = cli("camera", movie, *BOX, "--window")
    assert outcome.status == 0, outcome.err
    assert len(screen.shown) == 6
    changed = [
        np.abs(shown[..., ::-1].astype(int) - picture).mean()
        for shown, picture in zip(screen.shown, pictures[:6], strict=True)
    ]
    assert min(changed[:4]) > 3 * max(changed[4:])


@pytest.mark.skipif(window.has_windows(), reason="this OpenCV has windows")
def test_without_windows_a_sentence_says_what_to_do(cli: Cli, movie: Path) -> None:
    outcome = cli("camera", movie, *BOX)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert "has no windows: give -o FILE.mp4" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0", "-o", "a.mp4"], "nothing to track"),
        (["0", *BOX, "-o", "a.gif"], "expected the name of an .mp4 file"),
        (["0", "--point", "3:5,5", "-o", "a.mp4"], "on its first frame, number 0, got a prompt on frame 3"),
        (["0", *BOX, "-o", "a.mp4", "--fps", "0"], "--fps must be above 0"),
        (["missing.mp4", *BOX, "-o", "a.mp4"], "missing.mp4"),
    ],
)
def test_wrong_usage_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("camera", *arguments)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
    assert not list(tmp_path.iterdir())
