import json

import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, dot, frames, masked, ring, save_pictures, still, write
from PIL import Image

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.davis import DavisWriter, labels_to_rles, read_davis
from sam2.interop.rle import decode_mask
from sam2.io.palette import DAVIS_PALETTE, read_palette_png, write_palette_png

VIDEO = VideoInfo("clip", WIDTH, HEIGHT)


def strip(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, x0:x1] = True
    return mask


def frame(number: int, *objects: ObjectAnnotation) -> AnnotatedImage:
    return AnnotatedImage(f"clip/{number:05d}.jpg", WIDTH, HEIGHT, objects, VIDEO, number)


def test_a_video_is_a_folder_of_palette_pngs_whose_values_are_track_ids(tmp_path) -> None:
    objects = masked(strip(0, 50), track_id=3), masked(strip(60, 90), track_id=11)

    (folder,) = write(DavisWriter(tmp_path), frame(4, *objects), frame(12))

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "davis/clip/00004.png",
        "davis/clip/00012.png",
    ]
    with Image.open(folder / "clip" / "00004.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette() == DAVIS_PALETTE.ravel().tolist()
    expected = 3 * strip(0, 50) + 11 * strip(60, 90)
    assert np.array_equal(read_palette_png(folder / "clip" / "00004.png"), expected)
    assert not read_palette_png(folder / "clip" / "00012.png").any()


def test_where_masks_overlap_the_smaller_is_on_top(tmp_path) -> None:
    objects = masked(strip(20, 30), track_id=1), masked(strip(0, 100), track_id=2), masked(strip(25, 27), track_id=3)
    (folder,) = write(DavisWriter(tmp_path), frame(0, *objects))

    row = read_palette_png(folder / "clip" / "00000.png")[0]

    assert row[[10, 22, 26, 29, 50, 110]].tolist() == [2, 1, 3, 1, 2, 0]


def test_an_id_that_is_no_pixel_value_gets_a_number_and_comes_back(tmp_path) -> None:
    tracks = (0, 255, 70_000)
    objects = [masked(strip(30 * i, 30 * i + 20), track_id=track) for i, track in enumerate(tracks)]
    (folder,) = write(DavisWriter(tmp_path), frame(0, *objects), frame(1, objects[2], objects[0]))

    found = read_davis(folder)

    assert {item.track_id for item in found.images[0].objects} == set(tracks)
    by_track = {item.track_id: item.mask() for item in found.images[1].objects}
    assert by_track.keys() == {0, 70_000}
    assert np.array_equal(by_track[0], strip(0, 20))


def test_more_than_255_objects_make_a_png_of_16_bits(tmp_path) -> None:
    objects = tuple(masked(dot(number % 100, number // 100)) for number in range(300))
    (folder,) = write(DavisWriter(tmp_path), AnnotatedImage("many.jpg", WIDTH, HEIGHT, objects))

    with Image.open(folder / "many.png") as picture:
        assert picture.mode.startswith("I")
    found = read_davis(folder)

    assert len(found.images[0].objects) == 300
    assert all(np.array_equal(a.mask(), b.mask()) for a, b in zip(found.images[0].objects, objects, strict=True))


def test_a_box_is_refused_and_nothing_is_left(tmp_path) -> None:
    writer = DavisWriter(tmp_path)
    writer.add(AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),)))

    with pytest.raises(ValueError, match=r"street/one\.jpg.*'sign, or not' has a box only"):
        writer.add(still())
    writer.discard()

    assert not list(tmp_path.iterdir())


def test_pictures_of_one_stem_and_videos_of_one_stem_stay_apart(tmp_path) -> None:
    pictures = [AnnotatedImage(f"a.{kind}", WIDTH, HEIGHT, (masked(ring(), label=kind),)) for kind in ("jpg", "png")]
    clips = [*frames("clip.mp4", count=2), *frames("clip.mov", count=2)]
    (folder,) = write(DavisWriter(tmp_path), *pictures, *clips)

    found = read_davis(folder)

    assert {image.name: [item.label for item in image.objects] for image in found if image.video is None} == {
        "a.jpg": ["jpg"],
        "a.png": ["png"],
    }
    assert [(image.video.name, image.frame) for image in found if image.video is not None] == [
        ("clip.mp4", 0),
        ("clip.mp4", 1),
        ("clip.mov", 0),
        ("clip.mov", 1),
    ]


def test_names_cannot_lead_out_of_the_folder(tmp_path) -> None:
    video = VideoInfo("../../up.mp4", WIDTH, HEIGHT)
    images = [
        AnnotatedImage("../../escaped.jpg", WIDTH, HEIGHT, (masked(ring()),)),
        AnnotatedImage("x.jpg", WIDTH, HEIGHT, (), video, 0),
    ]

    (folder,) = write(DavisWriter(tmp_path / "out"), *images)

    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == {"escaped.png", "up/00000.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("layout", ["Annotations/480p/bear", "Annotations/bear", "480p/bear", "bear"])
def test_the_layouts_of_davis_and_mose(tmp_path, layout) -> None:
    for number in (0, 5):
        for name in ("bear", "camel"):
            path = tmp_path / layout.replace("bear", name) / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_palette_png(path, (2 * ring()).astype(np.uint8))

    found = read_davis(tmp_path)

    assert [(image.video.name, image.frame) for image in found] == [
        ("bear", 0),
        ("bear", 5),
        ("camel", 0),
        ("camel", 5),
    ]
    assert found.images[0].name == "bear/00000.jpg"
    assert found.images[0].objects[0].track_id == 2
    assert np.array_equal(found.images[0].objects[0].mask(), ring())


def test_other_layouts(tmp_path) -> None:
    for name in ("chair/Annotations/frame_000014.png", "caps/Annotations/frame_000033.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        write_palette_png(tmp_path / name, ring().astype(np.uint8))
    (tmp_path / "stills").mkdir()
    Image.fromarray(np.repeat(ring()[..., None] * np.uint8(255), 3, 2)).save(tmp_path / "stills" / "IMG_1.png")

    found = read_davis(tmp_path)

    assert [(image.name, image.frame) for image in found] == [
        ("caps/frame_000033.jpg", 33),
        ("chair/frame_000014.jpg", 14),
        ("stills/IMG_1.jpg", None),
    ]
    assert [video.name for video in found.videos] == ["caps", "chair"]
    assert np.array_equal(found.images[2].objects[0].mask(), ring())


def test_a_single_folder_or_file(tmp_path) -> None:
    path = tmp_path / "bear" / "00007.png"
    path.parent.mkdir()
    write_palette_png(path, ring().astype(np.uint8))

    (frame,) = read_davis(path.parent)
    (picture,) = read_davis(path)

    assert (frame.video.name, frame.frame) == ("bear", 7)
    assert (picture.name, picture.video) == ("00007.jpg", None)
    assert picture.objects[0].attributes == {"number": 1}


def test_pictures_are_looked_up_by_name(tmp_path) -> None:
    write_palette_png(tmp_path / "shop.png", ring().astype(np.uint8))
    images = save_pictures(tmp_path / "pictures", "in/shop.webp")

    assert [image.name for image in read_davis(tmp_path / "shop.png")] == ["shop.jpg"]
    (tmp_path / "masks").mkdir()
    (tmp_path / "shop.png").rename(tmp_path / "masks" / "shop.png")
    assert [image.name for image in read_davis(tmp_path / "masks", images=images)] == ["in/shop.webp"]


def test_what_is_wrong_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="holds no PNG"):
        read_davis(tmp_path)

    write_palette_png(tmp_path / "00000.png", np.zeros((4, 4), np.uint8))
    write_palette_png(tmp_path / "00001.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"00001\.png is 5 x 4, frames before it 4 x 4"):
        read_davis(tmp_path)

    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "00001.png")
    with pytest.raises(ValueError, match=r"00001\.png must be a palette or grey PNG.*RGB"):
        read_davis(tmp_path)

    (tmp_path / "00001.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"00001\.png cannot be read"):
        read_davis(tmp_path)

    (tmp_path / "labels.json").write_text(json.dumps(["something else"]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels\.json"):
        read_davis(tmp_path)


def test_masks_of_a_label_map_are_those_of_comparisons() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (13, 17)).astype(np.uint8)
    labels[-1, -1] = 4

    found = labels_to_rles(labels)

    assert list(found) == [1, 2, 3, 4]
    for number, rle in found.items():
        assert np.array_equal(decode_mask(rle), labels == number)
    assert labels_to_rles(np.zeros((3, 3), np.uint8)) == {}
    assert decode_mask(labels_to_rles(np.full((3, 3), 9, np.uint16))[9]).all()
