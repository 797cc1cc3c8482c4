import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from format_samples import (
    HEIGHT,
    WIDTH,
    assert_same_objects,
    blob,
    frames,
    iou,
    masked,
    ring,
    save_pictures,
    still,
    write,
)

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.coco import CocoWriter, read_coco
from sam2.interop.rle import encode_mask

LABELS = ("person", "car")


def document(**fields) -> dict:
    """A small COCO file by somebody else."""
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    return {
        "images": [{"id": 5, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "segmentation": [square], "iscrowd": 0}],
        "categories": [{"id": 3, "name": "car"}],
        **fields,
    }


def save(path, value) -> object:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("polygons", [False, True])
def test_pictures_and_frames_come_back(tmp_path, polygons) -> None:
    pictures = [still(), *frames(), still("two.png")]

    (path,) = write(CocoWriter(tmp_path, labels=LABELS, polygons=polygons), *pictures)
    found = read_coco(path)

    assert path.name == ("coco_polygons.json" if polygons else "coco.json")
    assert found.labels == ("person", "car", "tree", "sign, or not", "dog")
    for image, known in zip(found, pictures, strict=True):
        assert_same_objects(image, known)
        assert image.frame == known.frame
        if known.video is not None:
            assert image.video is not None
            assert (image.video.name, image.video.num_frames, image.video.fps) == ("clip.mp4", 250, 12.5)
    assert [video.name for video in found.videos] == ["clip.mp4"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_numbers_begin_at_one_and_classes_keep_theirs(tmp_path) -> None:
    (path,) = write(CocoWriter(tmp_path, labels=LABELS), still())
    written = json.loads(path.read_text(encoding="utf-8"))

    assert [entry["id"] for entry in written["images"]] == [1]
    assert [entry["id"] for entry in written["annotations"]] == [1, 2, 3, 4]
    assert [(c["id"], c["name"]) for c in written["categories"]][:3] == [(1, "person"), (2, "car"), (3, "tree")]
    assert written["annotations"][0]["category_id"] == 2
    assert written["annotations"][3]["bbox"] == [10.5, 20, 29.75, 11]
    assert "segmentation" not in written["annotations"][3]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_and_evaluates_it(tmp_path, polygons) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    objects = tuple(item for item in still().objects if item.rle is not None)
    (path,) = write(CocoWriter(tmp_path, polygons=polygons), still().with_objects(objects), *frames())

    with contextlib.redirect_stdout(io.StringIO()):
        truth = tools.COCO(str(path))
        results = [
            {"image_id": entry["image_id"], "category_id": entry["category_id"], "score": 0.5}
            | {"segmentation": encode_mask(truth.annToMask(entry))}
            for entry in truth.dataset["annotations"]
        ]
        evaluated = evaluation.COCOeval(truth, truth.loadRes(save(tmp_path / "r.json", results).as_posix()), "segm")
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()

    found = truth.loadAnns(truth.getAnnIds(imgIds=[1]))
    for entry, item in zip(found, objects, strict=True):
        assert np.array_equal(truth.annToMask(entry).astype(bool), item.mask())
        assert truth.loadCats(entry["category_id"])[0]["name"] == item.label
        assert entry["area"] == item.area
    assert evaluated.stats[0] == pytest.approx(1.0)


def test_simplified_polygons_are_shorter(tmp_path) -> None:
    picture = AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),))
    (exact,) = write(CocoWriter(tmp_path / "exact", polygons=True), picture)
    (short,) = write(CocoWriter(tmp_path / "short", polygons=True, tolerance=0.75), picture)

    assert short.stat().st_size < exact.stat().st_size / 2
    assert iou(read_coco(short).images[0].objects[0].mask(), ring()) > 0.95


def test_crowds_stay_crowds(tmp_path) -> None:
    rle = encode_mask(blob(3), compress=False)
    entry = {"id": 1, "image_id": 5, "category_id": 3, "segmentation": rle, "bbox": [0, 0, 5, 5], "iscrowd": 1}
    found = read_coco(save(tmp_path / "a.json", document(annotations=[entry])))

    (path,) = write(CocoWriter(tmp_path / "out", polygons=True), *found)
    written = json.loads(path.read_text(encoding="utf-8"))["annotations"][0]

    assert found.images[0].objects[0].attributes == {"iscrowd": 1}
    assert np.array_equal(found.images[0].objects[0].mask(), blob(3))
    assert (written["iscrowd"], written["segmentation"]["size"]) == (1, [HEIGHT, WIDTH])
    assert "attributes" not in written


def test_polygons_of_others(tmp_path) -> None:
    """Several parts, and one without a list around it; the box is that of the mask where none is given."""
    parts = [[10, 10, 20, 10, 20, 20, 10, 20], [30.0, 10.0, 40.0, 10.0, 40.0, 20.0]]
    entries = [
        {"id": 1, "image_id": 5, "category_id": 3, "segmentation": parts},
        {"id": 2, "image_id": 5, "category_id": 3, "segmentation": parts[0], "bbox": [1, 2, 3, 4]},
    ]
    first, second = read_coco(save(tmp_path / "a.json", document(annotations=entries))).images[0].objects

    assert first.mask()[10:20, 10:20].all()
    assert 45 <= first.mask()[10:20, 30:40].sum() <= 55
    assert first.box == (10, 10, 40, 20)
    assert second.mask().sum() == 100
    assert second.box == (1, 2, 4, 6)


def test_what_is_thinner_than_a_pixel_is_still_there(tmp_path) -> None:
    line = [[10.2, 10.2, 30.2, 10.2, 30.2, 10.3]]
    entry = {"id": 1, "image_id": 5, "category_id": 3, "segmentation": line}

    assert read_coco(save(tmp_path / "a.json", document(annotations=[entry]))).images[0].objects[0].area == 21


def test_sizes_come_from_the_pictures_where_they_are_missing(tmp_path) -> None:
    path = save(tmp_path / "a.json", document(images=[{"id": 5, "file_name": "a.jpg"}]))
    pictures = save_pictures(tmp_path / "pictures", "a.jpg")

    assert read_coco(path, images=pictures).images[0].size == (HEIGHT, WIDTH)
    with pytest.raises(ValueError, match=r"a\.json: images\[0\]: .*images="):
        read_coco(path)


def test_without_categories_classes_are_numbers(tmp_path) -> None:
    path = save(tmp_path / "a.json", document(categories=[]))

    assert read_coco(path).labels == ("3",)


def test_images_may_be_called_by_text(tmp_path) -> None:
    value = document()
    value["images"][0]["id"] = value["annotations"][0]["image_id"] = "a-1"

    assert len(read_coco(save(tmp_path / "a.json", value)).images[0].objects) == 1


def test_results_find_their_images_beside_them(tmp_path) -> None:
    (truth,) = write(CocoWriter(tmp_path, labels=LABELS), still())
    results = [
        {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.25},
        {"image_id": 1, "category_id": 1, "segmentation": encode_mask(ring()), "score": 0.5},
    ]
    (image,) = read_coco(save(tmp_path / "results.json", results))

    assert (image.name, image.size) == (still().name, (HEIGHT, WIDTH))
    assert [(item.label, item.score, item.rle is None) for item in image.objects] == [
        ("car", 0.25, True),
        ("person", 0.5, False),
    ]
    assert truth.exists()


def test_results_find_their_pictures_by_number(tmp_path) -> None:
    results = [{"image_id": 42, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.25}]
    path = save(tmp_path / "results.json", results)
    pictures = save_pictures(tmp_path / "val2017", "000000000042.jpg")

    (image,) = read_coco(path, images=pictures)

    assert (image.name, image.size, image.objects[0].label) == ("000000000042.jpg", (HEIGHT, WIDTH), "2")
    with pytest.raises(ValueError, match="images="):
        read_coco(path)


def test_results_with_masks_need_no_images(tmp_path) -> None:
    results = [{"image_id": 42, "category_id": 2, "segmentation": encode_mask(ring())}]

    (image,) = read_coco(save(tmp_path / "results.json", results))

    assert (image.name, image.size) == ("42", (HEIGHT, WIDTH))


def test_frames_are_put_in_order(tmp_path) -> None:
    images = [
        {"id": 1, "file_name": "b2.jpg", "width": 8, "height": 6, "video_id": 1, "frame_id": 2},
        {"id": 2, "file_name": "still.jpg", "width": 8, "height": 6},
        {"id": 3, "file_name": "b0.jpg", "width": 8, "height": 6, "video_id": 1, "frame_index": 0},
    ]
    found = read_coco(save(tmp_path / "a.json", document(images=images, annotations=[])))

    assert [image.name for image in found] == ["b0.jpg", "b2.jpg", "still.jpg"]
    assert [video.name for video in found.videos] == ["1"]


def test_a_folder_with_one_file(tmp_path) -> None:
    save(tmp_path / "a.json", document())
    save(tmp_path / "other.json", {"x": 1})

    assert len(read_coco(tmp_path)) == 1
    save(tmp_path / "b.json", document())
    with pytest.raises(ValueError, match=r"a\.json, b\.json"):
        read_coco(tmp_path)


def _broken(**fields) -> dict:
    value = document()
    value["annotations"][0] |= fields
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"images": []}, r"'annotations' is missing"),
        ({"images": 3, "annotations": []}, r"'images' must be a list, got 3"),
        (3, "must be a JSON object"),
        ([3], r"results\[0\] must be a JSON object"),
        (document(images=[{"id": 5, "width": 3, "height": 3}]), r"images\[0\]: 'file_name' is missing"),
        (document(images=document()["images"] * 2), r"images\[1\]: the id 5 is taken"),
        (
            document(images=[{"id": 5, "file_name": "a", "width": 0, "height": 3}]),
            r"images\[0\]: 'width' and 'height' .* 0 x 3",
        ),
        (document(categories=[{"id": 3}]), r"categories\[0\]: 'name' is missing"),
        (_broken(image_id=6), r"annotations\[0\]: there is no image with the id 6"),
        (_broken(category_id=4), r"annotations\[0\]: there is no category with the id 4"),
        (_broken(segmentation=[[1, 2, 3, 4, 5]]), r"annotations\[0\]: 'segmentation': polygon 0: .*got 5 numbers"),
        (_broken(segmentation=[[1, 2, 3, 4, 5, None]]), r"polygon 0: must be a number, got None"),
        (_broken(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), r"polygon 0: must be a number, got nan"),
        (_broken(segmentation="x"), r"'segmentation': must be an object, got 'x'"),
        (_broken(segmentation={"size": [2, 2], "counts": "04"}), r"has the size \[2, 2\], the image \[90, 120\]"),
        (_broken(segmentation={"size": [HEIGHT, WIDTH], "counts": "04"}), "sum to 4"),
        (_broken(segmentation={"size": [HEIGHT, WIDTH], "counts": [3, "a"]}), "list of runs"),
        (_broken(segmentation={"size": [HEIGHT, WIDTH], "counts": [10**30]}), "list of runs"),
        (document(images=[{"id": 5, "file_name": "a", "width": 2**40, "height": 2**40}]), "'width' and 'height'"),
        (_broken(segmentation=[]), "neither 'segmentation' nor 'bbox'"),
        (_broken(bbox=[1, 2, 3]), r"'bbox': must hold 4 numbers, got 3"),
        (_broken(bbox=[1, 2, -3, 4]), "x0 <= x1"),
        (_broken(score="high"), "'score' must be a number, got 'high'"),
        (_broken(attributes=3), "'attributes' must be an object, got 3"),
        (document(images=[document()["images"][0] | {"video_id": 1}]), "'frame_id' is missing"),
    ],
)
def test_damaged_files_are_refused(tmp_path, value, message) -> None:
    path = save(tmp_path / "broken.json", value)

    with pytest.raises(ValueError, match=rf"broken\.json.*{message}"):
        read_coco(path)


def test_what_is_not_json_is_refused(tmp_path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(b'{"images": [')

    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        read_coco(path)


def test_two_images_of_one_frame_are_refused(tmp_path) -> None:
    image = {"file_name": "a.jpg", "width": 8, "height": 6, "video_id": 1, "frame_id": 2}
    path = save(tmp_path / "a.json", document(images=[image | {"id": 1}, image | {"id": 2}], annotations=[]))

    with pytest.raises(ValueError, match=r"images\[1\]: frame 2"):
        read_coco(path)


def test_objects_with_one_track_id_in_a_picture_are_refused(tmp_path) -> None:
    entry = document()["annotations"][0] | {"track_id": 4}
    path = save(tmp_path / "a.json", document(annotations=[entry, entry | {"id": 2}]))

    with pytest.raises(ValueError, match=r"images\[0\]: a\.jpg: track_id"):
        read_coco(path)


def test_nothing_is_left_of_what_is_discarded(tmp_path) -> None:
    writer = CocoWriter(tmp_path)
    writer.add(still())
    writer.discard()
    writer.discard()

    assert list(tmp_path.iterdir()) == []


def test_no_picture_and_empty_masks(tmp_path) -> None:
    empty = replace(still(), objects=(ObjectAnnotation.from_mask(np.zeros((HEIGHT, WIDTH), bool)),))
    (nothing,) = write(CocoWriter(tmp_path / "a", labels=LABELS))
    (hollow,) = write(CocoWriter(tmp_path / "b"), empty)

    assert (len(read_coco(nothing)), read_coco(nothing).labels) == (0, LABELS)
    assert not read_coco(hollow).images[0].objects[0].mask().any()
