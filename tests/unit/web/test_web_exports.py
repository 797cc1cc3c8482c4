"""What is exported of photos and of a tracked video says the same as the page, to readers that are not ours."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import av
import httpx
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sam2.io.video_writer import VideoWriter
from sam2.web.exporting import export as module
from sam2.web.exporting.export import export_project
from sam2.web.jobs import Job
from sam2.web.schemas import ExportRequest
from sam2.web.studio import Studio

HEIGHT, WIDTH, LENGTH = 96, 128, 8
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2
LABEL = 'Täßchen & "Söhne" <木>'
Mask = np.ndarray
Truth = dict[tuple[int, int], Mask]
"""Masks [h, w] by frame and object."""


def square(frame: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Mask:
    """Where the red square is."""
    mask = np.zeros(size, bool)
    mask[20:56, 10 + 3 * frame : 46 + 3 * frame] = True
    return mask


def ball(size: tuple[int, int] = (HEIGHT, WIDTH)) -> Mask:
    """Where the green ball rests."""
    y, x = np.mgrid[: size[0], : size[1]]
    return (x - 100) ** 2 + (y - 75) ** 2 < 15**2


def scene(frame: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A picture [h, w, 3] with both."""
    image = np.repeat(np.random.default_rng(1).integers(60, 120, (*size, 1)), 3, axis=2).astype(np.uint8)
    image[square(frame, size)] = (220, 40, 40)
    image[ball(size)] = (40, 200, 60)
    return image


def rle(mask: Mask) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}  # type: ignore[union-attr]


def done(client: httpx.Client, address: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (job := client.get(address).json()["job"])["state"] == "running":
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.02)
    return job


def export(client: httpx.Client, address: str, **request: Any) -> zipfile.ZipFile:
    """The archive; a single file as an archive of one."""
    answer = client.post(f"{address}/exports", json=request)
    assert answer.status_code == 202, answer.text
    job = done(client, address)
    assert (job["state"], job["message"]) == ("done", "the export is ready")
    answer = client.get(job["url"])
    if answer.content[:2] == b"PK":
        return zipfile.ZipFile(io.BytesIO(answer.content))
    buffer = io.BytesIO()
    name = unquote(answer.headers["content-disposition"].partition("filename")[2].strip('*="').replace("utf-8''", ""))
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, answer.content)
    return zipfile.ZipFile(buffer)


def shown(client: httpx.Client, address: str, frames: int) -> Truth:
    """The masks that the page shows."""
    found: Truth = {}
    for frame in range(frames):
        for item in client.get(f"{address}/frames/{frame}").json()["objects"]:
            if item["area"]:
                found[frame, item["object_id"]] = coco_mask.decode(item["mask"]).astype(bool)
    return found


def add(client: httpx.Client, address: str, mask: Mask, *, frame: int | None = None, **about: Any) -> int:
    """A new object, drawn on a photo, or on the first frame of a video."""
    number = client.post(f"{address}/objects", json={"frame": frame, **about}).json()["id"]
    answer = client.put(f"{address}/frames/{frame or 0}/objects/{number}/prompts", json={"mask": rle(mask)})
    assert answer.status_code == 200, answer.text
    return number


def same(first: Mask, second: Mask, least: float = 1.0) -> bool:
    return first.shape == second.shape and (first & second).sum() / max(1, (first | second).sum()) >= least


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with odd names, and a video."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "photos").mkdir()
    for name in ("Küche 1.png", "a.png", "b.webp", "c.bmp"):
        Image.fromarray(scene()).save(folder / "photos" / name, lossless=True)
    with VideoWriter(folder / "ünï clip.mp4", fps=Fraction(30000, 1001)) as writer:
        for frame in range(LENGTH):
            writer.write(scene(frame))
    return folder


@pytest.fixture(scope="module")
def studio(serve: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serve(tmp_path_factory.mktemp("projects"), files=folder) as client:
        yield client


@pytest.fixture(scope="module")
def photos(studio: httpx.Client) -> tuple[str, Truth]:
    """The address of a set, and its masks: one object is hidden, one was deleted, one photo has none."""
    address = f"/v1/projects/{studio.post('/v1/projects', json={'path': 'photos'}).json()['name']}"
    names = [frame["name"] for frame in studio.get(f"{address}/frames").json()]
    assert names == ["a.png", "b.webp", "c.bmp", "Küche 1.png"]
    add(studio, address, square(), frame=0, label=LABEL, name="größer")
    add(studio, address, ball(), frame=1, label="ball")
    hidden = add(studio, address, ball(), frame=3, label="ball")
    add(studio, address, square(), frame=3, label=LABEL)
    deleted = add(studio, address, square(), frame=2, label="gone")
    studio.patch(f"{address}/objects/{hidden}", json={"visible": False})
    studio.delete(f"{address}/objects/{deleted}")
    studio.patch(f"{address}/frames/3", json={"status": "done"})
    return address, shown(studio, address, 4)


@pytest.fixture(scope="module")
def video(studio: httpx.Client) -> tuple[str, Truth]:
    """The address of a tracked video, and its masks."""
    state = studio.post("/v1/projects", json={"path": "ünï clip.mp4"}).json()
    address = f"/v1/projects/{state['name']}"
    add(studio, address, square(), label=LABEL, name="größer")
    deleted = add(studio, address, ball(), label="gone")
    hidden = add(studio, address, ball(), label="ball")
    studio.patch(f"{address}/objects/{hidden}", json={"visible": False})
    studio.delete(f"{address}/objects/{deleted}")
    studio.post(f"{address}/track", json={"start": 0})
    assert done(studio, address)["state"] == "done"
    studio.patch(f"{address}/frames/2", json={"status": "done"})
    truth = shown(studio, address, LENGTH)
    assert set(truth) == {(frame, number) for frame in range(LENGTH) for number in (1, hidden)}
    assert all(same(truth[frame, 1], square(frame), 0.8) for frame in range(LENGTH))
    return address, truth


# ---------------------------------------------------------------------- readers of formats, by what they are documented


Found = dict[tuple[Any, str], Mask]
"""Masks by picture (name of the photo, number of the frame) and class."""


def key(name: str) -> Any:
    """Of a picture: the number of the frame of a video, the name of a photo."""
    return int(Path(name).stem) if "/" in name else name


def fill(*rings: Any) -> Mask:
    """The mask of rings of x, y, x, y, ..."""
    flat = [np.asarray(ring, float).ravel().tolist() for ring in rings]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, HEIGHT, WIDTH))).astype(bool)


def box(x0: float, y0: float, x1: float, y1: float) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[round(y0) : round(y1), round(x0) : round(x1)] = True
    return mask


def read_coco(archive: zipfile.ZipFile, tmp_path: Path, name: str = "coco.json") -> Found:
    (tmp_path / name).write_bytes(archive.read(name))
    coco = COCO(tmp_path / name)
    labels = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    pictures = {picture["id"]: key(picture["file_name"]) for picture in coco.dataset["images"]}
    return {
        (pictures[item["image_id"]], labels[item["category_id"]]): coco.annToMask(item).astype(bool)
        for item in coco.dataset["annotations"]
    }


def read_coco_polygons(archive: zipfile.ZipFile, tmp_path: Path) -> Found:
    return read_coco(archive, tmp_path, "coco_polygons.json")


def read_yolo(archive: zipfile.ZipFile, _: Path, folder: str = "yolo") -> Found:
    names = yaml.safe_load(archive.read(f"{folder}/data.yaml"))["names"]
    found: Found = {}
    for file in archive.namelist():
        if file.startswith(f"{folder}/labels/"):
            picture = file.removeprefix(f"{folder}/labels/").removesuffix(".txt")
            for line in archive.read(file).decode().splitlines():
                number, *values = line.split()
                where = np.array(values, float).reshape(-1, 2) * (WIDTH, HEIGHT)
                corners = (*(where[0] - where[1] / 2), *(where[0] + where[1] / 2)) if len(where) == 2 else ()
                found[key(picture), names[int(number)]] = box(*corners) if corners else fill(where)
    return found


def read_yolo_boxes(archive: zipfile.ZipFile, tmp_path: Path) -> Found:
    return read_yolo(archive, tmp_path, "yolo_boxes")


def read_davis(archive: zipfile.ZipFile, _: Path) -> Found:
    about = json.loads(archive.read("davis/labels.json"))
    named = {f"davis/{picture['file']}": (picture["name"], picture["classes"]) for picture in about["pictures"]}
    found: Found = {}
    for file in archive.namelist():
        if file.startswith("davis/") and file.endswith(".png"):
            image = Image.open(io.BytesIO(archive.read(file)))
            assert image.mode == "P"
            name, classes = named.get(file) or (key(file), about["videos"][0]["classes"])
            for value in set(np.unique(np.asarray(image))) - {0}:
                found[name, classes[str(value)]] = np.asarray(image) == value
    return found


def read_sa1b(archive: zipfile.ZipFile, _: Path) -> Found:
    found: Found = {}
    for file in archive.namelist():
        if file.startswith("sa1b/"):
            about = json.loads(archive.read(file))
            for item in about["annotations"]:
                mask = coco_mask.decode(item["segmentation"]).astype(bool)
                found[key(about["image"]["file_name"]), item["label"]] = mask
    return found


def read_sav(archive: zipfile.ZipFile, _: Path) -> Found:
    (file,) = [name for name in archive.namelist() if name.startswith("sav/")]
    about = json.loads(archive.read(file))
    assert about["video_frame_count"] == LENGTH
    labels = {1: LABEL, 3: "ball"}
    return {
        (frame, labels[number]): coco_mask.decode(mask).astype(bool)
        for frame, masks in enumerate(about["masklet"])
        for number, mask in zip(about["masklet_id"], masks, strict=True)
    }


def read_cvat(archive: zipfile.ZipFile, _: Path) -> Found:
    (file,) = [name for name in archive.namelist() if name.startswith("cvat") and name.endswith(".xml")]
    root = ElementTree.fromstring(archive.read(file))
    found: Found = {}
    for image in root.iter("image"):
        for item in image:
            left, top, width, height = (int(item.attrib[name]) for name in ("left", "top", "width", "height"))
            runs = [int(run) for run in item.attrib["rle"].split(",")]
            inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[top : top + height, left : left + width] = inside
            found[image.attrib["name"], item.attrib["label"]] = mask
    for track in root.iter("track"):
        for item in track.iter("polygon"):
            if item.attrib["outside"] == "0":
                ring = [pair.split(",") for pair in item.attrib["points"].split(";")]
                found[int(item.attrib["frame"]), track.attrib["label"]] = fill(ring)
    return found


def read_label_studio(archive: zipfile.ZipFile, _: Path) -> Found:
    found: Found = {}
    for task in json.loads(archive.read("label_studio.json")):
        results = [
            item for said in (*task.get("annotations", ()), *task.get("predictions", ())) for item in said["result"]
        ]
        for item in results:
            value = item["value"]
            if "rle" in value:
                found[task["data"]["name"], value["brushlabels"][0]] = (
                    brush(value["rle"]).reshape(HEIGHT, WIDTH, 4)[..., 3] > 0
                )
            for place in value.get("sequence", ()):
                x0, y0 = place["x"] * WIDTH / 100, place["y"] * HEIGHT / 100
                x1, y1 = x0 + place["width"] * WIDTH / 100, y0 + place["height"] * HEIGHT / 100
                found[place["frame"] - 1, value["labels"][0]] = box(x0, y0, x1, y1)
    return found


def brush(content: list[int]) -> np.ndarray:
    """The bytes of a brush: a head of bits, then runs of one value or of several."""
    bits = "".join(f"{byte:08b}" for byte in content)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    length, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < length:
        is_run = take(1)
        count = 1 + take(sizes[take(2)])
        values += [take(word)] * count if is_run else [take(word) for _ in range(count)]
    return np.array(values)


def read_labelme(archive: zipfile.ZipFile, _: Path) -> Found:
    rings: dict[tuple[Any, str], list[Any]] = {}
    for file in archive.namelist():
        if file.startswith("labelme/"):
            about = json.loads(archive.read(file))
            picture = about.get("frame", about["imagePath"])
            for shape in about["shapes"]:
                rings.setdefault((picture, shape["label"]), []).append(shape["points"])
    return {place: fill(*found) for place, found in rings.items()}


def read_geojson(archive: zipfile.ZipFile, _: Path) -> Found:
    found: Found = {}
    for file in archive.namelist():
        if file.endswith(".geojson"):
            for item in json.loads(archive.read(file))["features"]:
                kind, rings = item["geometry"]["type"], item["geometry"]["coordinates"]
                outer = [rings[0]] if kind == "Polygon" else [part[0] for part in rings]
                about = item["properties"]
                found[key(about["picture"]), about["classification"]["name"]] = fill(*outer)
    return found


EXACT, OUTLINES, BOXES = 1.0, 0.93, -1.0
READERS: dict[str, tuple[Callable[[zipfile.ZipFile, Path], Found], float]] = {
    "coco": (read_coco, EXACT),
    "coco-polygons": (read_coco_polygons, OUTLINES),
    "yolo": (read_yolo, OUTLINES),
    "yolo-boxes": (read_yolo_boxes, BOXES),
    "davis": (read_davis, EXACT),
    "sa1b": (read_sa1b, EXACT),
    "sav": (read_sav, EXACT),
    "cvat": (read_cvat, OUTLINES),
    "label-studio": (read_label_studio, EXACT),
    "labelme": (read_labelme, OUTLINES),
    "geojson": (read_geojson, OUTLINES),
}
PHOTOS = {0: "a.png", 1: "b.webp", 3: "Küche 1.png"}
PHOTO_LABELS = {1: LABEL, 2: "ball", 3: "ball", 4: LABEL}


def check(found: Found, expected: Found, least: float) -> None:
    assert set(found) == set(expected)
    for place, mask in expected.items():
        if least == BOXES:
            rows, columns = np.nonzero(mask)
            mask = box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert same(found[place], mask, min(1.0, abs(least))), place


def test_every_format_of_photos(studio, photos, tmp_path):
    address, truth = photos
    names = [choice["name"] for choice in studio.get(f"{address}/exports/choices").json()["formats"]]
    assert set(names) == set(READERS) - {"sav"}
    archive = export(studio, address, formats=names)
    expected = {(PHOTOS[frame], PHOTO_LABELS[number]): mask for (frame, number), mask in truth.items()}
    for name in names:
        read, least = READERS[name]
        wanted = expected
        if "yolo" in name:
            wanted = {(Path(picture).stem, label): mask for (picture, label), mask in expected.items()}
        check(read(archive, tmp_path), wanted, EXACT if name == "cvat" else least)


def test_every_format_of_a_video(studio, video, tmp_path):
    address, truth = video
    names = [choice["name"] for choice in studio.get(f"{address}/exports/choices").json()["formats"]]
    assert set(names) == set(READERS)
    archive = export(studio, address, formats=names)
    expected = {(frame, {1: LABEL, 3: "ball"}[number]): mask for (frame, number), mask in truth.items()}
    for name in names:
        read, least = READERS[name]
        check(read(archive, tmp_path), expected, BOXES if name == "label-studio" else least)


def test_only_what_is_done(studio, photos, video, tmp_path):
    archive = export(studio, photos[0], formats=["coco"], effects=["overlay"], only_done=True)
    assert {picture for picture, _ in read_coco(archive, tmp_path)} == {"Küche 1.png"}
    assert [name for name in archive.namelist() if name.startswith("overlay/")] == ["overlay/Küche 1.jpg"]
    archive = export(studio, video[0], formats=["coco"], effects=["overlay"], only_done=True)
    assert {frame for frame, _ in read_coco(archive, tmp_path)} == {2}
    film = frames_of(archive, "overlay")
    assert len(film) == LENGTH
    off = [np.abs(image[70:80, 95:105].astype(int) - (40, 200, 60)).max() for image in film]
    assert off[2] > 20  # the others are as they were
    assert max(off[:2] + off[3:]) < 15


# ---------------------------------------------------------------------- pictures and films


def visible(effect: str, image: np.ndarray, plain: np.ndarray, inside: Mask) -> None:
    """The effect is seen where it is to be seen, and nowhere else; what codecs do is allowed for."""
    off = np.abs(image[..., :3].astype(int) - plain).max(axis=-1)
    core, far = erode(inside), ~erode(inside, -1)
    if effect == "cutout":
        assert image.shape[2] == 4
        assert np.median(image[..., 3][core]) > 245
        assert np.median(image[..., 3][far]) < 10
    elif effect in ("overlay", "contour", "blur-object", "pixelate-object", "trail"):
        if effect in ("overlay", "contour"):
            assert off[inside & ~core].max() > 50
        if effect not in ("overlay", "trail"):  # these dim the rest, or draw where the object was
            assert np.median(off[far]) < 12
    else:
        assert np.median(off[core]) < 25
        assert np.median(off[far]) > 5


def erode(mask: Mask, side: int = 1) -> Mask:
    import cv2

    work = cv2.erode if side > 0 else cv2.dilate
    return work(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0


def test_every_effect_on_photos(studio, photos):
    address, truth = photos
    names = [choice["name"] for choice in studio.get(f"{address}/exports/choices").json()["effects"]]
    assert "trail" not in names
    archive = export(studio, address, effects=names)
    files = {
        f"{name}/{stem}.{'png' if name == 'cutout' else 'jpg'}" for name in names for stem in ("a", "b", "Küche 1")
    }
    assert set(archive.namelist()) == files
    for file in files:
        image = np.asarray(Image.open(io.BytesIO(archive.read(file))))
        frame = {"a": 0, "b": 1, "Küche 1": 3}[Path(file).stem]
        inside = np.any([mask for (where, _), mask in truth.items() if where == frame], axis=0)
        assert image.shape[:2] == (HEIGHT, WIDTH)
        visible(Path(file).parent.name, image, scene(), inside)


def frames_of(archive: zipfile.ZipFile, effect: str) -> list[np.ndarray]:
    """The frames of a film [h, w, 3], with alpha where it has any."""
    (file,) = [name for name in archive.namelist() if name.rpartition(".")[0].endswith(f"_{effect}")]
    with av.open(io.BytesIO(archive.read(file))) as container:
        stream = container.streams.video[0]
        if file.endswith(".webm"):  # FFmpeg's own decoder knows nothing of alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            decoded = [f for packet in container.demux(stream) for f in decoder.decode(packet)]
            return [frame.to_ndarray(format="rgba") for frame in decoded]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def test_every_effect_on_a_video(studio, video):
    address, truth = video
    names = [choice["name"] for choice in studio.get(f"{address}/exports/choices").json()["effects"]]
    archive = export(studio, address, effects=names)
    assert len(archive.namelist()) == len(names)
    for file in archive.namelist():
        with av.open(io.BytesIO(archive.read(file))) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == Fraction(30000, 1001)
            assert (stream.width, stream.height) == (WIDTH, HEIGHT)
            assert float(container.duration / av.time_base) == pytest.approx(LENGTH * 1001 / 30000, abs=0.02)
    for name in names:
        film = frames_of(archive, name)
        assert len(film) == LENGTH
        for frame in (0, LENGTH - 1):
            visible(name, film[frame], scene(frame), truth[frame, 1] | truth[frame, 3])


def test_effects_have_the_colours_of_the_objects(studio, photos, video):
    studio.patch(f"{photos[0]}/objects/1", json={"colour": "#0000ff"})
    studio.patch(f"{video[0]}/objects/1", json={"colour": "#0000ff"})
    archive = export(studio, photos[0], effects=["overlay"])
    photo = np.asarray(Image.open(io.BytesIO(archive.read("overlay/a.jpg"))), int)
    film = frames_of(export(studio, video[0], effects=["overlay"]), "overlay")[0].astype(int)
    for image in (photo, film):
        bluer = (image - scene())[erode(square())].mean(axis=0)
        assert bluer[2] > 50 > -50 > bluer[0]


def odd_clip(path: Path) -> list[float]:
    """A clip of 97 x 75 pixels whose frames are not equally long; when they are shown, in seconds."""
    times = [0, 40, 80, 300, 340, 380, 900, 940]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 97, 75, "yuv444p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, when in enumerate(times):
            frame = av.VideoFrame.from_ndarray(scene(number, (75, 97)), format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = when, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [when / 1000 for when in times]


def turned(content: bytes) -> bytes:
    """The same .mp4 file, to be shown turned by a quarter."""
    one, minus, unit, zero = (1 << 16).to_bytes(4, "big"), b"\xff\xff\0\0", b"\x40\0\0\0", bytes(4)
    upright = one + zero * 3 + one + zero * 3 + unit
    place = content.index(upright, content.index(b"tkhd"))
    return content[:place] + zero + one + zero + minus + zero * 4 + unit + content[place + 36 :]


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_odd_sides_and_frames_of_unequal_length(serve, tmp_path, ending):
    times = odd_clip(tmp_path / f"odd{ending}")
    with serve(tmp_path / "projects", files=tmp_path) as client:
        state = client.post("/v1/projects", json={"path": f"odd{ending}"}).json()
        assert (state["width"], state["height"], state["num_frames"]) == (97, 75, 8)
        address = f"/v1/projects/{state['name']}"
        add(client, address, square(0, (75, 97)))
        archive = export(client, address, formats=["davis"], effects=["spotlight"])
    assert Image.open(io.BytesIO(archive.read("davis/odd/00000.png"))).size == (97, 75)
    film = frames_of(archive, "spotlight")
    assert len(film) == 8
    assert film[0].shape[:2] == (76, 98)  # colours of films are stored for two pixels each
    visible("spotlight", film[0][:75, :97], scene(0, (75, 97)), square(0, (75, 97)))
    (file,) = [name for name in archive.namelist() if name.endswith(".mp4")]
    with av.open(io.BytesIO(archive.read(file))) as container:
        assert float(container.duration / av.time_base) == pytest.approx(times[-1] + 0.04, rel=0.15)


def test_a_video_that_is_shown_turned(serve, folder, tmp_path):
    (tmp_path / "turned.mp4").write_bytes(turned((folder / "ünï clip.mp4").read_bytes()))
    upright, mask = np.rot90(scene(), -1), np.ascontiguousarray(np.rot90(square(), -1))
    with serve(tmp_path / "projects", files=tmp_path) as client:
        state = client.post("/v1/projects", json={"path": "turned.mp4"}).json()
        assert (state["width"], state["height"]) == (HEIGHT, WIDTH)
        address = f"/v1/projects/{state['name']}"
        add(client, address, mask)
        archive = export(client, address, formats=["davis"], effects=["spotlight"])
    assert same(np.asarray(Image.open(io.BytesIO(archive.read("davis/turned/00000.png")))) == 1, mask)
    film = frames_of(archive, "spotlight")
    visible("spotlight", film[0], upright, mask)


# ---------------------------------------------------------------------- what can go wrong


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "exports").glob("*")]


def test_the_same_name_twice_in_a_folder(serve, tmp_path):
    for name in ("x.png", "x.webp"):
        Image.fromarray(scene()).save(tmp_path / name, lossless=True)
    with serve(tmp_path / "projects", files=tmp_path) as client:
        address = f"/v1/projects/{client.post('/v1/projects', json={'path': ''}).json()['name']}"
        for frame in (0, 1):
            add(client, address, square(), frame=frame)
        archive = export(client, address, effects=["cutout"], formats=["coco", "sa1b"])
        files = {"cutout/x.png", "cutout/x-2.png", "sa1b/x.json", "sa1b/x_2.json", "coco.json"}
        assert set(archive.namelist()) == files
        client.post(f"{address}/exports", json={"formats": ["yolo"]})
        job = done(client, address)
        assert job["state"] == "failed"
        assert "a picture of the same name" in job["message"]


def test_the_last_five_are_kept(studio, photos):
    address, _ = photos
    urls = []
    for _ in range(7):
        studio.post(f"{address}/exports", json={"formats": ["coco"]})
        urls.append(done(studio, address)["url"])
    assert [studio.get(url).status_code for url in urls] == [404, 404, 200, 200, 200, 200, 200]


@pytest.fixture
def project(serve, folder, tmp_path, monkeypatch):
    """A project of a video that is open in a studio, and a client of it."""
    from sam2.web import app

    opened: list[Studio] = []
    whole = app.open_studio
    monkeypatch.setattr(app, "open_studio", lambda *given: opened.append(whole(*given)) or opened[-1])
    with serve(tmp_path, files=folder) as client:
        address = f"/v1/projects/{client.post('/v1/projects', json={'path': 'ünï clip.mp4'}).json()['name']}"
        add(client, address, square())
        yield client, address, opened[0].projects.get(opened[0].projects.open_names[0])


def test_nothing_is_left_of_an_export_that_is_stopped(project):
    client, address, opened = project
    job = Job(opened.name, "export", total=0, publish=lambda *_: None)
    picture = opened.picture

    def stop_at(frame: int) -> np.ndarray:
        if frame == 3:
            job.cancel()
        return picture(frame)

    opened.picture = stop_at
    request = ExportRequest(formats=("coco", "davis"), effects=("overlay", "cutout"))
    assert export_project(opened, request, job) is None
    assert left(opened.folder) == []
    assert client.get(f"{address}/exports/{job.id}").status_code == 404


@pytest.mark.parametrize("where", ["_pack", "open_writers"])
def test_a_full_disk_is_said_and_nothing_is_left(project, monkeypatch, where):
    client, address, opened = project

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, f"cannot write {opened.folder}: No space left on device")

    monkeypatch.setattr(module, where, full)
    client.post(f"{address}/exports", json={"formats": ["coco"], "effects": ["overlay"]})
    job = done(client, address)
    assert (job["state"], job["message"]) == ("failed", "the export could not be saved: the disk is full")
    assert left(opened.folder) == []
    monkeypatch.undo()
    assert "coco.json" in export(client, address, formats=["coco"]).namelist()


def test_what_a_killed_studio_left_goes_with_the_next_export(project):
    client, address, opened = project
    (opened.folder / "exports" / "torn" / "work").mkdir(parents=True)
    (opened.folder / "exports" / "torn" / "film.part").touch()
    assert client.get(f"{address}/exports/torn").status_code == 404
    export(client, address, formats=["coco"])
    assert "torn" not in left(opened.folder)
    assert len(left(opened.folder)) == 1


def test_progress_of_a_film_comes_as_events(project):
    client, address, opened = project
    picture = opened.picture

    def slowly(frame: int) -> np.ndarray:
        time.sleep(0.1)
        return picture(frame)

    opened.picture = slowly
    seen = []
    with client.stream("GET", f"{address}/events") as stream:
        lines = stream.iter_lines()
        assert [next(lines)[:14] for _ in range(3)] == ["event: project", 'data: {"name":', ""]
        client.post(f"{address}/exports", json={"effects": ["blur-background"]})
        for line in lines:
            if line.startswith("data:"):
                job = json.loads(line[5:])
                seen.append((job["done"], job["total"]))
                if job["state"] != "running":
                    break
    assert (job["state"], seen[-1]) == ("done", (LENGTH, LENGTH))
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3


def test_signs_that_no_file_can_hold(serve, tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    with serve(tmp_path / "projects", files=tmp_path) as client:
        address = f"/v1/projects/{client.post('/v1/projects', json={'path': 'a.png'}).json()['name']}"
        add(client, address, square(), frame=0, label="a\x01b\tc\nd\x0be\uffff")
        names = [choice["name"] for choice in client.get(f"{address}/exports/choices").json()["formats"]]
        archive = export(client, address, formats=names)
    for name in archive.namelist():
        if name.endswith(".xml"):
            ElementTree.fromstring(archive.read(name))
    assert yaml.safe_load(archive.read("yolo/data.yaml"))["nc"] == 1
