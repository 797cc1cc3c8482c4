import base64
import io
import json

import numpy as np
import pytest
from format_samples import (
    HEIGHT,
    WIDTH,
    assert_same_objects,
    blob,
    dot,
    frames,
    iou,
    masked,
    ring,
    save_pictures,
    still,
    write,
)
from PIL import Image, ImageDraw

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.labelme import LabelmeWriter, read_labelme


def document(*shapes: dict, **fields) -> dict:
    """A file by LabelMe itself."""
    head = {"version": "5.4.1", "flags": {}, "imagePath": "..\\photos\\a.jpg", "imageData": None}
    return {**head, "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": list(shapes), **fields}


def shape(kind: str, *points: tuple[float, float], **fields) -> dict:
    return {"label": "car", "shape_type": kind, "points": points, "group_id": None, "flags": {}, "mask": None, **fields}


def png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def save(path, value) -> object:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("masks", [False, True])
def test_pictures_and_frames_come_back(tmp_path, masks) -> None:
    pictures = [still("b.png"), still(), *frames()]
    (folder,) = write(LabelmeWriter(tmp_path, masks=masks), *pictures)

    found = read_labelme(folder)

    assert folder == tmp_path / "labelme"
    for image, known in zip(found, pictures, strict=True):
        assert_same_objects(image, known)
        assert image.frame == known.frame
    assert [(video.name, video.num_frames, video.fps) for video in found.videos] == [("clip.mp4", 250, 12.5)]
    assert_same_objects(read_labelme(folder / "b.json").images[0], pictures[0])


def test_files_are_as_labelme_wants_them(tmp_path) -> None:
    """Each field has the type that LabelMe asserts when it opens a file."""
    (folder,) = write(LabelmeWriter(tmp_path), still(), frames()[0])
    written = json.loads((folder / "street/one.json").read_text(encoding="utf-8"))
    shapes = written["shapes"]

    assert (written["imagePath"], written["imageData"], written["flags"]) == ("one.jpg", None, {})
    assert (written["imageHeight"], written["imageWidth"]) == (HEIGHT, WIDTH)
    assert {entry["shape_type"] for entry in shapes} == {"polygon", "rectangle"}
    for entry in shapes:
        assert isinstance(entry["label"], str)
        assert entry["group_id"] is None or isinstance(entry["group_id"], int)
        assert (entry["flags"], entry["mask"], entry["description"]) == ({}, None, "")
        assert all(len(point) == 2 for point in entry["points"])
    # the parts of the tree have a group, what has one part has none
    groups = {entry["group_id"] for entry in shapes if entry["label"] == "tree"}
    assert len(groups) == 1
    assert None not in groups
    assert [entry["group_id"] for entry in shapes if entry["label"] != "tree"] == [None] * 3
    frame = json.loads((folder / "clip.mp4/00000.json").read_text(encoding="utf-8"))
    assert {entry["group_id"] for entry in frame["shapes"]} == {7}


@pytest.mark.parametrize("mask", [ring(), blob(4), dot()], ids=["ring", "blob", "dot"])
def test_labelme_draws_the_mask(tmp_path, mask) -> None:
    """As its export does: Pillow fills a polygon and draws its outline."""
    (folder,) = write(LabelmeWriter(tmp_path), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(mask),)))
    found = np.zeros(mask.shape, bool)
    for entry in json.loads((folder / "a.json").read_text(encoding="utf-8"))["shapes"]:
        canvas = Image.new("L", mask.shape[::-1])
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in entry["points"]], fill=1, outline=1)
        found |= np.array(canvas) > 0

    assert np.array_equal(found, mask)


def test_masks_are_cut_out(tmp_path) -> None:
    (folder,) = write(LabelmeWriter(tmp_path, masks=True), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),)))
    (entry,) = json.loads((folder / "a.json").read_text(encoding="utf-8"))["shapes"]
    (x0, y0), (x1, y1) = entry["points"]
    part = np.array(Image.open(io.BytesIO(base64.b64decode(entry["mask"]))))

    assert part.dtype == bool
    assert np.array_equal(part, ring()[y0 : y1 + 1, x0 : x1 + 1])
    assert part.sum() == ring().sum()


def test_shapes_of_every_kind(tmp_path) -> None:
    patch = np.ones((5, 8), bool)
    value = document(
        shape("polygon", (10, 10), (20, 10), (20, 20), (10, 20)),
        shape("rectangle", (40, 30), (20, 10)),
        shape("circle", (60, 45), (60, 65)),
        shape("mask", (100, 80), (107, 84), mask=png(patch)),
        shape("oriented_rectangle", (50, 10), (60, 20), (50, 30), (40, 20)),
        shape("linestrip", (1, 1), (5, 5)),
        shape("point", (1, 1)),
    )
    (image,) = read_labelme(save(tmp_path / "a.json", value))
    square, box, circle, mask, rotated = image.objects

    assert (image.name, image.size) == ("a.jpg", (HEIGHT, WIDTH))
    assert (square.area, square.box) == (100, (10, 10, 20, 20))
    assert (box.rle, box.box) == (None, (20, 10, 40, 30))
    assert circle.area == pytest.approx(np.pi * 20**2, rel=0.01)
    assert circle.box == (40, 25, 80, 65)
    assert (mask.area, mask.box) == (40, (100, 80, 108, 85))
    assert rotated.area == pytest.approx(200, rel=0.02)


def test_masks_that_reach_out_of_the_picture_are_cut_off(tmp_path) -> None:
    patch = np.ones((10, 10), bool)
    value = document(
        shape("mask", (-4, -3), (5, 6), mask=png(patch)),
        shape("mask", (WIDTH - 2, HEIGHT - 1), (WIDTH + 7, HEIGHT + 8), mask=png(patch)),
        shape("mask", (WIDTH + 5, 0), (WIDTH + 14, 9), mask=png(patch)),
    )

    assert [item.area for item in read_labelme(save(tmp_path / "a.json", value)).images[0].objects] == [42, 2, 0]


def test_shapes_of_a_group_are_one_object(tmp_path) -> None:
    square = [(10, 10), (20, 10), (20, 20), (10, 20)]
    value = document(
        shape("polygon", *square, group_id=1),
        shape("rectangle", (30, 30), (40, 40), group_id=1),
        shape("polygon", *square, group_id=1, label="tree"),
        shape("rectangle", (30, 30), (40, 40), group_id=2),
    )
    found = read_labelme(save(tmp_path / "a.json", value)).images[0].objects

    assert [(item.label, item.area, item.rle is None) for item in found] == [
        ("car", 200, False),
        ("tree", 100, False),
        ("car", 100, True),
    ]
    assert all(item.track_id is None for item in found)


def test_sizes_come_from_the_pictures_where_they_are_missing(tmp_path) -> None:
    path = save(tmp_path / "a.json", document(imageHeight=None))

    assert read_labelme(path, images=save_pictures(tmp_path / "p", "a.jpg")).images[0].size == (HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="images="):
        read_labelme(path)
    with pytest.raises(ValueError, match="holds no picture"):
        read_labelme(path, images=save_pictures(tmp_path / "q", "b.jpg"))


def test_simplified_polygons_are_shorter(tmp_path) -> None:
    picture = AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),))
    (exact,) = write(LabelmeWriter(tmp_path / "exact"), picture)
    (short,) = write(LabelmeWriter(tmp_path / "short", tolerance=0.75), picture)

    assert (short / "a.json").stat().st_size < (exact / "a.json").stat().st_size / 2
    assert iou(read_labelme(short).images[0].objects[0].mask(), ring()) > 0.95


def test_pictures_of_one_name_have_files_of_their_own(tmp_path) -> None:
    (folder,) = write(LabelmeWriter(tmp_path), still("a.jpg"), still("a.png"))

    assert sorted(image.name for image in read_labelme(folder)) == ["a.jpg", "a.png"]


def test_empty_masks_are_left_out(tmp_path) -> None:
    nothing = ObjectAnnotation.from_mask(np.zeros((HEIGHT, WIDTH), bool))
    for masks in (False, True):
        (folder,) = write(LabelmeWriter(tmp_path, masks=masks), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (nothing,)))

        assert read_labelme(folder).images[0].objects == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must be a JSON object"),
        (document(shapes=None), "'shapes' is missing"),
        (document(shapes=[3]), r"shapes\[0\] must be a JSON object"),
        (document(imageWidth="wide"), "'imageWidth' must be a whole number, got 'wide'"),
        (document(imageWidth=0), "'imageWidth' and 'imageHeight' must be a picture's, got 0 x 90"),
        (document({"label": "a"}), r"shapes\[0\]: 'shape_type' is missing"),
        (document(shape("star", (1, 2))), r"shapes\[0\]: 'shape_type' must be one of"),
        (document(shape("polygon", (1, 2), (3, 4))), r"shapes\[0\]: .*at least three points"),
        (document(shape("polygon", (1, 2), (3, 4), (5,))), r"shapes\[0\]: point 2: must be \(x, y\), got 1"),
        (document(shape("polygon", (1, 2), (3, 4), (5, float("nan")))), "point 2: must be a number, got nan"),
        (document(shape("polygon", (1, 2), (3, 4), (5, "6"))), "point 2: must be a number, got '6'"),
        (document(shape("polygon")), "'points' must not be empty"),
        (document(shape("circle", (1, 2))), "must hold 2 points, got 1"),
        (document(shape("mask", (1, 2), (3, 4))), "'mask' is missing"),
        (document(shape("mask", (1, 2), (3, 4), mask="???")), "'mask' must be a PNG in base64"),
        (document(shape("mask", (1, 2), (3, 4), mask="AAAA")), "'mask' must be a PNG in base64"),
        (document(shape("mask", (1, 2), (3, 4), mask="")), "'mask' must be a PNG in base64"),
        (document(shape("rectangle", (1, 2), (3, 4), group_id="x")), "'group_id' must be a whole number"),
        (document(shape("rectangle", (1, 2), (3, 4), label="")), "label must not be empty"),
        (document(video={"name": "a"}, frame=-1), "frame >= 0"),
    ],
)
def test_damaged_files_are_refused(tmp_path, value, message) -> None:
    path = save(tmp_path / "broken.json", value)

    with pytest.raises(ValueError, match=rf"broken\.json.*{message}"):
        read_labelme(path)


def test_what_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_labelme(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no JSON file"):
        read_labelme(tmp_path)


def test_nothing_is_left_of_what_is_discarded(tmp_path) -> None:
    writer = LabelmeWriter(tmp_path)
    writer.add(still())
    writer.discard()

    assert list(tmp_path.iterdir()) == []
