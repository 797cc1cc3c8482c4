"""The studio is killed in the middle of tracking: what was done is there when it starts again, and it goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sam2
from sam2.interop.rle import decode_mask
from sam2.io.video_writer import VideoWriter

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught"),
]

SOURCE = Path(sam2.__file__).resolve().parent.parent
HEIGHT, WIDTH, LENGTH = 120, 160, 60
ENOUGH, PATIENCE = 12, 60.0


def square(frame: int) -> tuple[slice, slice]:
    """Where the object is."""
    left = 10 + frame
    return slice(40, 80), slice(left, left + 36)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A red square that crosses a dark picture."""
    path = tmp_path / "media" / "clip.mp4"
    path.parent.mkdir()
    background = np.random.default_rng(3).integers(40, 90, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    with VideoWriter(path, fps=25) as writer:
        for index in range(LENGTH):
            picture = background.copy()
            picture[square(index)] = (225, 40, 30)
            writer.write(picture)
    return path


class Client:
    """Calls to a studio."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Origin": self.url}
        request = urllib.request.Request(f"{self.url}/v1{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            content = answer.read()
        return json.loads(content) if content else None


@contextmanager
def studio(video: Path, *, killed: bool) -> Iterator[Client]:
    """A studio in a process of its own; it is killed, or asked to end, when it is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sam2", "studio", str(video.parent), "--no-browser", "--port", str(port)]
    command += ["--projects", str(video.parent.parent / "projects"), "--model", "nano"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    with open(video.parent.parent / f"studio-{port}.txt", "wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        client = Client(port)

        def answers() -> bool:
            assert process.poll() is None, Path(output.name).read_text()
            try:
                return bool(client("GET", "/server"))
            except urllib.error.URLError:
                return False

        wait_for(answers)
        yield client
        if not killed:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait(PATIENCE)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)


def masks(client: Client, name: str) -> dict[int, NDArray[np.bool_]]:
    """The masks of the only object by frame."""
    frames = client("GET", f"/projects/{name}/masks?start=0&stop={LENGTH}")
    return {state["frame"]: decode_mask(state["objects"][0]["mask"]) for state in frames}


def test_killed_while_tracking_nothing_is_lost_and_it_goes_on(video: Path) -> None:
    prompts = {"points": [{"x": 28, "y": 60, "label": 1}, {"x": 150, "y": 10, "label": 0}]}
    with studio(video, killed=True) as client:
        project = client("POST", "/projects", {"path": video.name})
        name = project["name"]
        object_id = client("POST", f"/projects/{name}/objects", {"name": "square", "label": "toy"})["id"]
        clicked = client("PUT", f"/projects/{name}/frames/0/objects/{object_id}/prompts", prompts)
        client("POST", f"/projects/{name}/track", {"start": 0, "direction": "forward"})
        wait_for(lambda: len(masks(client, name)) >= ENOUGH)
        before = masks(client, name)

    with studio(video, killed=False) as client:
        project = client("POST", "/projects", {"path": video.name})
        assert project["name"] == name
        assert [(item["id"], item["name"], item["label"]) for item in project["objects"]] == [
            (object_id, "square", "toy")
        ]
        frame = client("GET", f"/projects/{name}/frames/0")["objects"][0]
        assert frame["mask"] == clicked["mask"]
        assert [(point["x"], point["y"], point["label"]) for point in frame["prompts"]["points"]] == [
            (28, 60, 1),
            (150, 10, 0),
        ]
        kept = masks(client, name)
        assert len(before) <= len(kept) < LENGTH, "it was to be killed in the middle"
        assert all(np.array_equal(kept[index], mask) for index, mask in before.items())

        last = max(kept)
        client("POST", f"/projects/{name}/track", {"start": last, "direction": "forward"})
        wait_for(lambda: client("GET", f"/projects/{name}")["job"]["state"] == "done")

        found = masks(client, name)
        assert sorted(found) == list(range(LENGTH))
        for index in (ENOUGH, last + 1, LENGTH - 1):
            truth = np.zeros((HEIGHT, WIDTH), bool)
            truth[square(index)] = True
            assert (found[index] & truth).sum() / (found[index] | truth).sum() > 0.8
