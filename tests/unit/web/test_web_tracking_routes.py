"""The calls about tracking, as a page makes them."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient

import sam2
from sam2.interop.rle import decode_mask, encode_mask
from sam2.io.video_writer import VideoWriter
from sam2.web.app import create_app
from sam2.web.settings import StudioSettings

HEIGHT, WIDTH, LENGTH = 96, 128, 8
PATIENCE = 60.0
NUMBERS = itertools.count()
CLICK = {"points": [{"x": 27, "y": 38}]}


def picture(frame: int) -> np.ndarray:
    drawn = np.random.default_rng(1).integers(60, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    drawn[20:56, 10 + 3 * frame : 44 + 3 * frame] = (220, 40, 40)
    return drawn


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A studio with a clip and a photo."""
    folder = tmp_path_factory.mktemp("studio")
    media = folder / "media"
    (media / "photos").mkdir(parents=True)
    Image.fromarray(picture(0)).save(media / "photos" / "one.png")
    with VideoWriter(media / "clip.mp4", fps=25) as writer:
        for index in range(LENGTH):
            writer.write(picture(index))
    settings = StudioSettings(projects=folder / "projects", files=media)
    with TestClient(create_app(settings, model=sam2.load("nano")), base_url="http://localhost") as client:
        yield client


class Project:
    """A project as its page sees it."""

    def __init__(self, client: TestClient, path: str, name: str) -> None:
        self.client = client
        self.name = self("POST", "", {"path": path, "name": name}, project="")["name"]

    def ask(self, method: str, path: str, body: Any = None, *, project: str | None = None) -> Any:
        place = f"/{self.name}" if project is None else project
        return self.client.request(method, f"/v1/projects{place}{path}", json=body)

    def __call__(self, method: str, path: str, body: Any = None, *, project: str | None = None) -> Any:
        answer = self.ask(method, path, body, project=project)
        assert answer.is_success, answer.text
        return answer.json()

    def finish(self) -> dict[str, Any]:
        wait_for(lambda: self("GET", "")["job"]["state"] != "running")
        return self("GET", "")["job"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


@pytest.fixture
def clip(client: TestClient) -> Project:
    """A new project of the clip, with one object that nothing is said of."""
    project = Project(client, "clip.mp4", f"project-{next(NUMBERS)}")
    project("POST", "/objects", {})
    return project


@pytest.fixture
def photos(client: TestClient) -> Project:
    return Project(client, "photos", f"project-{next(NUMBERS)}")


def test_click_track_correct_track_again(clip: Project) -> None:
    clicked = clip("PUT", "/frames/0/objects/1/prompts", CLICK)
    began = clip.ask("POST", "/track", {"start": 0})
    assert began.status_code == 202
    assert began.json()["kind"] == "track"
    done = clip.finish()
    assert (done["state"], done["done"], done["total"]) == ("done", LENGTH, LENGTH)

    states = clip("GET", f"/masks?start=0&stop={LENGTH}")
    assert [state["frame"] for state in states] == list(range(LENGTH))
    assert states[0]["objects"][0]["mask"] == clicked["mask"]
    assert decode_mask(states[5]["objects"][0]["mask"])[38, 42]
    (line,) = clip("GET", "/timeline")["objects"]
    assert line["prompted"] == [0]
    assert line["frames"] == list(range(LENGTH))

    half = np.zeros((HEIGHT, WIDTH), bool)
    half[20:38, 19:53] = True
    clip("PUT", "/frames/3/objects/1/prompts", {"mask": encode_mask(half)})
    clip("POST", "/track", {"start": 3})
    assert clip.finish()["state"] == "done"
    after = clip("GET", f"/masks?start=0&stop={LENGTH}")
    assert after[:3] == states[:3]
    assert np.array_equal(decode_mask(after[3]["objects"][0]["mask"]), half)
    assert after[4]["objects"][0]["mask"] != states[4]["objects"][0]["mask"]
    assert clip("GET", "/timeline")["objects"][0]["prompted"] == [0, 3]


def test_one_job_at_a_time(clip: Project) -> None:
    clip("PUT", "/frames/0/objects/1/prompts", CLICK)
    clip("POST", "/track", {"start": 0})

    again = clip.ask("POST", "/track", {"start": 0})
    stopped = clip("DELETE", "/job")

    assert again.status_code == 409
    assert "busy" in again.json()["detail"]
    assert stopped["state"] in ("paused", "done")
    assert clip("DELETE", "/job") == stopped


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/track", {"start": 0}, 422, "nothing is pointed out yet"),
        ("POST", "/track", {"start": LENGTH}, 422, "start must be a frame of the video"),
        ("POST", "/track", {"start": 0, "object_ids": [7]}, 404, "there is no object 7"),
        ("POST", "/track", {"start": 0, "direction": "up"}, 422, "direction"),
        ("POST", "/track", {}, 422, "start"),
        ("DELETE", "/job", None, 404, "no job"),
        ("GET", "/masks?start=0&stop=900", None, 422, "stop must be"),
        ("GET", "/masks?start=5&stop=2", None, 422, "stop must be"),
        ("GET", "/masks?start=-1", None, 422, "start"),
        ("POST", f"/frames/{LENGTH}/everything", {}, 404, "no frame"),
        ("POST", "/frames/0/everything", {"points_per_side": 0}, 422, "points_per_side"),
    ],
)
def test_what_is_refused(clip: Project, method: str, path: str, body: Any, status: int, words: str) -> None:
    answer = clip.ask(method, path, body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_masks_beyond_the_end(clip: Project) -> None:
    assert clip("GET", "/masks?start=9999") == []
    assert clip("GET", "/masks") == []


def test_photos_are_not_tracked(photos: Project) -> None:
    for method, path, body in (("POST", "/track", {"start": 0}), ("GET", "/timeline", None)):
        answer = photos.ask(method, path, body)
        assert answer.status_code == 422
        assert "only videos are tracked" in answer.json()["detail"]


def test_everything_in_a_photo(photos: Project) -> None:
    began = photos.ask("POST", "/frames/0/everything", {"points_per_side": 8, "label": "toy"})
    assert began.status_code == 202
    job = photos.finish()

    assert job["state"] == "done"
    assert "found" in job["message"]
    (state,) = photos("GET", "/masks")
    assert any(decode_mask(item["mask"])[38, 27] for item in state["objects"])
    assert {item["label"] for item in photos("GET", "")["objects"]} == {"toy"}


def test_everything_in_a_frame_can_be_tracked(clip: Project) -> None:
    clip("POST", "/frames/0/everything", {"points_per_side": 6})
    assert clip.finish()["kind"] == "everything"
    found = [item["object_id"] for item in clip("GET", "/frames/0")["objects"] if decode_mask(item["mask"])[38, 27]]

    clip("POST", "/track", {"start": 0, "stop": 3, "object_ids": found})
    assert clip.finish()["state"] == "done"

    (there,) = (item for item in clip("GET", "/frames/3")["objects"] if item["object_id"] == found[0])
    assert there["source"] == "tracking"
    assert decode_mask(there["mask"])[38, 40]
