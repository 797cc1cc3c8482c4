"""Many pictures on one: a contact sheet to look through a folder of results at a glance."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from sam2.viz.canvas import font, text_size, write
from sam2.viz.palette import Colour, text_colour

PAPER: Colour = (24, 27, 32)


def contact_sheet(
    images: Sequence[np.ndarray],
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int = 320,
    gap: int = 14,
    background: Colour = PAPER,
) -> np.ndarray:
    """Lay images out in a grid, each fitted into its cell without changing its shape.

    Args:
        images: n arrays [h, w, 3] uint8 RGB, sizes may differ.
        captions: n lines of text, cut where they are too long for the cell.
        columns: cells in a row; by default as many as make the sheet about 4:3.
        cell: side of a cell in pixels.
        gap: pixels between cells and around them.
        background: colour of the sheet.

    Returns:
        [h, w, 3] uint8.

    Raises:
        ValueError: no image, a wrong shape or dtype, or a number of captions other than of images.
    """
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    for number, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"images[{number}] must be uint8 [h, w, 3], got {image.dtype} {image.shape}")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"captions must have one entry per image ({len(images)}), got {len(captions)}")
    columns = columns or min(len(images), max(1, round(math.sqrt(len(images) * 4 / 3))))
    if columns < 1 or cell < 16 or gap < 0:
        raise ValueError(f"columns must be >= 1, cell >= 16 and gap >= 0, got {columns}, {cell} and {gap}")

    size = max(11, cell // 22)
    fitted = [_fit(image, cell) for image in images]
    rows = [fitted[start : start + columns] for start in range(0, len(fitted), columns)]
    strip = 2 * size if captions is not None else 0
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    sheet = np.empty((sum(heights) + (strip + gap) * len(rows) + gap, columns * (cell + gap) + gap, 3), np.uint8)
    sheet[:] = background
    top = gap
    for row_number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, picture in enumerate(row):
            left = gap + column * (cell + gap)
            y, x = top + (height - picture.shape[0]) // 2, left + (cell - picture.shape[1]) // 2
            sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
            if captions is not None:
                text = _cut(captions[row_number * columns + column], size, cell)
                centre = (left + cell / 2, top + height + strip / 2)
                write(sheet, text, centre, size=size, colour=text_colour(background))
        top += height + strip + gap
    return sheet


def _fit(image: np.ndarray, cell: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _cut(text: str, size: int, width: int) -> str:
    if not text or text_size(text, size)[0] <= width:
        return text
    ellipsis = "..."
    while text and font(size).getlength(text + ellipsis) > width:
        text = text[:-1]
    return text + ellipsis
