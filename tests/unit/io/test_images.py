import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sam2.io.images import read_image

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_rgb_bytes_are_taken_as_they_are(image) -> None:
    for form in (image, Image.fromarray(image), torch.from_numpy(image).permute(2, 0, 1), image.astype(np.int64)):
        assert np.array_equal(read_image(form), image)


@pytest.mark.parametrize("form", [GREY, GREY[:, :, None], torch.from_numpy(GREY), torch.from_numpy(GREY)[None]])
def test_grey_fills_three_channels(form) -> None:
    assert np.array_equal(read_image(form), as_rgb(GREY))


def test_alpha_is_dropped(photo) -> None:
    alpha = np.zeros_like(photo[:, :, :1])
    rgba, la = np.concatenate([photo, alpha], 2), np.stack([GREY, GREY * 0], 2)

    assert np.array_equal(read_image(rgba), photo)
    assert np.array_equal(read_image(Image.fromarray(rgba)), photo)
    assert np.array_equal(read_image(la), as_rgb(GREY))
    assert np.array_equal(read_image(Image.fromarray(la)), as_rgb(GREY))


@pytest.mark.parametrize(
    ("array", "want"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[0, 128, 257, 65535]], np.uint16), [0, 0, 1, 255]),
        (np.array([[0, 255]], np.int32), [0, 255]),
        (np.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float16), [0, 128, 255]),
        (np.array([[0.0, 1.6, 255.0]], np.float32), [0, 2, 255]),
    ],
)
def test_values_are_scaled_by_rule(array, want) -> None:
    assert read_image(array)[0, :, 0].tolist() == want


def test_bfloat16_tensors_are_read() -> None:
    assert read_image(torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_minmax_stretches_any_range(dtype) -> None:
    array = np.array([[100, 300, 500]], dtype)

    assert read_image(array, scale="minmax")[0, :, 0].tolist() == [0, 128, 255]
    assert read_image(array * 0 + 7, scale="minmax").max() == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf]]), "NaN or infinite"),
        (np.array([[-0.1, 1.0]]), "0..1 or 0..255"),
        (np.array([[0.0, 300.0]]), "minmax"),
        (np.array([[-1, 5]]), "0..255"),
        (np.array([[0, 4000]], np.int32), "minmax"),
        (np.array([[1j]]), "complex"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((3, 40, 50), np.uint8), "channels last"),
        (np.zeros((2, 4, 4, 3), np.uint8), "shape"),
        (torch.zeros(40, 50, 3), "C in 1..4"),
        (torch.zeros(1, 3, 4, 4), "shape"),
        (Image.new("RGB", (0, 3)), "no pixels"),
    ],
)
def test_what_cannot_be_an_image_is_refused(image, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_image(image)


def test_other_things_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="int"):
        read_image(7)
    with pytest.raises(ValueError, match="scale"):
        read_image(GREY, scale="best")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "jpg"])
def test_files_of_many_kinds(tmp_path, photo, suffix) -> None:
    path = tmp_path / f"picture.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    Image.fromarray(photo).save(path, **options)

    for form in (path, str(path)):
        image = read_image(form)
        assert image.shape == photo.shape
        assert np.abs(image.astype(int) - photo).mean() < (8 if suffix in ("jpg", "gif") else 0.01)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_pil_modes_become_rgb(mode, photo) -> None:
    image = Image.fromarray(photo).convert("RGB").convert("L" if mode == "LA" else mode)
    image = image.convert(mode)

    assert np.array_equal(read_image(image), np.asarray(image.convert("RGB")))


def test_palette_with_transparency_does_not_warn(photo) -> None:
    palette = Image.fromarray(photo).convert("P")
    palette.info["transparency"] = bytes(range(256))

    assert read_image(palette).shape == photo.shape


def test_16_bit_files_keep_their_full_range(tmp_path) -> None:
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)

    assert read_image(path)[0, :, 0].tolist() == [0, 100, 255]
    assert read_image(path, scale="minmax")[0, :, 0].tolist() == [0, 100, 255]


def test_float_files(tmp_path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.array([[0.0, 1.0]], np.float32)).save(path)

    assert read_image(path)[0, :, 0].tolist() == [0, 255]


def test_files_are_turned_upright_and_images_are_not(tmp_path, photo) -> None:
    path = tmp_path / "sideways.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(path, exif=exif)

    assert np.array_equal(read_image(path), np.rot90(photo, -1))
    with Image.open(path) as image:
        assert np.array_equal(read_image(image), photo)


def test_the_name_of_a_file_does_not_matter(tmp_path, photo) -> None:
    path = tmp_path / "picture.jpg"
    Image.fromarray(photo).save(path, format="png")

    assert np.array_equal(read_image(path), photo)


def jpeg(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format="jpeg")
    return buffer.getvalue()


def png(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format="png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda photo: b"", "empty"),
        (lambda photo: b"this is a text\n" * 40, "not an image"),
        (lambda photo: jpeg(photo)[:-400], "truncated"),
        (lambda photo: jpeg(photo)[:10], "truncated"),
        (lambda photo: png(photo)[:200], "truncated|corrupt"),
        (lambda photo: png(photo)[:60] + b"\0" * 40 + png(photo)[100:], "corrupt"),
    ],
    ids=["empty", "text", "truncated jpeg", "header only", "truncated png", "corrupt png"],
)
def test_bad_files_are_named(tmp_path, photo, make, message) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(make(photo))

    with pytest.raises(ValueError, match=message) as error:
        read_image(path)
    assert "bad.jpg" in str(error.value)


def test_missing_files_and_folders(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="folder"):
        read_image(tmp_path)


def test_decompression_bombs_are_refused(tmp_path, photo, monkeypatch) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(photo).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(ValueError, match=r"MAX_IMAGE_PIXELS"):
        read_image(path)
