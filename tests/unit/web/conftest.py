"""A real server of the studio with nano, on a folder of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

import sam2
from sam2.io.video_writer import VideoWriter
from sam2.modeling.sam2_base import SAM2Base
from sam2.web.app import create_app
from sam2.web.serve import listen
from sam2.web.settings import StudioSettings

Serve = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="session")
def nano() -> SAM2Base:
    """The bundled model in float32."""
    return sam2.load("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def serve(nano: SAM2Base) -> Serve:
    """``with serve(folder, **settings) as client``: the studio behind a port of its own."""

    @contextmanager
    def serving(folder: Path, **settings: Any) -> Iterator[httpx.Client]:
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        app = create_app(StudioSettings(projects=folder, port=port, **settings), model=nano)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)
            listening.close()
            assert not thread.is_alive()

    return serving


def disc(size: tuple[int, int] = (120, 160), centre: tuple[int, int] = (80, 60), radius: int = 25) -> np.ndarray:
    """A light disc on a dark, textured ground, [h, w, 3] uint8."""
    rng = np.random.default_rng(0)
    image = rng.integers(20, 60, (*size, 3)).astype(np.uint8)
    y, x = np.mgrid[: size[0], : size[1]]
    image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = (230, 120, 60)
    return image


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, a set of three photos (one of them damaged), a video, and what may not be opened."""
    folder = tmp_path_factory.mktemp("media")
    Image.fromarray(disc()).save(folder / "disc.png")
    (folder / "set").mkdir()
    for number in (1, 2, 10):
        Image.fromarray(disc((90 + number, 140), (60, 45), 20)).save(folder / "set" / f"photo{number}.jpg")
    (folder / "set" / "photo10.jpg").write_bytes(b"no picture")
    with VideoWriter(folder / "clip.mp4", fps=10) as writer:
        for frame in range(8):
            writer.write(disc(centre=(50 + 5 * frame, 60)))
    (folder / "secret.txt").write_text("not a picture")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def client(serve: Serve, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a studio on ``media``."""
    with serve(tmp_path_factory.mktemp("projects"), files=media) as found:
        yield found
