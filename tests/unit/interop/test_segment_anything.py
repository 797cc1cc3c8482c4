import json

import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, blob, frames, masked, ring, still, write

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.rle import decode_mask, encode_mask
from sam2.interop.segment_anything import Sa1bWriter, SavWriter, read_sa1b, read_sav

VIDEO = VideoInfo("sav_000001", WIDTH, HEIGHT, 483, 24.0)
PROPOSED = {
    "predicted_iou": 1.0125,
    "stability_score": 0.96875,
    "crop_box": [0.0, 0.0, 60.0, 45.0],
    "point_coords": [[12.5, 40.0]],
}


def save(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def sa1b_file(**fields) -> dict:
    """A file with the fields that those of the release have."""
    rle = encode_mask(ring())
    entry = {"id": 7, "segmentation": rle, "bbox": [25.0, 10.0, 70.0, 70.0], "area": 3000, **PROPOSED}
    head = {"image_id": 1, "width": WIDTH, "height": HEIGHT, "file_name": "sa_1.jpg"}
    return {"image": head, "annotations": [entry], **fields}


def sav_file(**fields) -> dict:
    """A file with the fields that those of the release have: objects 0 and 1, the second appears in its third frame."""
    empty = encode_mask(np.zeros((HEIGHT, WIDTH), bool))
    rows = [[encode_mask(blob(0)), empty], [encode_mask(blob(1)), empty], [empty, encode_mask(ring())]]
    head = {"video_id": "sav_000001", "video_duration": 0.5, "video_frame_count": 12.0, "video_height": float(HEIGHT)}
    head |= {"video_width": float(WIDTH), "video_resolution": float(HEIGHT * WIDTH)}
    tail = {"masklet_id": [0, 1], "masklet_num": 2, "masklet_type": ["manual", "manual"]}
    return {**head, "masklet": rows, **tail, **fields}


class TestSa1b:
    def test_a_file_of_the_release(self, tmp_path) -> None:
        (image,) = read_sa1b(save(tmp_path / "sa_1.json", sa1b_file()))

        (item,) = image.objects
        assert (image.name, image.size) == ("sa_1.jpg", (HEIGHT, WIDTH))
        assert np.array_equal(item.mask(), ring())
        assert (item.score, item.label, item.track_id) == (1.0, "object", None)
        assert item.attributes == PROPOSED

    def test_fields_are_those_of_the_release(self, tmp_path) -> None:
        item = masked(ring(), score=0.9, attributes=PROPOSED)
        (folder,) = write(Sa1bWriter(tmp_path), AnnotatedImage("sa_1.jpg", WIDTH, HEIGHT, (item, masked(blob(1)))))

        written = json.loads((folder / "sa_1.json").read_text(encoding="utf-8"))

        assert written["image"] == {"image_id": 1, "width": WIDTH, "height": HEIGHT, "file_name": "sa_1.jpg"}
        first, second = written["annotations"]
        assert first == {
            "id": 1,
            "segmentation": encode_mask(ring()),
            "bbox": [25.0, 10.0, 71.0, 71.0],
            "area": int(ring().sum()),
            **PROPOSED,
            "score": 0.9,
        }
        assert second["id"] == 2
        assert second["crop_box"] == [0.0, 0.0, WIDTH, HEIGHT]
        assert second["predicted_iou"] is None

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
    def test_what_the_official_loader_of_training_data_reads(self, tmp_path) -> None:
        # it decodes entry["segmentation"] by pycocotools and sorts by entry["area"]
        tools = pytest.importorskip("pycocotools.mask")
        (folder,) = write(Sa1bWriter(tmp_path), AnnotatedImage("sa_1.jpg", WIDTH, HEIGHT, (masked(ring()),)))

        (entry,) = json.loads((folder / "sa_1.json").read_text(encoding="utf-8"))["annotations"]

        assert np.array_equal(tools.decode(entry["segmentation"]), ring())
        assert entry["area"] == tools.area(entry["segmentation"])

    def test_empty_masks_are_left_out_and_boxes_refused(self, tmp_path) -> None:
        nothing = masked(np.zeros((HEIGHT, WIDTH), bool))
        writer = Sa1bWriter(tmp_path)
        writer.add(AnnotatedImage("a.jpg", WIDTH, HEIGHT, (nothing,)))

        with pytest.raises(ValueError, match=r"one\.jpg: sa1b holds masks, 'sign, or not' has a box only"):
            writer.add(still())
        (folder,) = writer.close()

        assert [path.name for path in folder.iterdir()] == ["a.json"]
        assert read_sa1b(folder).images[0].objects == ()

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"image": None}, ": 'image' is missing"),
            ({"image": {"width": 3, "height": "x"}}, "image: 'height' must be a whole number, got 'x'"),
            ({"annotations": {}}, ": 'annotations' must be a list, got an object"),
            ({"annotations": [{}]}, r"annotations\[0\]: 'segmentation' is missing"),
            ({"annotations": [{"segmentation": {"size": [2, 2], "counts": "!"}}]}, r"annotations\[0\].*alphabet"),
            ({"annotations": [{"segmentation": {"size": [2, 2], "counts": [4]}}]}, "sa_1.jpg is 120 x 90"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, fields, message) -> None:
        path = save(tmp_path / "sa_1.json", sa1b_file(**fields))

        with pytest.raises(ValueError, match=rf"sa_1\.json.*{message}"):
            read_sa1b(path)


class TestSav:
    def test_a_file_of_the_release_is_for_every_fourth_frame(self, tmp_path) -> None:
        found = read_sav(save(tmp_path / "sav_000001_manual.json", sav_file()))

        assert [image.frame for image in found] == [0, 4, 8]
        assert [[item.track_id for item in image.objects] for image in found] == [[0], [0], [1]]
        assert np.array_equal(found.images[2].objects[0].mask(), ring())
        (video,) = found.videos
        assert (video.name, video.num_frames, video.fps) == ("sav_000001", 12, 24.0)

    def test_manual_and_automatic_masklets_stay_apart(self, tmp_path) -> None:
        for kind in ("auto", "manual"):
            save(tmp_path / f"sav_000001_{kind}.json", sav_file())

        assert [video.name for video in read_sav(tmp_path).videos] == ["sav_000001", "sav_000001_manual"]

    def test_every_frame_has_a_mask_for_each_object(self, tmp_path) -> None:
        # the official loaders index the inner list by the object, in any frame
        (folder,) = write(SavWriter(tmp_path), *frames(count=4))
        written = json.loads((folder / "clip_manual.json").read_text(encoding="utf-8"))

        areas = [[int(decode_mask(rle).sum()) for rle in row] for row in written["masklet"]]

        assert written["masklet_id"] == [7, 2]
        assert areas == [
            [blob(0).sum(), 0],
            [blob(1).sum(), ring().sum()],
            [blob(2).sum(), ring().sum()],
            [0, 0],
        ]

    def test_numbers_are_those_that_the_release_defines(self, tmp_path) -> None:
        def seen(frame: int, *tracks: int) -> AnnotatedImage:
            objects = tuple(masked(ring() if track else blob(1), track_id=track) for track in tracks)
            return AnnotatedImage("x", WIDTH, HEIGHT, objects, VIDEO, frame)

        images = [seen(0, 0), seen(4), seen(8, 0, 1), seen(12, 1), seen(16, 0, 1)]
        (folder,) = write(SavWriter(tmp_path), *images)
        written = json.loads((folder / "sav_000001_manual.json").read_text(encoding="utf-8"))

        areas = [float(blob(1).sum()), float(ring().sum())]
        assert (
            written.items()
            >= {
                "video_id": "sav_000001",
                "video_duration": 483 / 24,
                "video_frame_count": 483.0,
                "video_height": float(HEIGHT),
                "video_width": float(WIDTH),
                "video_resolution": float(HEIGHT * WIDTH),
                "masklet_id": [0, 1],
                "masklet_size_abs": areas,
                "masklet_size_rel": [area / (HEIGHT * WIDTH) for area in areas],
                "masklet_size_bucket": ["medium", "medium"],
                "masklet_visibility_changes": [4, 0],
                "masklet_first_appeared_frame": [0.0, 2.0],
                "masklet_frame_count": [5, 5],
                "masklet_num": 2,
                "masklet_frame_index": [0, 4, 8, 12, 16],
            }.items()
        )

    def test_what_it_cannot_hold_is_refused(self, tmp_path) -> None:
        writer = SavWriter(tmp_path)
        box = ObjectAnnotation((0, 0, 5, 5), track_id=1)

        with pytest.raises(ValueError, match="is a still picture: sav is for videos, sa1b for pictures"):
            writer.add(still())
        with pytest.raises(ValueError, match="sav needs the track_id of each object"):
            writer.add(AnnotatedImage("x", WIDTH, HEIGHT, (masked(ring()),), VIDEO, 0))
        with pytest.raises(ValueError, match="has a box only"):
            writer.add(AnnotatedImage("x", WIDTH, HEIGHT, (box,), VIDEO, 0))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"video_height": None}, "'video_height' is missing"),
            ({"masklet": 3}, "'masklet' must be a list"),
            ({"masklet_id": ["a"]}, "'masklet_id': must be a whole number"),
            ({"masklet_id": [0]}, r"masklet\[0\]: must hold a mask per masklet_id, 1, got 2"),
            ({"masklet": [[None, None]]}, r"masklet\[0\]\[0\] must be a JSON object, got None"),
            ({"masklet_frame_index": [0, 4]}, "masklet_frame_index has 2 entries, masklet 3"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, fields, message) -> None:
        path = save(tmp_path / "a.json", sav_file(**fields))

        with pytest.raises(ValueError, match=rf"a\.json: {message}"):
            read_sav(path)
