"""Eight people click at once for a minute."""

import base64
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

import sam2
from sam2.interop.rle import decode_mask
from sam2.web.app import create_app
from sam2.web.serve import listen
from sam2.web.settings import StudioSettings

CLIENTS, SECONDS = 8, 60.0
PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    listening = listen("127.0.0.1", 0)
    app = create_app(StudioSettings(projects=tmp_path, files=PHOTOS, requests_per_second=1e6), model=sam2.load("nano"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listening.close()


class Person:
    """Clicks on a photo: half of the people in a project, half without one."""

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.client = httpx.Client(base_url=address, timeout=60)
        self.random = np.random.default_rng(number)
        self.times: list[float] = []
        self.answers: list[tuple[tuple[float, float], dict]] = []
        self.errors: list[str] = []
        photo = sorted(PHOTOS.glob("*.png"))[number % 3]
        with Image.open(photo) as image:
            self.size = image.size
            buffer = BytesIO()
            image.convert("RGB").save(buffer, "JPEG")
        self.image = base64.b64encode(buffer.getvalue()).decode()
        self.project = None
        if number % 2 == 0:
            name = f"p{number}"
            self.project = f"/v1/projects/{name}"
            assert self.client.post("/v1/projects", json={"path": photo.name, "name": name}).status_code == 201
            assert self.client.post(f"{self.project}/objects", json={"frame": 0}).status_code == 201

    def click(self, x: float, y: float) -> dict:
        """The mask of a click."""
        prompt = {"points": [{"x": x, "y": y}]}
        if self.project is None:
            answer = self.client.post("/v1/segment", json={"image": self.image, "prompts": [prompt]})
        else:
            answer = self.client.put(f"{self.project}/frames/0/objects/1/prompts", json=prompt)
        if answer.status_code != 200:
            self.errors.append(f"{answer.status_code} {answer.text}")
            return {}
        content = answer.json()
        return content["mask"] if self.project else content["masks"][0]["rle"]

    def work(self, end: float) -> None:
        """Click until ``end``."""
        while time.monotonic() < end and not self.errors:
            place = tuple(float(v) for v in self.random.uniform(0, self.size))
            start = time.perf_counter()
            mask = self.click(*place)
            self.times.append(time.perf_counter() - start)
            if len(self.answers) < 12:
                self.answers.append((place, mask))


@pytest.mark.slow
def test_eight_people_click_for_a_minute(address: str) -> None:
    people = [Person(number, address) for number in range(CLIENTS)]
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=person.work, args=(end,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 60)
    try:
        assert [error for person in people for error in person.errors] == []
        times = sorted(1000 * value for person in people for value in person.times)
        report = {
            "clients": CLIENTS,
            "clicks": len(times),
            "median_ms": round(statistics.median(times), 1),
            "p95_ms": round(times[int(0.95 * len(times))], 1),
        }
        print(json.dumps(report))
        if folder := os.environ.get("SAM2_ARTEFACTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / "studio_load.json").write_text(json.dumps(report))
        assert len(times) >= CLIENTS * 20

        for person in people:  # alone, they get the same
            for place, mask in person.answers[:6]:
                before, now = decode_mask(mask), decode_mask(person.click(*place))
                assert (before ^ now).sum() <= max(8, 0.01 * max(before.sum(), now.sum())), place
    finally:
        for person in people:
            person.client.close()
