"""Masks that are pictures: palette, grey, coloured; a number an object, or black and white.

========  =======================================================================================
numbers   the value of a pixel is the number of its object or class, 0 is background (DAVIS, label maps)
binary    0 is background; the object is what is above 127, or all the rest where nothing is above 127
colours   each colour but black is an object (number: red + 256 green + 65536 blue, as in COCO panoptic)
========  =======================================================================================
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2.interop.rle import Mask
from sam2.train.data.readers.base import FoundObject
from sam2.train.data.sources import SourceConfig

Kind = Literal["binary", "numbers", "colours"]
Labels = npt.NDArray[Any]

_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_LOOKED_AT = 16
_COLOURED = 0.001
"""Share of pixels that are coloured, from which a mask is: a black and white one may have a stray one."""

_EXTREME, _MOSTLY = 16, 0.95
"""Soft edges and JPEG: how far from black and white a pixel of a binary mask may be, and what share of them is not."""

VOID, TRIMAP_VOID, WHITE = 255, 128, 255


@dataclass(frozen=True, slots=True)
class LabelPicture:
    """A mask as its file has it.

    Attributes:
        values: [h, w], whole numbers; colours as red + 256 green + 65536 blue.
        mode: "palette", "grey" or "colour".
        deep: more than 8 bits a value, colours apart.
    """

    values: Labels
    mode: Literal["palette", "grey", "colour"]
    deep: bool = False


def read_label_picture(path: Path) -> LabelPicture:
    """The values of a mask's pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, is truncated, or its values are no whole numbers.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such mask: {path}")
    try:
        with cast(Any, Image.open(path)) as picture:
            picture.load()
            return _label_picture(picture, path)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        said = "is not an image that Pillow can read" if "cannot identify" in str(error) else "is truncated or corrupt"
        raise ValueError(f"{path} {said}: {error}") from None


def _label_picture(picture: Any, path: Path) -> LabelPicture:
    if (pages := getattr(picture, "n_frames", 1)) > 1:
        raise ValueError(f"{path} holds {pages} pages, expected one mask")
    if picture.mode in ("P", "PA"):
        palette = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        numbers = np.array(picture.getchannel(0) if picture.mode == "PA" else picture)
        if len(palette) and (palette == palette[:, :1]).all():
            # nothing but black, white and greys: the colours are the values, whatever their order in the palette
            greys = np.zeros(256, np.uint8)
            greys[: len(palette)] = palette[:, 0]
            return LabelPicture(greys[numbers], "grey")
        return LabelPicture(numbers, "palette")
    if picture.mode in _GREY_MODES or picture.mode == "LA":
        values = np.array(picture.getchannel(0) if picture.mode == "LA" else picture)
        if picture.mode == "1":
            values = values.astype(np.uint8) * np.uint8(WHITE)
        if values.dtype.kind == "f":
            if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
                raise ValueError(f"{path} must hold whole numbers, got {values.dtype} with fractions")
            values = values.astype(np.int64)
        if values.min(initial=0) < 0:
            raise ValueError(f"{path} must hold values from 0 on, got {values.min()}")
        return LabelPicture(values, "grey", values.dtype.itemsize > 1 and bool(values.max(initial=0) > WHITE))
    colours = np.array(picture.convert("RGB"))
    if (colours == colours[..., :1]).all():  # grey all the same
        return LabelPicture(np.ascontiguousarray(colours[..., 0]), "grey")
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return LabelPicture(red + 256 * green + 65536 * blue, "colour")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the masks of a source are to be understood.

    Attributes:
        kind: what values are.
        top: the value of what is surely object in binary masks: 255, or 1 where all values are small.
        ignore: values that belong to no object.
        components: whether each connected part is an object.
    """

    kind: Kind
    top: int = WHITE
    ignore: tuple[int, ...] = ()
    components: bool = False

    def parts(self, picture: LabelPicture) -> Iterator[tuple[int, int, Callable[[], Mask]]]:
        """(value, area, what gives the mask [h, w]) of each object: by value, connected parts from the top left."""
        values = self._values(picture)
        if self.kind == "binary":
            inside = (values > 0 if self.top == 1 else values > WHITE // 2) & ~self._ignored(values)
            yield from self._layer(1, int(np.count_nonzero(inside)), lambda: inside)
            return
        for value, area in zip(*_counted(values), strict=True):
            if value and value not in self.ignore:
                yield from self._layer(value, area, partial(np.equal, values, value))

    def _layer(
        self, value: int, area: int, decode: Callable[[], Mask]
    ) -> Iterator[tuple[int, int, Callable[[], Mask]]]:
        if not self.components:
            yield value, area, decode
            return
        count, labels, stats, _ = cv2.connectedComponentsWithStats(decode().astype(np.uint8), connectivity=8)
        for number in range(1, count):
            yield value, int(stats[number, cv2.CC_STAT_AREA]), partial(np.equal, labels, number)

    def ignored(self, picture: LabelPicture) -> Mask | None:
        """Pixels [h, w] of the values to be ignored; None where there are none."""
        found = self._ignored(self._values(picture))
        return found if found.any() else None

    def _values(self, picture: LabelPicture) -> Labels:
        """What the values are in this reading, if the picture's own mode is another than most pictures'."""
        if self.kind == "colours":
            return picture.values.astype(np.int32) * 0x010101 if picture.mode == "grey" else picture.values
        if picture.mode != "colour":
            return picture.values
        if self.kind == "numbers":
            raise ValueError("a coloured mask, where others hold numbers (values says how to understand them)")
        return ((picture.values & 255) + (picture.values >> 8 & 255) + (picture.values >> 16)) // 3

    def _ignored(self, values: Labels) -> Mask:
        return np.isin(values, self.ignore) if self.ignore else np.zeros(values.shape, bool)


def _counted(values: Labels) -> tuple[list[int], list[int]]:
    """The values that occur, ascending, and how often each does."""
    if values.dtype.itemsize == 1:
        counts = np.bincount(values.ravel())
        present = np.flatnonzero(counts)
        return present.tolist(), counts[present].tolist()
    present, counts = np.unique(values, return_counts=True)
    return present.tolist(), counts.tolist()


def tell_reading(paths: Sequence[Path], config: SourceConfig) -> Reading:
    """How masks are to be understood, from ``config`` and from what some of the files hold.

    Raises:
        FileNotFoundError, ValueError: none of the files that are looked at can be read.
    """
    step = max(1, -(-len(paths) // _LOOKED_AT))
    pictures: list[LabelPicture] = []
    first_error: Exception | None = None
    for path in paths[::step][:_LOOKED_AT]:
        try:
            pictures.append(read_label_picture(path))
        except (OSError, ValueError) as error:  # the sample is bad, not the source
            first_error = first_error or error
    if not pictures and first_error is not None:
        raise first_error
    kind = config.values if config.values != "auto" else _kind_of(pictures)
    top = max((int(picture.values.max(initial=0)) for picture in pictures), default=WHITE)
    ignore = config.ignore
    if ignore is None:
        ignore = _usual_ignore(kind, pictures)
    return Reading(kind, 1 if top <= WHITE // 2 else WHITE, tuple(ignore), config.instances == "components")


def _kind_of(pictures: Sequence[LabelPicture]) -> Kind:
    if any(picture.mode == "colour" and _coloured(picture.values) > _COLOURED for picture in pictures):
        return "colours"
    pictures = [picture for picture in pictures if picture.mode != "colour"]
    if any(picture.mode == "palette" or picture.deep for picture in pictures):
        return "numbers"
    if all(_is_black_and_white(picture.values) for picture in pictures):
        return "binary"
    return "numbers"


def _coloured(values: Labels) -> float:
    """The share of pixels that are neither black, white nor grey."""
    red = values & 255
    return float(((values >> 8 & 255 != red) | (values >> 16 != red)).mean())


def _is_black_and_white(values: Labels) -> bool:
    """Whether a grey mask is 0 and 255 (with 128 for what is not known), or nearly: soft edges, or a JPEG."""
    present = np.unique(values)
    if set(present.tolist()) <= {0, TRIMAP_VOID, WHITE}:
        return True
    extreme = (values <= _EXTREME) | (values >= WHITE - _EXTREME)
    return bool(present[-1] >= WHITE - _EXTREME and len(present) > 3 and extreme.mean() >= _MOSTLY)


def _usual_ignore(kind: Kind, pictures: Sequence[LabelPicture]) -> tuple[int, ...]:
    if kind == "numbers":
        return () if any(picture.deep for picture in pictures) else (VOID,)
    if kind == "binary":
        trimap = any((picture.values == TRIMAP_VOID).any() for picture in pictures)
        soft = any(len(np.unique(picture.values)) > 3 for picture in pictures)
        return (TRIMAP_VOID,) if trimap and not soft else ()
    return ()


def found_in(reading: Reading, picture: LabelPicture) -> list[FoundObject]:
    """The objects of a mask, numbered by value, or from 1 on where they are connected parts.

    Values are classes too, called by their numbers, or ``#ff0000`` for red; black and white ones are not.
    """
    found: list[FoundObject] = []
    for place, (value, area, decode) in enumerate(reading.parts(picture), start=1):
        label = None if reading.kind == "binary" else _hex(value) if reading.kind == "colours" else str(value)
        found.append(FoundObject(place if reading.components else value, label, area, decode))
    return found


def _hex(value: int) -> str:
    return f"#{value & 255:02x}{value >> 8 & 255:02x}{value >> 16:02x}"
