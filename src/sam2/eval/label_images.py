"""Label images as video benchmarks keep them: numbers of objects with a palette, grey ones, or a binary mask."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2.io.palette import DAVIS_PALETTE

VOID = 255
"""In label images with a palette: pixels that belong to nothing. In grey ones 255 is the object."""

WHITE_OF_16_BITS = 65535
COLOUR_CODE = np.array([1 << 16, 1 << 8, 1], np.int32)
"""Makes a number of R, G and B."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """A label image as it lies on disk.

    Attributes:
        values: [h, w] uint8: 0 for the background, an object's number elsewhere, and ``VOID`` where there is a palette.
        palette: R, G and B of the labels, as Pillow keeps it; None for a grey image.
    """

    values: NDArray[np.uint8]
    palette: bytes | None

    @property
    def labels(self) -> NDArray[np.uint8]:
        """``values`` with 0 where nothing counts."""
        if self.palette is None:
            return self.values
        return np.where(self.values == VOID, np.uint8(0), self.values)

    @property
    def void(self) -> NDArray[np.bool_] | None:
        """[h, w], where nothing counts; None where everything does."""
        if self.palette is None:
            return None
        void = self.values == VOID
        return void if void.any() else None


def read_label_image(path: Path) -> LabelImage:
    """A PNG with a palette, or a grey one, as it is; one in colours of DAVIS' palette by its labels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read as an image, or its pixels are no labels: other colours, or numbers above 255.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                return LabelImage(np.array(image), bytes(image.getpalette() or []))
            if image.mode.startswith("I"):
                return LabelImage(_narrowed(np.asarray(image), path), None)
            if image.mode in ("1", "L", "LA"):
                return LabelImage(np.array(image.convert("L")), None)
            return _by_colour(np.asarray(image.convert("RGB")), path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no label image {path}") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as a label image: {error}") from error


def _narrowed(values: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    """Labels of a picture with 16 bits a pixel, where white is 255 as in one with 8."""
    numbers = np.where(values == WHITE_OF_16_BITS, VOID, values)
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > VOID:
        raise ValueError(f"{path} has numbers up to {numbers.max()}: label images go up to {VOID}")
    return numbers.astype(np.uint8)


def _by_colour(pixels: NDArray[np.uint8], path: Path) -> LabelImage:
    """Labels of a picture [h, w, 3] without a palette, RGB: its grey, or what its colours are in DAVIS' palette."""
    if (pixels == pixels[..., :1]).all():
        return LabelImage(pixels[..., 0].copy(), None)
    codes = pixels.astype(np.int32) @ COLOUR_CODE
    known = DAVIS_PALETTE.astype(np.int32) @ COLOUR_CODE
    order = np.argsort(known)
    labels = order[np.searchsorted(known, codes, sorter=order).clip(max=len(order) - 1)]
    strange = known[labels] != codes
    if strange.any():
        colour = tuple(int(value) for value in pixels[strange][0])
        raise ValueError(f"{path} has the colour {colour}: expected labels by palette, in grey, or in colours of DAVIS")
    return LabelImage(labels.astype(np.uint8), DAVIS_PALETTE.tobytes())


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A label image as [h, w] uint8: 0 for the background, an object's identifier elsewhere."""
    return read_label_image(path).labels


def write_label_image(path: Path, values: NDArray[np.uint8], palette: bytes | None = DAVIS_PALETTE.tobytes()) -> None:
    """Write ``values`` [h, w] as a PNG with ``palette``, or as a grey one; the file appears whole or not at all.

    Where the palette is too short for the values, colours of DAVIS follow it.
    """
    picture = Image.fromarray(values)
    if palette is not None:
        if len(palette) <= 3 * int(values.max(initial=0)):  # Pillow would cut the values down to the palette's bits
            palette += DAVIS_PALETTE.tobytes()[len(palette) :]
        picture.putpalette(palette)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        picture.save(draft, format="PNG")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
