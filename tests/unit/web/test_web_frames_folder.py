"""A folder of frames, opened as a video: tracked like one, and beside the same folder as a set of photos."""

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from sam2.interop.rle import decode_mask

LENGTH, SIZE = 6, (96, 128)


def frame(index: int) -> Image.Image:
    """A red square that goes right, on dark noise."""
    picture = np.random.default_rng(1).integers(20, 60, (*SIZE, 3)).astype(np.uint8)
    picture[20:56, 10 + 4 * index : 44 + 4 * index] = (220, 40, 40)
    return Image.fromarray(picture)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "frames").mkdir()
    (folder / "uneven").mkdir()
    for index in range(LENGTH):
        frame(index).save(folder / "frames" / f"{index}.png")
        frame(index).resize((128, 96 + index)).save(folder / "uneven" / f"{index}.png")
    frame(0).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def studio(serve: Any, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serve(tmp_path_factory.mktemp("projects"), files=files) as client:
        yield client


def track(studio: httpx.Client, name: str) -> list[dict[str, Any]]:
    """Click on the square, follow it to the end; the states of all frames."""
    place = f"/v1/projects/{name}"
    number = studio.post(f"{place}/objects", json={}).json()["id"]
    said = studio.put(f"{place}/frames/0/objects/{number}/prompts", json={"points": [{"x": 27, "y": 38}]})
    assert said.status_code == 200
    assert studio.post(f"{place}/track", json={"direction": "forward", "start": 0}).status_code == 202
    deadline = time.monotonic() + 60
    while studio.get(place).json()["job"]["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return studio.get(f"{place}/masks", params={"start": 0, "stop": LENGTH}).json()


def test_a_folder_of_frames_is_tracked_as_a_video(studio: httpx.Client) -> None:
    made = studio.post("/v1/projects", json={"path": "frames", "kind": "video"})
    assert made.status_code == 201
    state = made.json()
    assert (state["kind"], state["num_frames"], state["width"], state["height"]) == ("video", LENGTH, 128, 96)

    states = track(studio, state["name"])

    assert [one["frame"] for one in states] == list(range(LENGTH))
    for index, one in enumerate(states):
        mask, truth = decode_mask(one["objects"][0]["mask"]), np.zeros(SIZE, bool)
        truth[20:56, 10 + 4 * index : 44 + 4 * index] = True
        assert (mask & truth).sum() / (mask | truth).sum() > 0.7
    small = studio.get(f"/v1/projects/{state['name']}/frames/3/image", params={"size": 320})
    assert Image.open(io.BytesIO(small.content)).size == (128, 96)
    assert studio.get(f"/v1/projects/{state['name']}/timeline").json()["num_frames"] == LENGTH
    assert [one["name"] for one in states] == [f"{index}.png" for index in range(LENGTH)]


def test_photos_and_frames_of_a_folder_are_two_projects(studio: httpx.Client) -> None:
    video = studio.post("/v1/projects", json={"path": "frames", "kind": "video"}).json()
    photos = studio.post("/v1/projects", json={"path": "frames"}).json()

    assert (photos["kind"], video["kind"]) == ("images", "video")
    assert photos["name"] != video["name"]
    for body, name in (({}, photos["name"]), ({"kind": "video"}, video["name"])):
        again = studio.post("/v1/projects", json={"path": "frames", **body})
        assert (again.status_code, again.json()["name"]) == (200, name)


def test_uploaded_frames_are_a_video_when_asked_for(studio: httpx.Client) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index in range(LENGTH):
            picture = io.BytesIO()
            frame(index).save(picture, "PNG")
            archive.writestr(f"{index}.png", picture.getvalue())
    upload = studio.post("/v1/uploads", params={"name": "frames.zip"}, content=packed.getvalue()).json()["upload"]

    state = studio.post("/v1/projects", json={"upload": upload, "kind": "video", "name": "uploaded"}).json()

    assert (state["kind"], state["num_frames"]) == ("video", LENGTH)
    assert len(track(studio, "uploaded")) == LENGTH


@pytest.mark.parametrize(
    ("path", "status", "message"), [("photo.png", 422, "is a photo"), ("uneven", 415, "of one size")]
)
def test_what_is_no_video_is_refused(studio: httpx.Client, path: str, status: int, message: str) -> None:
    before = {project["name"] for project in studio.get("/v1/projects").json()}
    answer = studio.post("/v1/projects", json={"path": path, "kind": "video"})
    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert {project["name"] for project in studio.get("/v1/projects").json()} == before
