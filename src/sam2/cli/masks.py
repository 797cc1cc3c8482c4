"""Masks on their way in (files given as prompts) and out (their tight boxes)."""

from pathlib import Path

import numpy as np

from sam2.io.images import read_image


def read_mask_file(path: Path, *, size: tuple[int, int], owner: object) -> np.ndarray:
    """The mask in an image file as bool [h, w], true where the image is bright.

    Args:
        size: (height, width) it must have.
        owner: the picture it belongs to, for the error.

    Raises:
        ValueError: it has another size, or is no image.
        FileNotFoundError: there is no such file.
    """
    mask = read_image(path).max(axis=2)
    check_size(mask, size=size, name=f"--mask {path}", owner=owner)
    return mask > 127


def check_size(mask: np.ndarray, *, size: tuple[int, int], name: str, owner: object) -> None:
    """Raise ``ValueError`` unless ``mask`` is as large as the picture ``owner`` it belongs to."""
    if mask.shape != size:
        raise ValueError(f"{name} is {mask.shape[1]}x{mask.shape[0]}, {owner} is {size[1]}x{size[0]}")


def tight_box(mask: np.ndarray) -> list[int]:
    """x, y, width and height of the box around a mask [h, w] bool, in pixels; zeros for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
