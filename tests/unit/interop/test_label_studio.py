import json
from xml.etree import ElementTree

import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, blob, frames, masked, ring, save_pictures, still, write
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.brush_rle import decode_brush, encode_brush
from sam2.interop.label_studio import LabelStudioWriter, read_label_studio
from sam2.io.video_writer import VideoWriter

VIDEO = VideoInfo("clip.mp4", WIDTH, HEIGHT, 12, 25.0)


def save(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def region(kind: str, value: dict, **fields) -> dict:
    """A result as Label Studio exports it."""
    head = {"id": "JbKdV2oXfM", "type": kind, "from_name": "tag", "to_name": "image", "origin": "manual"}
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {**head, **size, "value": value, **fields}


def task(*results: dict, data: dict | None = None, **fields) -> dict:
    """A task as Label Studio exports it."""
    annotation = {"id": 12, "completed_by": 1, "was_cancelled": False, "result": list(results), "lead_time": 3.5}
    data = {"image": "/data/upload/3/0a1b2c3d-photo%20one.jpg"} if data is None else data
    return {"id": 31, "data": data, "annotations": [annotation], "predictions": [], **fields}


def track(*keys: tuple, **fields) -> dict:
    """A tracked rectangle: frame, enabled, x, y, width, height of each key frame."""
    names = ("frame", "enabled", "x", "y", "width", "height")
    sequence = [{**dict(zip(names, key, strict=True)), "rotation": 0, "time": key[0] / 25} for key in keys]
    value = {"framesCount": 12, "duration": 0.48, "sequence": sequence, "labels": ["car"]}
    return {"id": "r1", "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value, **fields}


class TestBrush:
    # what encode_rle of label-studio-sdk 2.1.2 makes of the masks as RGBA, all four channels alike
    @pytest.mark.parametrize(
        ("mask", "theirs"),
        [
            ([[0, 1, 1], [1, 0, 0]], [0, 0, 0, 24, 57, 27, 252, 96, 22, 255, 231, 0, 0]),
            ([[0] * 5] * 3, [0, 0, 0, 60, 57, 27, 254, 59, 0, 0]),
        ],
    )
    def test_bytes_are_those_of_label_studio(self, mask, theirs) -> None:
        ours = encode_brush(np.array(mask))

        assert ours == theirs[: len(ours)]
        assert not any(theirs[len(ours) :])
        assert decode_brush(theirs, np.shape(mask)).tolist() == np.array(mask, bool).tolist()

    def test_words_as_they_are(self) -> None:
        # a stream with a block of 8 words (red, green, blue, alpha of 2 pixels) and sizes of 1 bit
        bits = f"{8:032b}" + f"{7:05b}" + "0010" * 4 + "0" + "00" + "111"
        bits += "".join(f"{word:08b}" for word in (9, 9, 9, 0, 0, 0, 0, 200))
        stream = [int(bits.ljust(-(-len(bits) // 8) * 8, "0")[i : i + 8], 2) for i in range(0, len(bits), 8)]

        assert decode_brush(stream, (1, 2)).tolist() == [[False, True]]

    @given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
    @settings(max_examples=200, deadline=None)
    def test_masks_come_back(self, mask) -> None:
        data = encode_brush(mask)

        assert all(0 <= byte <= 255 for byte in data)
        assert np.array_equal(decode_brush(data, mask.shape), mask)

    @pytest.mark.parametrize("value", [0, 1])
    def test_runs_longer_than_any_length(self, value) -> None:
        mask = np.full((300, 500), value)

        assert np.array_equal(decode_brush(encode_brush(mask), mask.shape), mask)

    @given(st.lists(st.integers(0, 255), max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_anything_else_is_refused(self, data) -> None:
        try:
            found = decode_brush([0, 0, 0, 24, *data], (2, 3))
        except ValueError:
            return
        assert found.shape == (2, 3)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ([1, 2], "ends too soon"),
            (encode_brush(np.ones((2, 3)))[:-2], "ends too soon"),
            (encode_brush(np.ones((3, 3))), "holds 36 values, expected 2 x 3 x 4"),
            ([0, 0, 0, 256], "whole numbers from 0 to 255"),
            (["a"], "whole numbers from 0 to 255"),
        ],
    )
    def test_damage_is_named(self, data, message) -> None:
        with pytest.raises(ValueError, match=message):
            decode_brush(data, (2, 3))


class TestImages:
    def test_fields_are_those_of_label_studio(self, tmp_path) -> None:
        tasks, _ = write(LabelStudioWriter(tmp_path), still())
        (written,) = load(tasks)

        assert tasks.name == "label_studio.json"
        assert written["data"]["image"] == "/data/local-files/?d=street/one.jpg"
        (prediction,) = written["predictions"]
        assert prediction["score"] == pytest.approx((0.75 + 0.5) / 2)
        assert [result["type"] for result in prediction["result"]] == [*["brushlabels"] * 3, "rectanglelabels"]
        assert len({result["id"] for result in prediction["result"]}) == 4
        brush, box = prediction["result"][0], prediction["result"][3]
        common = {"to_name": "image", "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
        assert brush.items() >= {**common, "from_name": "brush", "score": 0.75}.items()
        assert brush["value"] == {"format": "rle", "rle": encode_brush(ring()), "brushlabels": ["car"]}
        assert box["value"] == {
            "x": 8.75,
            "y": pytest.approx(100 * 20 / HEIGHT, abs=1e-5),
            "width": pytest.approx(100 * 29.75 / WIDTH, abs=1e-5),
            "height": pytest.approx(100 * 11 / HEIGHT, abs=1e-5),
            "rotation": 0,
            "rectanglelabels": ["sign, or not"],
        }

    def test_what_people_drew_becomes_annotations(self, tmp_path) -> None:
        tasks, _ = write(LabelStudioWriter(tmp_path), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),)))

        assert "predictions" not in load(tasks)[0]
        assert len(load(tasks)[0]["annotations"][0]["result"]) == 1

    def test_the_config_names_all_that_results_refer_to(self, tmp_path) -> None:
        tasks, config = write(LabelStudioWriter(tmp_path, labels=['a<b> & "c"']), still())
        root = ElementTree.parse(config).getroot()

        tags = {element.get("name"): element for element in root if element.get("name")}
        assert tags["image"].get("value") == "$image"
        for result in load(tasks)[0]["predictions"][0]["result"]:
            tag = tags[result["from_name"]]
            assert (tag.tag.lower(), tag.get("toName")) == (result["type"], result["to_name"])
            labels = [label.get("value") for label in tag]
            assert labels == ['a<b> & "c"', "car", "tree", "sign, or not"]

    def test_the_prefix_of_addresses(self, tmp_path) -> None:
        writer = LabelStudioWriter(tmp_path, prefix="https://photos.example/in/")
        tasks, _ = write(writer, AnnotatedImage("a b&c#.jpg", WIDTH, HEIGHT))

        assert load(tasks)[0]["data"]["image"] == "https://photos.example/in/a%20b%26c%23.jpg"
        assert read_label_studio(tasks).images[0].name == "a b&c#.jpg"

    def test_regions_of_label_studio(self, tmp_path) -> None:
        size = np.array([WIDTH, HEIGHT])
        points = (np.array([(10, 10), (20, 10), (20, 30), (10, 30)]) / size * 100).tolist()
        across, down = 100 / WIDTH, 100 / HEIGHT
        turned = {"x": 60 * across, "y": 30 * down, "width": 20 * across, "height": 10 * down, "rotation": 90}
        ellipse = {"x": 50.0, "y": 50.0, "radiusX": 20 * across, "radiusY": 10 * down, "rotation": 0}
        results = [
            region("brushlabels", {"format": "rle", "rle": encode_brush(blob(2)), "brushlabels": ["tree"]}),
            region("polygonlabels", {"points": points, "closed": True, "polygonlabels": ["car"]}),
            region("rectanglelabels", {**turned, "rectanglelabels": ["car"]}),
            region("ellipselabels", {**ellipse, "ellipselabels": ["pond"]}),
            region("brush", {"format": "rle", "rle": encode_brush(ring())}, id="own"),
            region("labels", {"labels": ["ring"]}, id="own"),
            region("polygon", {"points": points}, id="none"),
        ]

        (image,) = read_label_studio(save(tmp_path / "export.json", [task(*results)]))
        brush, polygon, rectangle, pond, own, _ = image.objects

        assert (image.name, image.size) == ("photo one.jpg", (HEIGHT, WIDTH))
        assert np.array_equal(brush.mask(), blob(2))
        assert polygon.box == (10, 10, 20, 30)
        assert polygon.area == 200
        assert rectangle.box == pytest.approx((50, 30, 60, 50))
        assert pond.area == pytest.approx(np.pi * 20 * 10, rel=0.01)
        assert np.array_equal(own.mask(), ring())
        assert [item.label for item in image.objects] == ["tree", "car", "car", "pond", "ring", "object"]

    def test_the_first_annotation_that_stands_counts(self, tmp_path) -> None:
        def made(label: str, **fields) -> dict:
            value = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": [label]}
            return {"result": [region("rectanglelabels", value)], **fields}

        annotations = [made("no", was_cancelled=True), made("yes"), made("later")]
        tasks = [
            {**task(), "annotations": annotations, "predictions": [made("guess")]},
            {**task(), "annotations": [], "predictions": [made("guess")]},
            {**task(), "annotations": [], "predictions": []},
        ]

        found = read_label_studio(save(tmp_path / "a.json", tasks))

        assert [[item.label for item in image.objects] for image in found] == [["yes"], ["guess"]]

    @pytest.mark.parametrize(
        ("address", "name"),
        [
            ("/data/local-files/?d=in%20here/a.jpg", "in here/a.jpg"),
            ("/data/upload/1/01234567-a.jpg", "a.jpg"),
            ("https://a.example/b/c.jpg?token=1", "c.jpg"),
            ("s3://bucket/b/c.jpg", "c.jpg"),
            ("folder/c.jpg", "folder/c.jpg"),
        ],
    )
    def test_names_behind_addresses(self, tmp_path, address, name) -> None:
        data = {"img": address, "width": WIDTH, "height": HEIGHT}

        assert read_label_studio(save(tmp_path / "a.json", task(data=data))).images[0].name == name

    def test_pictures_without_regions_need_their_sizes_from_somewhere(self, tmp_path) -> None:
        path = save(tmp_path / "a.json", [task()])

        with pytest.raises(ValueError, match=r"a\.json: task 31: data: nothing says how large photo one\.jpg is"):
            read_label_studio(path)
        found = read_label_studio(path, images=save_pictures(tmp_path / "in", "photo one.jpg"))

        assert found.images[0].size == (HEIGHT, WIDTH)

    def test_what_is_no_area_is_counted(self, tmp_path) -> None:
        results = [region("keypointlabels", {"x": 1, "y": 2}), region("choices", {"choices": ["a"]})]
        data = {"image": "a.jpg", "width": WIDTH, "height": HEIGHT}

        with pytest.warns(UserWarning, match="left out what is no area: 1 choices, 1 keypoint"):
            read_label_studio(save(tmp_path / "a.json", task(*results, data=data)))

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (region("brushlabels", {"rle": [1, 2]}), "result\\[1\\]: value: rle ends too soon"),
            (region("polygonlabels", {"points": [[1, "a"]]}), "result\\[1\\]: value: 'points': a polygon must be"),
            (region("rectanglelabels", {"x": 1}), "result\\[1\\]: value: 'y' is missing"),
            (region("rectanglelabels", {}, image_rotation=90), "result\\[1\\]: the picture is turned"),
            (region("brushlabels", {}, original_width=5), "result\\[1\\] is for 5 x 90"),
            ({"type": "brushlabels"}, "result\\[0\\]: 'original_height' is missing"),
            ({}, "'type' is missing"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, result, message) -> None:
        good = region("brushlabels", {"format": "rle", "rle": encode_brush(ring())}, id="good")
        path = save(tmp_path / "a.json", [task(*([good] if "id" in result else []), result)])

        with pytest.raises(ValueError, match=rf"a\.json: task 31: .*{message}"):
            read_label_studio(path)


class TestVideos:
    def test_fields_are_those_of_label_studio(self, tmp_path) -> None:
        item = ObjectAnnotation((12, 9, 24, 27), label="car", track_id=4)
        images = [AnnotatedImage(f"{frame}", WIDTH, HEIGHT, (item,), VIDEO, frame) for frame in (0, 1)]
        images.append(AnnotatedImage("2", WIDTH, HEIGHT, (), VIDEO, 2))
        images.append(AnnotatedImage("3", WIDTH, HEIGHT, (item,), VIDEO, 3))
        tasks, config = write(LabelStudioWriter(tmp_path), *images)
        (written,) = load(tasks)

        assert written["data"]["video"] == "/data/local-files/?d=clip.mp4"
        (result,) = written["annotations"][0]["result"]
        assert (result["type"], result["from_name"], result["to_name"]) == ("videorectangle", "box", "video")
        value = result["value"]
        assert (value["framesCount"], value["duration"], value["labels"]) == (12, 0.48, ["car"])
        sides = {"x": 10.0, "y": 10.0, "width": 10.0, "height": 20.0, "rotation": 0}
        assert value["sequence"] == [
            {"frame": 1, "enabled": True, "time": 0.04, **sides},
            {"frame": 2, "enabled": False, "time": 0.08, **sides},
            {"frame": 4, "enabled": False, "time": 0.16, **sides},
        ]
        root = ElementTree.parse(config).getroot()
        assert [(tag.tag, tag.get("name")) for tag in root] == [
            ("Labels", "labels"),
            ("Video", "video"),
            ("VideoRectangle", "box"),
        ]
        assert (root.find("Video").get("value"), root.find("Video").get("framerate")) == ("$video", "$fps")
        assert written["data"]["fps"] == 25.0

    def test_key_frames_of_label_studio_are_interpolated(self, tmp_path) -> None:
        keys = (2, True, 0, 0, 10, 10), (4, False, 20, 10, 10, 30), (8, True, 50, 50, 10, 10)
        data = {"video": "clip.mp4", "width": WIDTH, "height": HEIGHT}

        found = read_label_studio(save(tmp_path / "a.json", task(track(*keys), data=data)))

        boxes = {
            image.frame: (np.array(image.objects[0].box) * 100 / (WIDTH, HEIGHT, WIDTH, HEIGHT)).round(6).tolist()
            for image in found
        }
        assert boxes == {
            1: [0, 0, 10, 10],
            2: [10, 5, 20, 25],
            3: [20, 10, 30, 40],
            **{frame: [50, 50, 60, 60] for frame in range(7, 12)},
        }
        assert {item.label for image in found for item in image.objects} == {"car"}
        assert {item.track_id for image in found for item in image.objects} == {1}

    def test_tracks_get_numbers_that_are_free(self, tmp_path) -> None:
        key = (1, False, 0, 0, 10, 10)
        results = [track(key), track(key, meta={"track_id": 1}), track(key, meta={"text": ["a note"]})]
        data = {"video": "clip.mp4", "width": WIDTH, "height": HEIGHT}

        (image,) = read_label_studio(save(tmp_path / "a.json", task(*results, data=data)))

        assert [item.track_id for item in image.objects] == [2, 1, 3]

    def test_a_mask_is_kept_until_its_box_is_moved(self, tmp_path) -> None:
        tasks, _ = write(LabelStudioWriter(tmp_path), *frames())
        document = load(tasks)
        document[0]["predictions"][0]["result"][0]["value"]["sequence"][1]["x"] += 5

        first, second, third = read_label_studio(save(tasks, document))

        assert np.array_equal(first.objects[0].mask(), blob(0))
        assert second.objects[0].rle is None
        assert np.array_equal(second.objects[1].mask(), ring())
        assert third.objects == ()

    def test_the_size_of_a_video_is_read_from_its_file(self, tmp_path) -> None:
        path = save(tmp_path / "a.json", task(track((1, False, 0, 0, 50, 50)), data={"video": "in/clip.mp4"}))
        (tmp_path / "media" / "in").mkdir(parents=True)
        with VideoWriter(tmp_path / "media" / "in" / "clip.mp4", fps=10) as video:
            for _ in range(3):
                video.write(np.zeros((48, 64, 3), np.uint8))

        with pytest.raises(ValueError, match=r"nothing says how large in/clip\.mp4 is"):
            read_label_studio(path)
        (image,) = read_label_studio(path, images=tmp_path / "media")

        assert (image.video.name, image.size, image.video.num_frames, image.video.fps) == (
            "in/clip.mp4",
            (48, 64),
            3,
            10,
        )
        assert image.objects[0].box == (0, 0, 32, 24)

    @pytest.mark.parametrize(
        ("result", "data", "message"),
        [
            (track((0, False, 0, 0, 5, 5)), {}, "sequence\\[0\\]: frames count from 1, got 0"),
            (track((1, False, 0, 0, 5, "x")), {}, "sequence\\[0\\]: 'height' must be a number"),
            (track((1, False, 0, 0, 5, 5)), {"frames": "1-x"}, "frames: expected numbers as in"),
            ({"type": "videorectangle", "value": {}}, {}, "value: 'sequence' is missing"),
            (track((1, False, 0, 0, 5, 5), meta={"rle_by_frame": {"1": {}}}), {}, "rle_by_frame: 1: 'size' is missing"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, result, data, message) -> None:
        known = {"video": "clip.mp4", "width": WIDTH, "height": HEIGHT, **data}
        path = save(tmp_path / "a.json", task(result, data=known))

        with pytest.raises(ValueError, match=rf"a\.json: task 31: .*{message}"):
            read_label_studio(path)

    def test_stills_and_videos_are_two_projects(self, tmp_path) -> None:
        written = write(LabelStudioWriter(tmp_path), still(), *frames())

        assert [path.name for path in written] == [
            "label_studio.json",
            "label_studio_config.xml",
            "label_studio_videos.json",
            "label_studio_videos_config.xml",
        ]
        assert len(read_label_studio(tmp_path)) == 4
