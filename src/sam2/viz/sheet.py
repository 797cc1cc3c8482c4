"""Many pictures on one: a contact sheet to look through results at a glance, a sheet of all masks of a picture."""

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from sam2.viz.canvas import Window, cover, font, paint, rounded_box, text_size, write
from sam2.viz.overlay import draw_overlay
from sam2.viz.palette import Colour, object_colour, text_colour

PAPER: Colour = (24, 27, 32)
CARD: Colour = (128, 131, 136)
"""The ground of cut-out objects: neither dark nor bright ones are lost on it."""
_SHEET_WIDTH = 1600
_LARGEST_SCALE = 8.0


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


def mask_sheet(
    image: np.ndarray,
    masks: Iterable[np.ndarray] | np.ndarray,
    *,
    ids: Sequence[int],
    captions: Sequence[str] | None = None,
    overlay: np.ndarray | None = None,
) -> np.ndarray:
    """All masks of a picture on one sheet: the overlay, and below it each object alone, with its number.

    Args:
        image: [h, w, 3] uint8 RGB.
        masks: n masks [h, w] of any dtype; above 0 is inside. Where ``overlay`` is given they are gone through once,
            so that a generator of hundreds of large masks needs the memory of one.
        ids: n object ids: numbers and colours.
        captions: n lines of text, such as scores, cut where they are too long.
        overlay: the picture with its masks, [any, any, 3] uint8; drawn here if None.

    Returns:
        [H, 1600, 3] uint8; H grows with n, and objects get smaller where there are hundreds.

    Raises:
        ValueError: a wrong shape or dtype, or lists of different lengths.
    """
    if overlay is None:
        masks = list(masks)
        if len(masks) != len(ids):
            raise ValueError(f"ids must have one entry per mask ({len(masks)}), got {len(ids)}")
        overlay = draw_overlay(image, masks, ids=ids)
    for name, picture in (("image", image), ("overlay", overlay)):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f"{name} must be uint8 [h, w, 3], got {picture.dtype} {picture.shape}")
    if captions is not None and len(captions) != len(ids):
        raise ValueError(f"captions must have one entry per id ({len(ids)}), got {len(captions)}")

    gap = 14
    columns = _columns_for(len(ids))
    cell = (_SHEET_WIDTH - gap) // columns - gap
    size = min(20, max(10, cell // 13))
    strip = round(1.7 * size) if captions is not None else 0
    top = _fit_into(overlay, _SHEET_WIDTH - 2 * gap, round(0.6 * _SHEET_WIDTH))
    rows = -(-len(ids) // columns)
    start = top.shape[0] + 2 * gap
    sheet = np.full((start + rows * (cell + strip + gap), _SHEET_WIDTH, 3), PAPER, np.uint8)
    left = (_SHEET_WIDTH - top.shape[1]) // 2
    sheet[gap : gap + top.shape[0], left : left + top.shape[1]] = top
    count = 0
    for mask in masks:
        if count == len(ids):
            raise ValueError(f"ids must have one entry per mask, got {len(ids)} and more masks")
        row, column = divmod(count, columns)
        x, y = gap + column * (cell + gap), start + row * (cell + strip + gap)
        sheet[y : y + cell, x : x + cell] = _card(image, np.asarray(mask) > 0, cell, number=count)
        _badge(sheet, ids[count], (x, y), size)
        if captions is not None:
            centre = (x + cell / 2, y + cell + strip / 2)
            write(sheet, _cut(captions[count], size, cell), centre, size=size, colour=text_colour(PAPER))
        count += 1
    if count != len(ids):
        raise ValueError(f"ids must have one entry per mask ({count}), got {len(ids)}")
    return sheet


def _columns_for(count: int) -> int:
    """Four for a few, eight for dozens, then as many as keep the sheet below about eight times its width."""
    return max(min(8, max(4, math.ceil(math.sqrt(1.6 * count)))), math.ceil(math.sqrt(count / 8)))


def _card(image: np.ndarray, inside: np.ndarray, cell: int, *, number: int) -> np.ndarray:
    """An object alone on a neutral ground, [cell, cell, 3] uint8: enlarged or made smaller to fill it."""
    if inside.shape != image.shape[:2]:
        raise ValueError(f"masks[{number}] must have the image's shape {image.shape[:2]}, got {inside.shape}")
    card = np.full((cell, cell, 3), CARD, np.uint8)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return card
    crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    room = cell - 2 * max(4, cell // 16)
    picture = _fit_into(image[crop], room, room)
    height, width = picture.shape[:2]
    smaller = width < crop[1].stop - crop[1].start
    alpha = cv2.resize(
        inside[crop].astype(np.float32), (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    y, x = (cell - height) // 2, (cell - width) // 2
    ground = np.full_like(picture, CARD)
    card[y : y + height, x : x + width] = cv2.blendLinear(ground, picture, 1 - alpha, alpha)
    return card


def _badge(sheet: np.ndarray, object_id: int, corner: tuple[int, int], size: int) -> None:
    """The object's number in its colour, in the top left corner of its card."""
    text = str(object_id)
    width, height = text_size(text, size)
    x1, y1 = corner[0] + max(width, height) + size, corner[1] + height + 0.8 * size
    corners = (float(corner[0]), float(corner[1]), float(x1), float(y1))
    window = Window.around(corners, 1, sheet)
    if window is None:
        return
    colour = object_colour(object_id)
    paint(sheet, window, colour, cover(rounded_box(window, corners, 3.0)))
    write(sheet, text, ((corner[0] + x1) / 2, (corner[1] + y1) / 2), size=size, colour=text_colour(colour))


def _fit_into(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture as large as fits, without changing its shape; enlarged eightfold at most."""
    scale = min(width / picture.shape[1], height / picture.shape[0], _LARGEST_SCALE)
    shape = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), shape, interpolation=how)


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
