"""Pictures with masks beside them, under whatever names and in whatever values."""

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import made_sets as made
import numpy as np
import pytest
from PIL import Image

from sam2.train.data.sources import BadSampleError, Records, SourceConfig, open_records

BLACK_AND_WHITE = 255


def opened(path: Path, **fields: object) -> Records:
    return pickle.loads(pickle.dumps(open_records(SourceConfig(path=str(path), **fields))))


def white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("Images/{}.TIF", "Ground_Truth/{}.bmp"),
        ("img/train/{}.png", "labels/train/{}.png"),
        ("train/images/{}.webp", "train/masks/{}.webp"),
        ("data_GT/{}.jpg", "boundary_GT/{}.bmp"),
        ("ISIC_Input/{}.jpg", "ISIC_GroundTruth/{}_segmentation.png"),
        ("train/{}.jpg", "train_masks/{}_mask.png"),
        ("{}.jpg", "{}.png"),
        ("{}.png", "{}_mask.png"),
        ("{}.tiff", "{}-mask.png"),
        ("{}_img.png", "{}_masks.png"),
        ("{}.bmp", "{}.mask.png"),
        ("image_{}.png", "mask_{}.png"),
        ("a/{}_leftImg8bit.png", "b/{}_gtFine_labelIds.png"),
        ("whole/{}.png", "cut/{}.png"),
        ("one/deep/{}.jpg", "another/{}.png"),
    ],
)
@pytest.mark.parametrize("names", [("9", "10"), ("cell one", "cell two")])
def test_any_names(tmp_path: Path, image: str, mask: str, names: tuple[str, ...]) -> None:
    """Masks find their pictures by name, in two folders or one; photos and masks are told apart."""
    truth = {}
    for seed, name in enumerate(names):
        (disk,) = made.disks(seed, count=1)
        made.save(tmp_path / image.format(name), made.photo(seed, [disk]))
        made.save(tmp_path / mask.format(name), white(disk))
        truth[image.format(name)] = disk
    records = opened(tmp_path)

    assert (records.format, records.videos, records.notes) == ("pairs", False, ())
    found = {record.name: record.masks(0) for record in records}
    assert set(found) == set(truth)
    for name, masks in found.items():
        np.testing.assert_array_equal(masks[1], truth[name])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}_{}.png"),
        ("{}.jpg", "{}_mask_{}.png"),
        ("images/{}.png", "masks/{}/{}.png"),
        ("stage1_train/{}/images/{}.png", "stage1_train/{}/masks/cell {}.png"),
    ],
)
def test_a_mask_an_object(tmp_path: Path, image: str, mask: str) -> None:
    truth = {}
    for seed, name in enumerate(("x", "y", "z")):
        disks = made.disks(seed, count=3)
        made.save(tmp_path / image.replace("{}", name), made.photo(seed, disks))
        for number, disk in enumerate(disks):
            made.save(tmp_path / mask.format(name, number), white(disk))
        truth[image.replace("{}", name)] = disks
    records = opened(tmp_path)

    assert {record.name for record in records} == set(truth)
    for record in records:
        masks = record.masks(0)
        assert list(masks) == [1, 2, 3]
        np.testing.assert_array_equal(np.stack(list(masks.values())), np.stack(truth[record.name]))


def test_masks_of_objects_go_before_those_of_classes(tmp_path: Path) -> None:
    """Pascal VOC: its XML files of boxes do not make it another format."""
    disks = made.disks(0)
    made.save(tmp_path / "JPEGImages" / "2007_1.jpg", made.photo(0))
    made.save_labels(tmp_path / "SegmentationObject" / "2007_1.png", {1: disks[0], 2: disks[1], 255: disks[1] & False})
    made.save_labels(tmp_path / "SegmentationClass" / "2007_1.png", {15: disks[0] | disks[1]})
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "2007_1.xml").write_text("<annotation></annotation>")

    assert list(opened(tmp_path)[0].masks(0)) == [1, 2]


def test_pictures_of_16_bits(tmp_path: Path) -> None:
    """A microscope's 12 bits are nearly black, unless they are stretched."""
    (disk,) = made.disks(0, count=1)
    made.save(tmp_path / "images" / "a.tif", np.where(disk, 4000, 100).astype(np.uint16))
    made.save(tmp_path / "masks" / "a.tif", disk.astype(np.uint16))

    assert opened(tmp_path)[0].image(0).max() < 20
    assert opened(tmp_path, scale="minmax")[0].image(0).max() == 255


def test_masks_and_pictures_in_places_that_have_nothing_in_common(tmp_path: Path) -> None:
    (disk,) = made.disks(0, count=1)
    made.save(tmp_path / "photos" / "summer" / "a.jpg", made.photo(0))
    made.save(tmp_path / "drawn" / "a.png", white(disk))
    (record,) = opened(tmp_path / "drawn", images=str(tmp_path / "photos"))

    np.testing.assert_array_equal(record.masks(0)[1], disk)


def as_palette(labels: np.ndarray, path: Path) -> None:
    made.save_labels(path, {number: labels == number for number in np.unique(labels) if number})


def as_colours(labels: np.ndarray, path: Path) -> None:
    colours = np.array([(0, 0, 0), (220, 20, 60), (0, 0, 142)], np.uint8)
    made.save(path, colours[labels])


@pytest.mark.parametrize(
    ("write", "labels"),
    [
        (as_palette, ("1", "2")),
        (as_colours, ("#dc143c", "#00008e")),
        (lambda labels, path: made.save(path, labels), ("1", "2")),
        (lambda labels, path: made.save(path, labels.astype(np.uint16) * 300), ("300", "600")),
        (lambda labels, path: made.save(path, np.repeat(labels[..., None] * 80, 3, 2)), ("80", "160")),
        (lambda labels, path: made.save(path.with_suffix(".tif"), labels.astype(np.float32)), ("1", "2")),
    ],
)
def test_values_are_objects(
    tmp_path: Path, write: Callable[[np.ndarray, Path], object], labels: tuple[str, ...]
) -> None:
    disks = made.disks(0)
    made.save(tmp_path / "images" / "a.jpg", made.photo(0, disks))
    write(made.numbered(disks), tmp_path / "labels" / "a.png")
    (record,) = opened(tmp_path)

    found = {item.label: item.decode() for item in record.found(0)}
    assert set(found) == set(labels)
    for label, disk in zip(labels, disks, strict=True):
        np.testing.assert_array_equal(found[label], disk)
    assert len(opened(tmp_path, classes=labels[:1])[0].masks(0)) == 1
    assert len(opened(tmp_path, exclude=labels[:1])[0].masks(0)) == 1


def test_what_is_ignored(tmp_path: Path) -> None:
    """255 among numbers, 128 between black and white; both can be said otherwise."""
    disk, other = made.disks(0)
    made.save(tmp_path / "n" / "images" / "a.jpg", made.photo(0))
    made.save(tmp_path / "n" / "masks" / "a.png", np.where(other, 255, made.numbered([disk])).astype(np.uint8))
    made.save(tmp_path / "b" / "images" / "a.jpg", made.photo(0))
    made.save(tmp_path / "b" / "masks" / "a.png", np.where(other, 128, white(disk)).astype(np.uint8))

    for folder in ("n", "b"):
        (record,) = opened(tmp_path / folder)
        assert list(record.masks(0)) == [1]
        np.testing.assert_array_equal(record.masks(0)[1], disk)
        np.testing.assert_array_equal(record.ignored(0), other)
    assert list(opened(tmp_path / "n", ignore=(1,))[0].masks(0)) == [255]
    np.testing.assert_array_equal(opened(tmp_path / "b", ignore=())[0].masks(0)[1], disk | other)


def test_soft_edges_are_black_and_white(tmp_path: Path) -> None:
    """A smoothed mask, and one that was saved as a JPEG, are one object and not one for each grey."""
    (disk,) = made.disks(0, count=1)
    soft = cv2.GaussianBlur(white(disk), (0, 0), 0.8)
    for suffix in (".png", ".jpg"):
        folder = tmp_path / suffix[1:]
        made.save(folder / "images" / "a.png", made.photo(0))
        made.save(folder / "masks" / f"a{suffix}", soft)
        (masks,) = (record.masks(0) for record in opened(folder))
        assert list(masks) == [1]
        assert (masks[1] & disk).sum() / (masks[1] | disk).sum() > 0.95


@pytest.mark.parametrize("top", [1, 255])
def test_connected_parts_are_objects(tmp_path: Path, top: int) -> None:
    disks = made.disks(3, count=3)
    made.save(tmp_path / "images" / "a.jpg", made.photo(0))
    made.save(tmp_path / "masks" / "a.png", np.any(disks, 0).astype(np.uint8) * top)

    assert len(opened(tmp_path)[0].masks(0)) == 1
    masks = opened(tmp_path, instances="components")[0].masks(0)
    assert sorted(int(mask.sum()) for mask in masks.values()) == sorted(int(disk.sum()) for disk in disks)


def test_grey_palettes_are_what_they_show(tmp_path: Path) -> None:
    """White is the object even where the palette has it first."""
    (disk,) = made.disks(0, count=1)
    picture = Image.fromarray((~disk).astype(np.uint8))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    made.save(tmp_path / "images" / "a.jpg", made.photo(0))
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")

    np.testing.assert_array_equal(opened(tmp_path)[0].masks(0)[1], disk)


def test_one_stray_colour_is_no_object(tmp_path: Path) -> None:
    disks = made.disks(0)
    for seed, disk in enumerate(disks):
        made.save(tmp_path / "images" / f"{seed}.jpg", made.photo(0))
        picture = np.repeat(white(disk)[..., None], 3, 2)
        picture[disk.nonzero()[0][0], disk.nonzero()[1][0]] = (255, 0, 255)
        made.save(tmp_path / "masks" / f"{seed}.png", picture)

    for record, disk in zip(opened(tmp_path), disks, strict=True):
        np.testing.assert_array_equal(record.masks(0)[1], disk)


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made.save(tmp_path / "images" / f"{name}.jpg", made.photo(0))
    for name in ("b", "c"):
        made.save(tmp_path / "masks" / f"{name}.png", white(made.disks(0)[0]))
    records = opened(tmp_path)

    assert [record.name for record in records] == ["images/b.jpg"]
    assert records.notes == (
        "pictures without masks left out: 1 (images/a.jpg)",
        "masks without pictures left out: 1 (masks/c.png)",
    )


def test_masks_without_any_picture(tmp_path: Path) -> None:
    made.save(tmp_path / "images" / "a.jpg", made.photo(0))
    made.save(tmp_path / "masks" / "b.png", white(made.disks(0)[0]))
    with pytest.raises(FileNotFoundError, match=r"none of 1 masks \(masks/b.png\) belongs to one of 1 pictures"):
        opened(tmp_path)


def test_parts(tmp_path: Path) -> None:
    """A part without masks, as test sets are, is none; with two, one has to be named."""
    for part in ("train", "val", "test"):
        made.save(tmp_path / "images" / part / "a.jpg", made.photo(0))
        if part != "test":
            made.save(tmp_path / "masks" / part / "a.png", white(made.disks(0)[0]))
    with pytest.raises(ValueError, match="several parts, train, val: choose one by split"):
        opened(tmp_path)
    assert [record.name for record in opened(tmp_path, split="val")] == ["images/val/a.jpg"]
    assert len(opened(tmp_path, split="all")) == 2
    listed = tmp_path / "some.txt"
    listed.write_text("a.jpg\n")
    assert len(opened(tmp_path, split=str(listed))) == 2
    listed.write_text("b\n")
    with pytest.raises(ValueError, match=r"none of its 1 names \(b\) is a picture"):
        opened(tmp_path, split=str(listed))


def test_bad_pairs_name_the_file(tmp_path: Path) -> None:
    (disk,) = made.disks(0, count=1)
    for name in ("a", "b", "c", "d"):
        made.save(tmp_path / "images" / f"{name}.png", made.photo(0))
        made.save(tmp_path / "masks" / f"{name}.png", white(disk))
    made.save(tmp_path / "masks" / "a.png", white(disk)[:-1])
    made.cut(tmp_path / "masks" / "b.png")
    (tmp_path / "images" / "c.png").write_bytes(b"no picture")
    by_name = {Path(record.name).stem: record for record in opened(tmp_path)}
    (tmp_path / "masks" / "d.png").unlink()

    for name, message in (
        ("a", r"masks/a.png is 96 x 71, its picture .*images/a.png 96 x 72"),
        ("b", r"masks/b.png is truncated or corrupt"),
        ("c", r"images/c.png is not an image"),
        ("d", r"no such mask: .*masks/d.png"),
    ):
        with pytest.raises(BadSampleError, match=message):
            by_name[name].masks(0)


def test_a_hundred_thousand_records_are_small(tmp_path: Path) -> None:
    """What workers are sent of them: names, not objects."""
    from sam2.train.data.readers.pairs import PairRecords

    count = 100_000
    made.save(tmp_path / "masks" / "00000.png", white(made.disks(0)[0]))
    pairs = {f"images/{number:05d}.jpg": [f"masks/{number:05d}.png"] for number in range(count)}
    records = PairRecords((tmp_path, tmp_path), pairs, SourceConfig(path=str(tmp_path)))
    content = pickle.dumps(records)

    assert len(content) < 60 * count
    copy = pickle.loads(content)
    assert (len(copy), copy[99_999].name, copy[-1].name) == (count, "images/99999.jpg", "images/99999.jpg")
    assert len(pickle.dumps(copy[7])) < 1000
