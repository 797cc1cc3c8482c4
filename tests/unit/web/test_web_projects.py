"""Photos, over HTTP: open, click, correct, undo, review, export; and all of it is there again later."""

import base64
import json
import time
import zipfile
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from sam2.interop.coco import read_coco
from sam2.interop.rle import decode_mask
from sam2.web.errors import StudioError
from sam2.web.projects.names import check_name, free_name, name_for
from sam2.web.projects.store import ProjectStore

BOX = {"box": [50, 30, 110, 90]}
CLICK = {"points": [{"x": 80, "y": 60}]}


def truth() -> np.ndarray:
    """The disc of the photo."""
    y, x = np.mgrid[:120, :160]
    return (x - 80) ** 2 + (y - 60) ** 2 < 25**2


def mask_of(item: dict) -> np.ndarray:
    """The mask of an answer."""
    return decode_mask(item["mask"])


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks."""
    return float((first & second).sum() / max(1, (first | second).sum()))


@pytest.fixture
def photo(client: httpx.Client):
    """The address of a fresh project of the photo, with one object."""
    created = client.post("/v1/projects", json={"path": "disc.png", "name": f"disc-{time.monotonic_ns()}"})
    assert created.status_code == 201
    address = f"/v1/projects/{created.json()['name']}"
    added = client.post(f"{address}/objects", json={"frame": 0})
    assert (added.status_code, added.json()["id"]) == (201, 1)
    return address


def prompts(address: str, object_id: int = 1, frame: int = 0) -> str:
    """Where prompts are put."""
    return f"{address}/frames/{frame}/objects/{object_id}/prompts"


def done(client: httpx.Client, address: str) -> dict:
    """The job of a project when it has ended."""
    for _ in range(300):
        job = client.get(address).json()["job"]
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_click_gives_a_mask_and_a_box_a_better_one(client, photo):
    answer = client.put(prompts(photo), json=BOX).json()
    assert iou(mask_of(answer), truth()) > 0.8
    assert answer["area"] == mask_of(answer).sum()
    frame = client.get(f"{photo}/frames/0").json()
    assert frame["objects"] == [answer]
    assert (frame["width"], frame["height"]) == (160, 120)


def test_nothing_takes_back_and_putting_again_restores(client, photo):
    first = client.put(prompts(photo), json=CLICK).json()
    second = client.put(prompts(photo), json={"points": [*CLICK["points"], {"x": 5, "y": 5, "label": 0}]}).json()
    assert len(second["prompts"]["points"]) == 2
    assert client.put(prompts(photo), json={}).json()["mask"] is None
    assert client.get(f"{photo}/frames/0").json()["objects"] == []
    assert client.put(prompts(photo), json=CLICK).json() == first


def test_a_drawn_mask_is_taken_as_it_is(client, photo):
    drawn = client.put(prompts(photo), json=BOX).json()["mask"]
    answer = client.put(prompts(photo), json={"mask": drawn}).json()
    assert answer["mask"] == drawn
    assert answer["score"] == 1.0
    refined = client.put(prompts(photo), json={"mask": drawn, **CLICK}).json()
    assert iou(mask_of(refined), truth()) > 0.7


def test_a_preview_leaves_no_trace(client, photo):
    before = client.get(f"{photo}/frames/0").json()
    answer = client.post(f"{photo}/frames/0/preview", json=CLICK)
    assert answer.json()["mask"]["size"] == [120, 160]
    assert client.get(f"{photo}/frames/0").json() == before


def test_objects_are_renamed_deleted_and_brought_back(client, photo):
    client.put(prompts(photo), json=CLICK)
    changed = client.patch(f"{photo}/objects/1", json={"name": "ball", "label": "toy", "visible": False}).json()
    assert (changed["name"], changed["label"], changed["visible"]) == ("ball", "toy", False)
    assert client.delete(f"{photo}/objects/1").status_code == 204
    assert client.get(f"{photo}/frames/0").json()["objects"] == []
    assert client.put(prompts(photo), json=CLICK).status_code == 404
    client.patch(f"{photo}/objects/1", json={"deleted": False})
    assert len(client.get(f"{photo}/frames/0").json()["objects"]) == 1
    assert client.get(photo).json()["labels"] == ["toy"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"box": [100, 30, 50, 90]},
        {"box": [1, 2, 3]},
        {"points": [{"x": 1, "y": 2, "label": 5}]},
        {"points": [{"x": "nan", "y": 2}]},
        {"mask": {"size": [5, 5], "counts": "01"}},
        {"mask": {"size": [120, 160], "counts": "nonsense"}},
        {"points": [], "box": [1, 2, 30, 40], "mask": {"size": [120, 160], "counts": "01"}},
    ],
)
def test_wrong_prompts_change_nothing(client, photo, wrong):
    before = client.put(prompts(photo), json=CLICK).json()
    answer = client.put(prompts(photo), json=wrong)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)
    assert client.get(f"{photo}/frames/0").json()["objects"] == [before]


def test_what_is_not_there(client, photo):
    assert client.get(f"{photo}/frames/1").status_code == 404
    assert client.put(prompts(photo, 7), json=CLICK).status_code == 404
    assert client.get("/v1/projects/nothing").status_code == 404
    assert client.post(f"{photo}/objects", json={}).status_code == 422
    assert client.post("/v1/projects", json={"path": "secret.txt"}).status_code == 415
    assert client.post("/v1/projects", json={"path": "empty"}).status_code == 415
    assert client.post("/v1/projects", json={}).status_code == 422
    assert client.post(f"{photo}/track", json={"start": 0}).status_code == 422


def test_a_set_with_a_damaged_photo(client):
    state = client.post("/v1/projects", json={"path": "set"}).json()
    address = f"/v1/projects/{state['name']}"
    assert state["num_frames"] == 3
    listed = client.get(f"{address}/frames").json()
    assert [item["name"] for item in listed] == ["photo1.jpg", "photo2.jpg", "photo10.jpg"]
    assert client.get(f"{address}/frames/2").status_code == 415
    assert client.get(f"{address}/frames/2/image").status_code == 415
    number = client.post(f"{address}/objects", json={"frame": 1}).json()["id"]
    client.put(prompts(address, number, 1), json={"box": [40, 25, 80, 65]})
    assert client.put(prompts(address, number, 0), json=CLICK).status_code == 404
    client.patch(f"{address}/frames/1", json={"status": "done"})
    assert [item["frame"] for item in client.get(f"{address}/frames?status=done").json()] == [1]
    assert client.get(address).json()["statuses"] == {"todo": 2, "done": 1}
    assert client.post("/v1/projects", json={"path": "set"}).status_code == 200  # resumed


def test_all_is_there_when_the_studio_comes_back(serve, media, tmp_path):
    with serve(tmp_path, files=media) as client:
        client.post("/v1/projects", json={"path": "disc.png"})
        client.post("/v1/projects/disc/objects", json={"frame": 0, "name": "ball"})
        before = client.put(prompts("/v1/projects/disc"), json=CLICK).json()
    with serve(tmp_path, files=media) as client:
        assert [item["name"] for item in client.get("/v1/projects").json()] == ["disc"]
        assert client.get("/v1/projects/disc/frames/0").json()["objects"] == [before]
        assert client.get("/v1/projects/disc").json()["objects"][0]["name"] == "ball"
        assert client.delete("/v1/projects/disc").status_code == 204
        assert client.get("/v1/projects/disc").status_code == 404
    assert (media / "disc.png").exists()


def test_a_damaged_project_is_named_and_the_others_work(serve, media, tmp_path):
    with serve(tmp_path, files=media) as client:
        client.post("/v1/projects", json={"path": "disc.png"})
        (tmp_path / "torn").mkdir()
        (tmp_path / "torn" / "project.json").write_text('{"format": 1, "ti')
        (tmp_path / "newer").mkdir()
        (tmp_path / "newer" / "project.json").write_text('{"format": 99}')
        assert [item["name"] for item in client.get("/v1/projects").json()] == ["disc"]
        for name in ("torn", "newer"):
            answer = client.get(f"/v1/projects/{name}")
            assert answer.status_code == 409
            assert name in answer.json()["detail"]


def test_one_studio_at_a_time_has_a_project_open(serve, media, tmp_path):
    with serve(tmp_path, files=media) as client:
        client.post("/v1/projects", json={"path": "disc.png"})
        with pytest.raises(StudioError, match="open in another studio"):
            ProjectStore(tmp_path / "disc")
    ProjectStore(tmp_path / "disc").close()


def test_pictures_are_small_and_cached(client, photo):
    answer = client.get(f"{photo}/frames/0/image", params={"size": 80})
    assert Image.open(BytesIO(answer.content)).size == (80, 60)
    again = client.get(
        f"{photo}/frames/0/image", params={"size": 80}, headers={"if-none-match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_exports_are_read_by_readers(client, photo, tmp_path):
    answer = client.put(prompts(photo), json=BOX).json()
    client.patch(f"{photo}/objects/1", json={"label": "toy"})
    assert client.post(f"{photo}/exports", json={"formats": ["nothing"]}).status_code == 422
    assert client.post(f"{photo}/exports", json={}).status_code == 422
    assert client.post(f"{photo}/exports", json={"formats": ["coco"]}).status_code == 202
    job = done(client, photo)
    content = client.get(job["url"])
    assert content.headers["content-disposition"] == 'attachment; filename="coco.json"'
    path = tmp_path / "coco.json"
    path.write_bytes(content.content)
    found = read_coco(path).images[0]
    assert found.name == "disc.png"
    assert (found.objects[0].label, found.objects[0].area) == ("toy", answer["area"])
    assert (found.objects[0].mask() == mask_of(answer)).all()

    client.post(f"{photo}/exports", json={"formats": ["yolo", "cvat"], "effects": ["overlay", "cutout"]})
    archive = zipfile.ZipFile(BytesIO(client.get(done(client, photo)["url"]).content))
    assert {"cvat.xml", "overlay/disc.jpg", "cutout/disc.png", "yolo/labels/disc.txt"} <= set(archive.namelist())
    alpha = np.asarray(Image.open(BytesIO(archive.read("cutout/disc.png"))))[..., 3]
    assert iou(alpha > 128, mask_of(answer)) > 0.98


def test_an_export_of_nothing_says_so(client, photo):
    answer = client.post(f"{photo}/exports", json={"formats": ["coco"]})
    assert answer.status_code == 409
    assert "nothing to export" in answer.json()["detail"]
    assert client.get(f"{photo}/exports/none").status_code == 404


def test_uploads_become_projects(client, media):
    content = (media / "disc.png").read_bytes()
    first = client.post("/v1/uploads", params={"name": "a/b/disc.png"}, content=content).json()
    both = client.post("/v1/uploads", params={"name": "disc.png", "upload": first["upload"]}, content=content).json()
    assert both["files"] == ["disc.png", "disc-2.png"]
    project = client.post("/v1/projects", json={"upload": both["upload"], "name": "my photos"}).json()
    assert (project["num_frames"], project["kind"]) == (2, "images")
    assert client.get("/v1/projects/my photos/frames/1").status_code == 200
    assert client.delete("/v1/projects/my photos").status_code == 204


def test_segment_without_a_project(client, media):
    image = base64.b64encode((media / "disc.png").read_bytes()).decode()
    masks = {}
    for form in ("rle", "png", "polygons"):
        answer = client.post("/v1/segment", json={"image": image, "prompts": [BOX, CLICK], "masks": form})
        assert answer.status_code == 200
        assert [item["prompt"] for item in answer.json()["masks"]] == [0, 1]
        masks[form] = answer.json()["masks"][0]
    mask = decode_mask(masks["rle"]["rle"])
    assert iou(mask, truth()) > 0.8
    assert (np.asarray(Image.open(BytesIO(base64.b64decode(masks["png"]["png"])))) > 0).tolist() == mask.tolist()
    assert len(masks["polygons"]["polygons"][0]) >= 6
    for number, prompt in enumerate((BOX, CLICK)):  # alone as together
        alone = client.post("/v1/segment", json={"image": image, "prompts": [prompt]}).json()["masks"][0]
        together = client.post("/v1/segment", json={"image": image, "prompts": [BOX, CLICK]}).json()["masks"][number]
        assert iou(decode_mask(alone["rle"]), decode_mask(together["rle"])) > 0.99
    several = client.post("/v1/segment", json={"image": image, "prompts": [CLICK], "multimask": True}).json()
    scores = [item["score"] for item in several["masks"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("image", "prompt", "status"),
    [
        ("no base64!", CLICK, 422),
        (base64.b64encode(b"no picture").decode(), CLICK, 415),
        (None, {}, 422),
        (None, {"box": [9, 9, 1, 1]}, 422),
    ],
)
def test_segment_refuses(client, media, image, prompt, status):
    image = image or base64.b64encode((media / "disc.png").read_bytes()).decode()
    answer = client.post("/v1/segment", json={"image": image, "prompts": [prompt]})
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_news_come_as_events(client, photo):
    client.put(prompts(photo), json=BOX)
    with client.stream("GET", f"{photo}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: project"
        assert json.loads(next(lines)[5:]) == client.get(photo).json()
        client.post(f"{photo}/exports", json={"formats": ["coco"]})
        for line in lines:
            if line.startswith("data:") and json.loads(line[5:]).get("state") == "done":
                break


def test_names_of_projects():
    assert name_for("My clip (1).mp4") == "My-clip-1-.mp4"
    assert name_for("../..") == "project"
    assert name_for("con") == "con-"
    assert free_name("clip", {"Clip", "clip-2"}) == "clip-3"
    assert check_name("my photos.v2") == "my photos.v2"
    for name in ("", "..", "a/b", "a\\b", ".x", "nul", "x.", "a..b", "x" * 101, "a\0"):
        with pytest.raises(StudioError):
            check_name(name)


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    from sam2.web.projects import store as module
    from sam2.web.projects.store import ProjectRecord

    store = ProjectStore(tmp_path / "p", ProjectRecord(title="p", kind="images", model="nano"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StudioError) as caught:
        store.replace(title="other")
    assert (caught.value.status, store.record.title) == (507, "p")
    monkeypatch.undo()
    store.close()
    again = ProjectStore(tmp_path / "p")
    assert again.record.title == "p"
    again.close()
    assert not list(Path(tmp_path / "p").glob("*.tmp"))
