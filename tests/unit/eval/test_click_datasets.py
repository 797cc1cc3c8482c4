"""The click benchmarks, in miniature."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from sam2.eval.datasets import DATASETS, open_dataset

MASK = np.zeros((20, 30), np.uint8)
MASK[5:15, 8:20] = 255


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_dataset(root: Path, name: str) -> None:
    blue = np.zeros((20, 30, 3), np.uint8)
    blue[..., 0] = 200  # OpenCV's order
    if name == "davis2016_part":
        for clip in ("bear", "car"):
            for frame in range(5):
                write(root / "JPEGImages" / "480p" / clip / f"{frame:05d}.jpg", blue)
                write(root / "Annotations" / "480p" / clip / f"{frame:05d}.png", MASK)
        return
    folders = {"grabcut": ("data_GT", "boundary_GT"), "berkeley": ("images", "masks"), "davis": ("img", "gt")}
    images, masks = folders[name]
    for stem, suffix in (("a", ".jpg"), ("b", ".bmp"), ("without_mask", ".jpg")):
        write(root / images / f"{stem}{suffix}", blue)
    mask = MASK.copy()
    mask[4] = 128
    for stem in ("a", "b", "without_photo"):
        write(root / masks / f"{stem}.png", mask)


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("nested", [True, False])
def test_examples(tmp_path, name, nested):
    write_dataset(tmp_path / name if nested else tmp_path, name)

    examples = list(open_dataset(name, tmp_path, frame_step=2))

    expected = [f"{clip}/{i:05d}" for clip in ("bear", "car") for i in (0, 2, 4)]
    assert [item.name for item in examples] == (expected if name == "davis2016_part" else ["a", "b"])
    for item in examples:
        assert item.image.shape == (20, 30, 3)
        assert item.image[..., 2].min() > 150 > item.image[..., 0].max()  # RGB
        np.testing.assert_array_equal(item.mask[5:], MASK[5:] > 0)


def test_grabcut_ignores_its_grey_pixels(tmp_path):
    write_dataset(tmp_path, "grabcut")
    item = next(open_dataset("grabcut", tmp_path))
    assert item.ignore is not None
    assert item.ignore[4].all()
    assert item.ignore.sum() == 30
    assert not item.mask[4].any()


@pytest.mark.parametrize("name", DATASETS)
def test_nothing_there(tmp_path, name):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=name):
            open_dataset(name, folder)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'coco': expected one of grabcut"):
        open_dataset("coco", tmp_path)
    with pytest.raises(ValueError, match="frame_step must be at least 1, got 0"):
        open_dataset("berkeley", tmp_path, frame_step=0)


def test_a_broken_file_is_named(tmp_path):
    write_dataset(tmp_path, "berkeley")
    (tmp_path / "images" / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(FileNotFoundError, match=r"a\.jpg"):
        next(open_dataset("berkeley", tmp_path))


def test_masks_need_not_be_png(tmp_path):
    write(tmp_path / "data_GT" / "a.jpg", np.zeros((20, 30, 3), np.uint8))
    write(tmp_path / "boundary_GT" / "a.bmp", MASK)  # as GrabCut is published
    (item,) = open_dataset("grabcut", tmp_path)
    np.testing.assert_array_equal(item.mask, MASK > 0)


def test_masks_of_davis_are_of_any_colour(tmp_path):
    write(tmp_path / "img" / "a.jpg", np.zeros((20, 30, 3), np.uint8))
    write(tmp_path / "gt" / "a.png", MASK[..., None] // 255 * np.array([0, 0, 90], np.uint8))
    (item,) = open_dataset("davis", tmp_path)
    np.testing.assert_array_equal(item.mask, MASK > 0)


def test_a_mask_of_another_size_is_named(tmp_path):
    write(tmp_path / "images" / "a.jpg", np.zeros((40, 30, 3), np.uint8))
    write(tmp_path / "masks" / "a.png", MASK)
    with pytest.raises(ValueError, match=r"a\.jpg has 30 x 40 pixels, its mask .*a\.png 30 x 20"):
        next(open_dataset("berkeley", tmp_path))
