"""Palette PNGs in the layout of DAVIS: the value of a pixel is the number of its object, 0 is background."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def _davis_palette() -> NDArray[np.uint8]:
    """The palette of PASCAL VOC, which DAVIS uses: a label's bits, three at a time, from the top of R, G and B."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)


DAVIS_PALETTE = _davis_palette()
"""[256, 3] uint8 RGB by label."""


def write_palette_png(path: str | Path, labels: NDArray[np.uint8]) -> None:
    """Write labels [H, W] uint8 as a PNG with the DAVIS palette; the file appears whole or not at all.

    Raises:
        ValueError: another shape or dtype.
        OSError: the file cannot be written.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be uint8 of shape [H, W], got {labels.dtype} {labels.shape}")
    picture = Image.fromarray(labels)  # grey; the palette makes it mode P
    picture.putpalette(DAVIS_PALETTE.tobytes())
    _save(picture, Path(path))


def read_palette_png(path: str | Path) -> NDArray[np.uint8]:
    """Labels [H, W] uint8 of a palette or grey PNG.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no image, or has more than one channel.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            labels = np.array(picture)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"{path} must be a palette or 8-bit grey PNG, got mode {mode}")
    return labels.astype(np.uint8)


def write_rgba_png(path: str | Path, frame: NDArray[np.uint8]) -> None:
    """Write a cut-out [H, W, 4] uint8 RGBA; the file appears whole or not at all."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 4:
        raise ValueError(f"frame must be uint8 of shape [H, W, 4], got {frame.dtype} {frame.shape}")
    _save(Image.fromarray(frame), Path(path))


def _save(picture: Image.Image, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        picture.save(partial, format="PNG")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
