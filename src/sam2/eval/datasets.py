"""Click benchmarks as photos with one true mask each: GrabCut, Berkeley, DAVIS as RITM has it, DAVIS 2016 frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
GRABCUT_IGNORE = 128
DAVIS_FRAME_STEP = 10


@dataclass(frozen=True, slots=True)
class ClickExample:
    """A photo and the object to be found in it.

    Attributes:
        name: what to call it in a report.
        image: [h, w, 3] uint8 RGB.
        mask: [h, w] bool.
        ignore: [h, w] bool, pixels that count neither way; None counts all.
    """

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    ignore: NDArray[np.bool_] | None = None


class ClickPicture(Protocol):
    """A photo whose objects are to be found: what is handed to workers, so it can be pickled and is read there."""

    @property
    def name(self) -> str:
        """Unique in its data set."""
        ...

    def examples(self) -> Iterable[ClickExample]:
        """Its objects, all with the same array as image.

        Raises ``OSError``, ``ValueError`` or ``RuntimeError`` where it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class PairPicture:
    """A photo and a file with the mask of its one object.

    Attributes:
        name: what to call it in a report.
        image, mask: the files.
        ignore_grey: pixels of 128 in the mask count neither way.
        any_colour: every pixel of the mask that is not black is the object; else those that are brighter than half.
    """

    name: str
    image: Path
    mask: Path
    ignore_grey: bool = False
    any_colour: bool = False

    def examples(self) -> list[ClickExample]:
        """The one object.

        Raises ``FileNotFoundError`` where a file is missing or broken, ``ValueError`` where they differ in size.
        """
        image, values = _read(self.image, self.mask)
        if not self.ignore_grey:
            return [ClickExample(self.name, image, values > (0 if self.any_colour else 127))]
        return [ClickExample(self.name, image, values > GRABCUT_IGNORE, values == GRABCUT_IGNORE)]


def open_pictures(name: str, root: str | Path, *, frame_step: int = DAVIS_FRAME_STEP) -> list[PairPicture]:
    """The photos of data set ``name`` (a key of ``DATASETS``) whose folder is ``root`` or ``root/name``.

    Args:
        frame_step: every how many frames of a clip are taken (1: all); for video data sets.

    Raises:
        ValueError: of an unknown name or a step below 1.
        FileNotFoundError: where there is no such folder, or nothing to be measured in it.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    if frame_step < 1:
        raise ValueError(f"frame_step must be at least 1, got {frame_step}")
    folder = Path(root)
    if (folder / name).is_dir():
        folder = folder / name
    pairs = DATASETS[name](folder, frame_step) if folder.is_dir() else []
    if not pairs:
        raise FileNotFoundError(f"no images with masks of {name!r} in {folder}")
    return [PairPicture(example, image, mask, name == "grabcut", name == "davis") for example, image, mask in pairs]


def open_dataset(name: str, root: str | Path, *, frame_step: int = DAVIS_FRAME_STEP) -> Iterator[ClickExample]:
    """The examples of data set ``name``, read one at a time; see :func:`open_pictures`."""
    pictures = open_pictures(name, root, frame_step=frame_step)
    return (example for picture in pictures for example in picture.examples())


def _read(image_path: Path, mask_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photo [h, w, 3], RGB, and the brightest channel of its mask [h, w]."""
    image = cv2.imread(str(image_path), cv2.IMREAD_COLOR)
    mask = cv2.imread(str(mask_path), cv2.IMREAD_COLOR)
    if image is None or mask is None:
        raise FileNotFoundError(f"cannot read {image_path if image is None else mask_path}")
    if image.shape != mask.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (image.shape, mask.shape)]
        raise ValueError(f"{image_path} has {sizes[0]} pixels, its mask {mask_path} {sizes[1]}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), np.asarray(mask.max(2), np.uint8)


def _pairs(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    of_stem = {path.stem: path for path in _pictures(images)}
    return [(mask.stem, of_stem[mask.stem], mask) for mask in _pictures(masks) if mask.stem in of_stem]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]


def _grabcut(folder: Path, _: int) -> list[tuple[str, Path, Path]]:
    return _pairs(folder / "data_GT", folder / "boundary_GT")


def _berkeley(folder: Path, _: int) -> list[tuple[str, Path, Path]]:
    return _pairs(folder / "images", folder / "masks")


def _davis(folder: Path, _: int) -> list[tuple[str, Path, Path]]:
    return _pairs(folder / "img", folder / "gt")


def _davis_2016(folder: Path, frame_step: int) -> list[tuple[str, Path, Path]]:
    pairs = []
    for clip in sorted((folder / "Annotations" / "480p").glob("*")):
        frames = _pairs(folder / "JPEGImages" / "480p" / clip.name, clip)
        pairs += [(f"{clip.name}/{stem}", image, mask) for stem, image, mask in frames[::frame_step]]
    return pairs


DATASETS: dict[str, Callable[[Path, int], list[tuple[str, Path, Path]]]] = {
    "grabcut": _grabcut,
    "berkeley": _berkeley,
    "davis": _davis,
    "davis2016_part": _davis_2016,
}
"""The data sets by name, with what lists their images and masks."""
