"""Every layout of training data gives the masks that are in it, is told by its content, and names what is wrong."""

import dataclasses
import gc
import json
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import made_sets as made
import numpy as np
import pytest
from made_sets import MadeSet

from sam2.io.video_file import VideoFile
from sam2.train.data.sources import READERS, BadSampleError, ClipRecord, Records, SourceConfig, open_records

EXACT = ("coco", "sa1b", "cvat", "label-studio")
OUTLINES = ("coco-polygons", "labelme", "geojson", "yolo")


def opened(path: Path, **fields: object) -> Records:
    """The records of a source, as a worker process gets them."""
    records = open_records(SourceConfig(path=str(path), **fields))
    return pickle.loads(pickle.dumps(records))


def worst_iou(records: Records, made_set: MadeSet) -> float:
    """The IoU of the worst mask; all frames, objects and sizes are compared too."""
    ious = [1.0]
    by_name = {record.name: pickle.loads(pickle.dumps(record)) for record in records}
    assert set(by_name) == set(made_set.truth)
    for name, frames in made_set.truth.items():
        record = by_name[name]
        assert isinstance(record, ClipRecord)
        assert record.labelled == tuple(sorted(frames))
        for index, truth in frames.items():
            masks = record.masks(index)
            assert record.image(index).shape == (made.HEIGHT, made.WIDTH, 3)
            assert set(masks) == set(truth)
            for number, mask in truth.items():
                assert masks[number].shape == mask.shape
                assert masks[number].dtype == bool
                ious.append((masks[number] & mask).sum() / (masks[number] | mask).sum())
    return min(ious)


@pytest.mark.parametrize("format", [*EXACT, *OUTLINES])
def test_what_a_writer_writes_is_read(tmp_path: Path, format: str) -> None:
    made_set = made.stills(tmp_path, format)
    place = {"coco-polygons": "coco_polygons.json", "coco": "coco.json", "cvat": "cvat.xml"}.get(format)
    path = tmp_path / (place or ("label_studio.json" if format == "label-studio" else format))

    records = opened(path, images=str(tmp_path / "images"))

    assert records.format == format.removesuffix("-polygons")
    assert not records.videos
    assert worst_iou(records, made_set) >= (1 if format in EXACT else 0.97)


def test_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    made_set = made.stills(tmp_path, "coco", names=("one.png",))
    truth = list(made_set.truth["one.png"][0].values())

    (record,) = opened(tmp_path)

    np.testing.assert_array_equal(record.image(0), made.photo(0, truth))


@pytest.mark.parametrize("resolution", ["480p", "Full-Resolution", ""])
@pytest.mark.parametrize("every", [1, 5])
def test_davis(tmp_path: Path, resolution: str, every: int) -> None:
    made_set = made.davis(tmp_path, resolution=resolution, every=every)
    records = opened(tmp_path)

    assert (records.format, records.videos) == ("davis", True)
    assert {record.num_frames for record in records} == {6}
    assert worst_iou(records, made_set) == 1


def test_a_folder_an_object(tmp_path: Path) -> None:
    """SA-V's val and test: an object that begins late has masks of those frames only."""
    frames = made.moving(9)
    made.save_frames(tmp_path / "JPEGImages_24fps" / "sav_1", frames)
    for t in (0, 4, 8):
        for number in (1, 2):
            mask = frames[t].get(number, np.zeros((made.HEIGHT, made.WIDTH), bool))
            folder = tmp_path / "Annotations_6fps" / "sav_1" / f"{number:03d}"
            made.save(folder / f"{t:05d}.png", mask.astype(np.uint8) * 255)
    truth = {"sav_1": {t: frames[t] for t in (0, 4, 8)}}

    assert worst_iou(opened(tmp_path), MadeSet(tmp_path, truth)) == 1


def test_several_workspaces(tmp_path: Path) -> None:
    """A folder a video, with both folders in it; frames in PNG, called frame_000012."""
    truth = {}
    for seed, name in enumerate(("caps", "chair")):
        frames = made.moving(4, seed=seed)
        for t, masks in enumerate(frames):
            made.save(tmp_path / name / "JPEGImages" / f"frame_{t + 10:06d}.png", made.photo(t))
            if t != 1:
                made.save_labels(tmp_path / name / "Annotations" / f"frame_{t + 10:06d}.png", masks)
        truth[name] = {t: masks for t, masks in enumerate(frames) if t != 1}

    assert worst_iou(opened(tmp_path), MadeSet(tmp_path, truth)) == 1


def test_parts_of_a_video_set(tmp_path: Path) -> None:
    """Training and validation data are not mixed by accident: the part has to be named."""
    made.davis(tmp_path / "train", resolution="", videos=("a", "b"))
    valid = made.davis(tmp_path / "valid", resolution="", videos=("c",))

    with pytest.raises(ValueError, match=r"several parts, train, valid: choose one by split"):
        opened(tmp_path)
    assert worst_iou(opened(tmp_path, split="valid"), valid) == 1
    assert len(opened(tmp_path, split="all")) == 3
    with pytest.raises(ValueError, match="split 'test'"):
        opened(tmp_path, split="test")


def test_lists_of_names(tmp_path: Path) -> None:
    made.davis(tmp_path, videos=("a", "b", "c"))
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("b\n\n")
    listed = tmp_path / "mine.txt"
    listed.write_text("/JPEGImages/480p/c/00000.jpg /Annotations/480p/c/00000.png\n")

    assert [record.name for record in opened(tmp_path, split="val")] == ["b"]
    assert [record.name for record in opened(tmp_path, split=str(listed))] == ["c"]
    (tmp_path / "ImageSets" / "2016").mkdir()
    (tmp_path / "ImageSets" / "2016" / "val.txt").write_text("c\n")
    (tmp_path / "ImageSets" / "2016" / "train.txt").write_text("a\n")
    assert [record.name for record in opened(tmp_path, split="2016/val")] == ["c"]
    with pytest.raises(ValueError, match=r"2016.val.txt, .*2017.val.txt in .* have this name"):
        opened(tmp_path, split="val")
    with pytest.raises(ValueError, match="lists of several parts, train, val: choose one by split"):
        opened(tmp_path)
    assert len(opened(tmp_path, split="all")) == 3
    listed.write_text("d\n")
    with pytest.raises(ValueError, match=r"mine.txt: none of its 1 names \(d\)"):
        opened(tmp_path, split=str(listed))


def test_values_of_255_are_no_object_in_palettes(tmp_path: Path) -> None:
    frames = made.moving(3)
    made.save_frames(tmp_path / "JPEGImages" / "a", frames)
    for t, masks in enumerate(frames):
        made.save_labels(tmp_path / "Annotations" / "a" / f"{t:05d}.png", {**masks, 255: ~masks[1]})
    (record,) = opened(tmp_path)

    assert set(record.masks(0)) == {1}
    np.testing.assert_array_equal(record.ignored(0), ~frames[0][1])
    assert set(opened(tmp_path, ignore=())[0].masks(0)) == {1, 255}


def test_sav(tmp_path: Path) -> None:
    made_set = made.sav(tmp_path)
    records = opened(tmp_path)
    (record,) = records

    assert (records.format, records.videos, record.num_frames) == ("sav", True, 13)
    assert worst_iou(records, made_set) == 1
    # the frame that is asked for, in whatever order
    truth = [made.photo(t, list(masks.values())) for t, masks in enumerate(made.moving(13))]
    for index in (8, 0, 12):
        differences = [np.abs(record.image(index).astype(int) - picture).mean() for picture in truth]
        assert np.argmin(differences) == index


@pytest.mark.parametrize("step", [1, 4])
def test_sav_as_extracted_frames(tmp_path: Path, step: int) -> None:
    """Folders of frames, all or every fourth, stand in for the video."""
    made_set = made.sav(tmp_path)
    (tmp_path / "sav_000001.mp4").unlink()
    made.save_frames(tmp_path / "JPEGImages_24fps" / "sav_000001", made.moving(13), step=step)
    truth = {name: {t // step: masks for t, masks in frames.items()} for name, frames in made_set.truth.items()}

    assert worst_iou(opened(tmp_path), MadeSet(tmp_path, truth)) == 1


def test_masklets_of_both_kinds(tmp_path: Path) -> None:
    made.sav(tmp_path)
    manual = tmp_path / "sav_000001_manual.json"
    (tmp_path / "sav_000001_auto.json").write_bytes(manual.read_bytes())

    both = opened(tmp_path)[0].masks(8)
    assert len(both) == 2 * len(opened(tmp_path, masklets="manual")[0].masks(8)) == 4
    assert set(opened(tmp_path, masklets="auto")[0].masks(8)) == {1, 2}


def test_sa1b_of_any_name(tmp_path: Path) -> None:
    """Not only ``sa_1.jpg``: a JSON file of another name says whose it is."""
    made.stills(tmp_path, "sa1b", names=("a photo.webp", "x.tif"))
    (tmp_path / "sa1b" / "x.json").rename(tmp_path / "sa1b" / "y.json")
    records = opened(tmp_path / "sa1b", images=str(tmp_path / "images"))

    assert [record.name for record in records] == ["a photo.webp", "x.tif"]
    assert [len(record.masks(0)) for record in records] == [2, 2]


def test_masks_are_decoded_one_by_one(tmp_path: Path) -> None:
    made.stills(tmp_path, "coco", names=("a.png",))
    masks = opened(tmp_path)[0].masks(0)

    assert list(masks) == [1, 2]
    assert masks[1] is not masks[1]


def test_panoptic(tmp_path: Path) -> None:
    masks = made.disks(0)
    made.save(tmp_path / "val2017" / "7.jpg", made.photo(0, masks))
    ids = (3226956, 70000)
    colours = np.zeros((made.HEIGHT, made.WIDTH, 3), np.uint8)
    for number, mask in zip(ids, masks, strict=True):
        colours[mask] = [number & 255, number >> 8 & 255, number >> 16]
    made.save(tmp_path / "annotations" / "panoptic_val2017" / "7.png", colours)
    segments = [{"id": number, "category_id": place, "iscrowd": place} for place, number in enumerate(ids)]
    document = {
        "images": [{"id": 7, "file_name": "7.jpg"}],
        "annotations": [{"image_id": 7, "file_name": "7.png", "segments_info": segments}],
        "categories": [{"id": 0, "name": "sky"}, {"id": 1, "name": "crowd of people"}],
    }
    (tmp_path / "annotations" / "panoptic_val2017.json").write_text(json.dumps(document))

    records = opened(tmp_path)
    assert records.format == "coco-panoptic"
    assert records.notes == ("crowds left out: 1",)
    assert worst_iou(records, MadeSet(tmp_path, {"7.jpg": {0: {1: masks[0]}}})) == 1
    assert len(opened(tmp_path, crowds=True)[0].masks(0)) == 2
    with pytest.raises(ValueError, match=r"exclude: .* has no class 'lawn'; there are crowd of people, sky"):
        opened(tmp_path, exclude=("lawn",))


def test_chosen_classes_and_crowds_of_coco(tmp_path: Path) -> None:
    made.stills(tmp_path, "coco", names=("a.png",))
    file = tmp_path / "coco.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]})
    document["images"].append({"id": 2, "file_name": "not there.jpg", "width": 9, "height": 9})
    document["annotations"].append({**document["annotations"][1], "id": 10, "image_id": 2})
    file.write_text(json.dumps(document))

    records = opened(tmp_path)
    assert len(records[0].masks(0)) == 1
    assert records.notes == (
        "crowds left out: 1",
        "boxes without masks left out: 1",
        "pictures that are not there: 1 (not there.jpg)",
    )
    assert len(opened(tmp_path, crowds=True)[0].masks(0)) == 2
    assert len(opened(tmp_path, crowds=True, classes=("dog",))[0].masks(0)) == 1
    with pytest.raises(ValueError, match="0 pictures with masks"):
        opened(tmp_path, classes=("cat",))
    with pytest.raises(ValueError, match=r"has no class 'bird'; there are cat, dog"):
        opened(tmp_path, classes=("bird",))


def test_small_objects_of_stills_are_left_out(tmp_path: Path) -> None:
    made_set = made.stills(tmp_path, "coco", names=("a.png",))
    areas = sorted(int(mask.sum()) for mask in made_set.truth["a.png"][0].values())

    assert len(opened(tmp_path, min_area=areas[0])[0].masks(0)) == 2
    assert len(opened(tmp_path, min_area=areas[0] + 1)[0].masks(0)) == 1


def test_yolo_parts_and_boxes(tmp_path: Path) -> None:
    for part in ("train", "val"):
        made.save(tmp_path / "images" / part / "a.jpg", made.photo(0))
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / "a.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n")
    description = "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"
    (tmp_path / "data.yaml").write_text(description)

    with pytest.raises(ValueError, match="several parts, train, val"):
        opened(tmp_path)
    records = opened(tmp_path / "data.yaml", split="val")
    assert (len(records), records.classes) == (1, ("cat", "dog"))
    area = records[0].masks(0)[1].sum()
    assert abs(area / (0.4 * made.WIDTH * 0.4 * made.HEIGHT) - 1) < 0.1

    for part in ("train", "val"):
        (tmp_path / "labels" / part / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    with pytest.raises(ValueError, match="labels are boxes, not polygons"):
        opened(tmp_path, split="all")


def test_frames_of_a_video_in_coco(tmp_path: Path) -> None:
    """What is a video in the annotations is one record."""
    truth = made.moving(5)
    made.save_video(tmp_path / "clip.mp4", truth)
    info = made.VideoInfo("clip.mp4", made.WIDTH, made.HEIGHT, 5, 24.0)
    writer = made.open_writers(["coco"], tmp_path)
    for t in (0, 2, 4):
        objects = tuple(made.ObjectAnnotation.from_mask(mask, track_id=number) for number, mask in truth[t].items())
        writer.add(made.AnnotatedImage(f"clip/{t}.jpg", made.WIDTH, made.HEIGHT, objects, info, t))
    writer.close()

    records = opened(tmp_path / "coco.json")
    assert records.videos
    assert worst_iou(records, MadeSet(tmp_path, {"clip.mp4": {t: truth[t] for t in (0, 2, 4)}})) == 1


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "missing", "path .*missing: no such file or folder"),
        (lambda folder: folder, r"holds no data set: neither pictures nor annotations. Looked for sav: .*geojson"),
        (lambda folder: made.save(folder / "a.jpg", made.photo(0)).parent, r"no masks found; .* nor is it sav: "),
        (lambda folder: made.save(folder / "a.jpg", made.photo(0)), r"a.jpg is no file of annotations .* expected sav"),
        (
            lambda folder: made.save(folder / "masks" / "a.png", made.numbered(made.disks(0))).parents[1],
            "no pictures found",
        ),
        (lambda folder: written(folder / "a.json", '{"images": [{"id'), r"a\.json is not JSON: Unterminated string"),
        (lambda folder: written(folder / "a.json", '{"images": [], "annotations": []}'), r"a\.json lists no pictures"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        opened(make(tmp_path))


def test_a_wrong_format_is_said(tmp_path: Path) -> None:
    made.davis(tmp_path)
    for format, missing in (("coco", "no COCO file"), ("sav", "no JSON file of SA-V"), ("yolo", "no text file")):
        with pytest.raises(ValueError, match=missing):
            opened(tmp_path, format=format)
    with pytest.raises(ValueError, match="format must be auto, sav"):
        SourceConfig(path="a", format="pascal")


def test_several_data_sets_in_one_folder(tmp_path: Path) -> None:
    made.davis(tmp_path / "videos")
    made.stills(tmp_path / "photos", "coco")
    with pytest.raises(ValueError, match=r"several data sets \(coco in .*photos; davis in .*videos\)"):
        opened(tmp_path)
    assert len(opened(tmp_path, format="davis")) == 2


def test_pictures_are_elsewhere(tmp_path: Path) -> None:
    """Below the annotations they are found wherever they are, elsewhere ``images`` has to say it."""
    made.stills(tmp_path / "set", "coco")
    (tmp_path / "set" / "images").rename(tmp_path / "set" / "pictures of the year")
    assert len(opened(tmp_path / "set" / "coco.json")) == 2
    (tmp_path / "set" / "pictures of the year").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"none of its pictures .* images says where they are"):
        opened(tmp_path / "set")
    assert len(opened(tmp_path / "set", images=str(tmp_path / "elsewhere"))) == 2
    with pytest.raises(FileNotFoundError, match=r"images .*nowhere: no such"):
        opened(tmp_path / "set", images=str(tmp_path / "nowhere"))


def test_fields_of_a_source_are_checked() -> None:
    for fields, message in (
        ({"path": ""}, "path"),
        ({"weight": -1.0}, "weight"),
        ({"frames": 0}, "frames"),
        ({"min_area": -1}, "min_area"),
        ({"instances": "blobs"}, "instances .* must be labels, components"),
        ({"values": "rgb"}, "values"),
        ({"classes": ("a",), "exclude": ("a",)}, "both name a"),
    ):
        with pytest.raises(ValueError, match=message):
            SourceConfig(**{"path": "a", **fields})


class TestBadSamples:
    """What is wrong with one sample is said when it is read, with the file and the cause."""

    def test_a_corrupt_picture(self, tmp_path: Path) -> None:
        made.stills(tmp_path, "coco")
        made.cut(tmp_path / "images" / "park one.png")
        record = opened(tmp_path)[0]
        with pytest.raises(BadSampleError, match=r"park one.png is truncated or corrupt"):
            record.image(0)

    def test_a_picture_of_another_size(self, tmp_path: Path) -> None:
        made.stills(tmp_path, "coco")
        made.save(tmp_path / "images" / "park one.png", made.photo(0).transpose(1, 0, 2).copy())
        with pytest.raises(BadSampleError, match=r"park one.png is 72 x 96, .* say 96 x 72 \(turned on its side"):
            opened(tmp_path)[0].masks(0)

    def test_a_malformed_mask(self, tmp_path: Path) -> None:
        made.stills(tmp_path, "coco", names=("a.png",))
        file = tmp_path / "coco.json"
        document = json.loads(file.read_text())
        document["annotations"][1]["segmentation"]["counts"] = "1"
        file.write_text(json.dumps(document))
        with pytest.raises(BadSampleError, match=r"a.png: object 2: rle counts sum to"):
            opened(tmp_path)[0].masks(0)

    def test_a_missing_frame(self, tmp_path: Path) -> None:
        made.davis(tmp_path, videos=("a",))
        (tmp_path / "JPEGImages" / "480p" / "a" / "00002.jpg").unlink()
        with pytest.raises(BadSampleError, match=r"a: .*00002.png belongs to no frame of .*480p"):
            opened(tmp_path)[0].labelled  # noqa: B018

    def test_no_annotated_frame(self, tmp_path: Path) -> None:
        made.davis(tmp_path, videos=("a", "b"))
        for file in (tmp_path / "Annotations" / "480p" / "a").iterdir():
            file.unlink()
        with pytest.raises(BadSampleError, match=r"a: 0 annotated frames: .*Annotations.*a holds no mask"):
            opened(tmp_path)[0].labelled  # noqa: B018

    def test_a_video_cut_short(self, tmp_path: Path) -> None:
        made.sav(tmp_path, frames=13)
        made.save_video(tmp_path / "sav_000001.mp4", made.moving(7))
        record = opened(tmp_path)[0]
        assert record.image(4).shape == (made.HEIGHT, made.WIDTH, 3)
        with pytest.raises(BadSampleError, match=r"sav_000001.mp4 has no frame 8: it holds 7 frames, .* speak of 13"):
            record.image(8)
        made.cut(tmp_path / "sav_000001.mp4", 0.3)
        with pytest.raises(BadSampleError, match=r"sav_000001.mp4"):
            opened(tmp_path)[0].image(0)

    def test_a_video_of_another_size(self, tmp_path: Path) -> None:
        made.sav(tmp_path)
        file = tmp_path / "sav_000001_manual.json"
        document = json.loads(file.read_text())
        document["video_width"] = 100.0
        file.write_text(json.dumps(document))
        with pytest.raises(BadSampleError, match=r"is 96 x 72, .*manual.json says 100 x 72"):
            opened(tmp_path)[0].masks(0)

    def test_a_broken_json_file(self, tmp_path: Path) -> None:
        made.stills(tmp_path, "sa1b", names=("a.png", "b.png"))
        (tmp_path / "sa1b" / "b.json").write_text('{"image": ')
        record = opened(tmp_path / "sa1b", images=str(tmp_path / "images"))[1]
        with pytest.raises(BadSampleError, match=r"b.json is not JSON"):
            record.masks(0)

    def test_a_line_that_is_none(self, tmp_path: Path) -> None:
        made.stills(tmp_path, "yolo", names=("a.png", "b.png"))
        with (tmp_path / "yolo" / "labels" / "b.txt").open("a") as file:
            file.write("0 here 0.2 0.3 0.1\n")
        record = opened(tmp_path / "yolo", images=str(tmp_path / "images"))[1]
        with pytest.raises(BadSampleError, match=r"b.txt, line 3: expected a class and numbers"):
            record.masks(0)

    def test_frames_without_masks_are_a_fault_of_the_caller(self, tmp_path: Path) -> None:
        made.davis(tmp_path, every=2)
        record = opened(tmp_path)[0]
        with pytest.raises(IndexError, match="frame 1 has no masks"):
            record.masks(1)
        with pytest.raises(IndexError, match=r"frame 6 is not in 0..5"):
            record.image(6)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_videos_that_are_open_are_read_by_other_processes(tmp_path: Path) -> None:
    """A forked process opens them anew: with the parent's file positions, both would read nonsense."""
    for name in ("a", "b", "c", "d"):
        made.sav(tmp_path, name=name, frames=21)
    places = [(place, index) for place in range(4) for index in (16, 4, 12)]
    expected = [mean_of(tmp_path, place) for place in places]

    with ProcessPoolExecutor(2, mp_context=get_context("fork" if sys.platform == "linux" else "spawn")) as pool:
        assert list(pool.map(partial(mean_of, tmp_path), places * 2, timeout=60)) == expected * 2
        assert [mean_of(tmp_path, place) for place in places] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_videos_that_are_garbage_are_not_collected_by_other_processes(tmp_path: Path) -> None:
    """Closing one would wait for threads of its decoder, which a forked process does not have."""
    made.sav(tmp_path, name="a", frames=21)
    gc.disable()
    try:
        for _ in range(4):
            ring: list[object] = [VideoFile(tmp_path / "a.mp4")]
            assert ring[0][3].any()  # type: ignore[index]
            ring.append(ring)
            del ring
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            collected = pool.submit(gc.collect)
            try:
                collected.result(timeout=30)
            except NotInTime:
                for process in pool._processes.values():
                    process.kill()
                pytest.fail("the child waits for ever")
    finally:
        gc.enable()


def mean_of(folder: Path, place: tuple[int, int]) -> float:
    """Of a frame of a record, for another process."""
    return float(open_records(SourceConfig(path=str(folder)))[place[0]].image(place[1]).mean())


def test_the_guide_has_all_formats_and_fields() -> None:
    text = (Path(__file__).parents[3] / "docs" / "training-data.md").read_text(encoding="utf-8")
    names = [*READERS, *(field.name for field in dataclasses.fields(SourceConfig))]

    assert [name for name in names if f"`{name}`" not in text] == []
