"""Label images as people keep them: with a palette, grey, in colours, with 16 bits a pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2.eval.label_images import read_label_image
from sam2.io.palette import DAVIS_PALETTE

LABELS = np.array([[0, 1, 2], [255, 7, 1]], np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_the_palette_are_its_labels(tmp_path: Path, mode: str) -> None:
    Image.fromarray(DAVIS_PALETTE[LABELS]).convert(mode).save(tmp_path / "a.png")
    found = read_label_image(tmp_path / "a.png")
    assert (found.values == LABELS).all()
    assert found.void is not None
    assert found.void.sum() == 1
    assert found.palette == DAVIS_PALETTE.tobytes()


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_grey_with_more_channels_is_grey(tmp_path: Path, mode: str) -> None:
    Image.fromarray(LABELS).convert(mode).save(tmp_path / "a.png")
    found = read_label_image(tmp_path / "a.png")
    assert (found.values == LABELS).all()
    assert found.palette is None


def test_other_colours_are_no_labels(tmp_path: Path) -> None:
    pixels = DAVIS_PALETTE[LABELS]
    pixels[1, 2] = 200, 30, 31
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has the colour \(200, 30, 31\): expected labels by palette"):
        read_label_image(tmp_path / "a.png")


def test_labels_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 254], [65535, 7, 1]], np.uint16)).save(tmp_path / "a.png")
    found = read_label_image(tmp_path / "a.png")
    assert found.values.dtype == np.uint8
    assert found.values.tolist() == [[0, 1, 254], [255, 7, 1]]
    Image.fromarray(np.array([[0, 256]], np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png has numbers up to 256: label images go up to 255"):
        read_label_image(tmp_path / "b.png")
