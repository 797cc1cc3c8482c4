"""Small pictures of videos: all of them, once; what a crash leaves is used, what it tore is not."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import numpy as np
import pytest
from PIL import Image

from sam2.io.frames import open_frames
from sam2.io.source import FrameSource
from sam2.io.video_writer import VideoWriter
from sam2.web.media import strip as module
from sam2.web.media.strip import Strip, wanted_frames

LENGTH = 24
PATIENCE = 30.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameSource]:
    """Frames that get brighter, with several key frames."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    with VideoWriter(path, fps=10) as writer:
        for frame in range(LENGTH):
            writer.write(np.full((240, 400, 3), 10 * frame, np.uint8))
    with open_frames(path) as frames:
        yield frames


def opened(path: Path, video: FrameSource, *, tag: str = "1", busy: Callable[[], bool] = lambda: False) -> Strip:
    strip = Strip(path, video, tag=tag, busy=busy)
    strip.start()
    return strip


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)


def brightness(strip: Strip, frame: int) -> float:
    found = strip.picture(frame)
    assert found is not None
    with Image.open(io.BytesIO(found[1])) as picture:
        assert picture.size == (320, 192)
        return float(np.asarray(picture).mean())


def test_every_frame_gets_its_picture(video: FrameSource, tmp_path: Path) -> None:
    strip = opened(tmp_path / "strip.bin", video)
    wait_for(lambda: strip.is_complete)

    for frame in range(LENGTH):
        assert strip.picture(frame)[0] == frame
        assert brightness(strip, frame) == pytest.approx(10 * frame, abs=6)
    strip.close()
    assert strip.picture(0) is None


def test_what_is_there_is_not_made_again(video: FrameSource, tmp_path: Path) -> None:
    first = opened(tmp_path / "strip.bin", video)
    wait_for(lambda: first.is_complete)
    first.close()
    before = (tmp_path / "strip.bin").read_bytes()

    with patch.object(module, "jpeg", side_effect=AssertionError):
        second = opened(tmp_path / "strip.bin", video)
        assert second.is_complete
        assert brightness(second, 12) == pytest.approx(120, abs=6)
        second.close()
    assert (tmp_path / "strip.bin").read_bytes() == before


def test_a_torn_end_is_made_again(video: FrameSource, tmp_path: Path) -> None:
    path = tmp_path / "strip.bin"
    first = opened(path, video)
    wait_for(lambda: first.is_complete)
    first.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])

    torn = opened(path, video, busy=lambda: True)  # makes one picture at most
    assert 5 < len(torn) < LENGTH
    torn.close()
    second = opened(path, video)
    wait_for(lambda: second.is_complete)

    for frame in (0, LENGTH // 2, LENGTH - 1):
        assert brightness(second, frame) == pytest.approx(10 * frame, abs=6)
    second.close()
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"something else", b"\xff" * 5000], ids=["empty", "foreign", "noise"])
def test_another_file_in_its_place_is_replaced(video: FrameSource, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "strip.bin").write_bytes(content)
    strip = opened(tmp_path / "strip.bin", video)
    wait_for(lambda: strip.is_complete)
    assert brightness(strip, 20) == pytest.approx(200, abs=6)
    strip.close()


def test_pictures_of_another_video_are_thrown_away(video: FrameSource, tmp_path: Path) -> None:
    first = opened(tmp_path / "strip.bin", video, tag="1")
    wait_for(lambda: first.is_complete)
    first.close()

    second = opened(tmp_path / "strip.bin", video, tag="2", busy=lambda: True)

    assert len(second) <= 1  # the first picture comes before it asks whether others are busy
    second.close()


def test_it_waits_while_others_are_busy(video: FrameSource, tmp_path: Path) -> None:
    busy = [True]
    strip = opened(tmp_path / "strip.bin", video, busy=lambda: busy[0])
    wait_for(lambda: len(strip) == 1)
    time.sleep(0.3)
    assert len(strip) == 1
    busy[0] = False
    wait_for(lambda: strip.is_complete)
    strip.close()


def test_of_a_long_video_the_nearest_key_frame_is_shown(video: FrameSource, tmp_path: Path) -> None:
    with patch.object(module, "MOST", 4):
        wanted = wanted_frames(video)
        strip = opened(tmp_path / "strip.bin", video)
        wait_for(lambda: strip.is_complete)

    assert 1 <= len(wanted) <= 4
    assert set(wanted) <= {*video.index.keys}
    for frame in range(LENGTH):
        found = strip.picture(frame)
        if found is not None:
            assert abs(found[0] - frame) == min(abs(other - frame) for other in wanted)
    assert strip.picture(wanted[-1])[0] == wanted[-1]
    strip.close()


def test_a_full_disk_is_nobodys_trouble(video: FrameSource, tmp_path: Path) -> None:
    strip = Strip(tmp_path / "strip.bin", video, tag="1", busy=lambda: False)
    room = iter([None] * 3)

    def add(frame: int, picture: bytes) -> None:
        if next(room, "full") == "full":
            raise OSError(28, "No space left on device")
        added(frame, picture)

    added = strip._add
    with patch.object(strip, "_add", side_effect=add):
        strip.start()
        wait_for(lambda: not strip._thread.is_alive())

    assert len(strip) == 3
    assert brightness(strip, 2) == pytest.approx(20, abs=6)
    assert strip.picture(3) is None
    strip.close()
    with patch.object(Path, "open", side_effect=OSError(28, "No space left on device")):
        nothing = opened(tmp_path / "other.bin", video)
    assert nothing.picture(0) is None
    nothing.close()


def test_small_pictures_come_from_the_strip(client: httpx.Client) -> None:
    name = client.post("/v1/projects", json={"path": "clip.mp4", "name": "strip"}).json()["name"]
    place = f"/v1/projects/{name}/frames/5/image"

    for _ in range(2):
        answer = client.get(place, params={"size": 320})
        assert answer.status_code == 200
        assert answer.headers["x-frame"] == "5"
        assert (
            client.get(place, headers={"if-none-match": answer.headers["etag"]}, params={"size": 320}).status_code
            == 304
        )
    client.delete(f"/v1/projects/{name}")
