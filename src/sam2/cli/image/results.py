"""The files that are made of each photo: masks, pictures, numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sam2.cli.image.asked import Asked
from sam2.cli.image.found import Found
from sam2.cli.outputs import jpeg_bytes, json_bytes, picture_bytes, png_bytes, write_whole
from sam2.viz import DrawnPrompts, apply_effect, draw_overlay, mask_sheet

MANY = 24
"""More objects than these are drawn without numbers and prompts, a few at a time."""
_AT_ONCE = 12
_LONGEST_SIDE = 2048
"""Of pictures of many objects: hundreds of outlines on more pixels take long and show no more."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and what was found in it.

    Attributes:
        path: its file.
        stem: what names of its results begin with.
        image: [h, w, 3] uint8.
        found: the objects.
    """

    path: Path
    stem: str
    image: np.ndarray
    found: Sequence[Found]


def write_photo(photo: Photo, asked: Asked) -> list[str]:
    """Write what was asked for of one photo; the names of the files.

    Raises:
        OutputError: they cannot be written.
    """
    written: list[str] = []

    def write(name: str, content: bytes) -> None:
        write_whole(asked.output / name, content)
        written.append(name)

    if "png" in asked.formats:
        for item in photo.found:
            for name, candidate in zip(_mask_names(photo.stem, item, asked), item.candidates, strict=True):
                write(name, png_bytes(candidate.mask()))
    if asked.overlay or "sheet" in asked.formats:
        drawn = draw_found(photo, with_prompts=asked.everything is None)
        if asked.overlay:
            write(f"{photo.stem}_overlay.jpg", jpeg_bytes(drawn))
        if "sheet" in asked.formats:
            write(f"{photo.stem}_sheet.jpg", jpeg_bytes(_sheet(photo, drawn)))
    for name in asked.effects:
        ending, content = picture_bytes(show(name, photo))
        write(f"{photo.stem}_{name}{ending}", content)
    if "json" in asked.formats:
        write(f"{photo.stem}.json", json_bytes(_record(photo, asked)))
    return written


def draw_found(photo: Photo, *, with_prompts: bool) -> np.ndarray:
    """The photo with its objects, [h, w, 3] uint8; many of them in plainer style and on at most 2048 pixels a side."""
    if not with_prompts or len(photo.found) > MANY:
        return _draw_many(photo)
    prompts = [item.prompt for item in photo.found]
    return draw_overlay(
        photo.image,
        [item.best.mask() for item in photo.found],
        ids=[prompt.object_id for prompt in prompts],
        prompts=[DrawnPrompts(prompt.points, prompt.labels, prompt.box) for prompt in prompts],
    )


def show(effect: str, photo: Photo) -> np.ndarray:
    """The photo with an effect, [h, w, 3] or, with alpha, [h, w, 4] uint8."""
    if len(photo.found) <= MANY:
        masks = [item.best.mask() for item in photo.found]
        return apply_effect(effect, photo.image, masks, ids=[item.object_id for item in photo.found])
    if effect == "contour":
        picture = photo.image
        for some in _chunks(photo.found):
            masks = [item.best.mask() for item in some]
            picture = apply_effect(effect, picture, masks, ids=[item.object_id for item in some])
        return picture
    together = np.zeros(photo.image.shape[:2], bool)
    for item in photo.found:
        together |= item.best.mask()
    return apply_effect(effect, photo.image, [together])


def _chunks(found: Sequence[Found]) -> Iterator[Sequence[Found]]:
    """A few at a time, large ones first: all in full, hundreds of masks would fill the memory."""
    found = sorted(found, key=lambda item: -item.best.area)
    for start in range(0, len(found), _AT_ONCE):
        yield found[start : start + _AT_ONCE]


def _draw_many(photo: Photo) -> np.ndarray:
    """Small objects on top of large ones."""
    canvas = _shrink(photo.image)
    height, width = canvas.shape[:2]
    for some in _chunks(photo.found):
        masks = [_resize(item.best.mask(), width, height) for item in some]
        ids = [item.object_id for item in some]
        canvas = draw_overlay(canvas, masks, ids=ids, dim=0.0, show_ids=False)
    return canvas


def _shrink(image: np.ndarray) -> np.ndarray:
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    if scale == 1:
        return image.copy()
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _resize(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    columns = np.ascontiguousarray(mask.T).view(np.uint8)  # decoded masks lie in memory column by column
    return cv2.resize(columns, (height, width), interpolation=cv2.INTER_NEAREST).T


def _sheet(photo: Photo, drawn: np.ndarray) -> np.ndarray:
    """``drawn``, and below it every object alone."""
    captions = [f"{item.label or ''} {item.best.iou:.2f}".strip() for item in photo.found]
    ids = [item.object_id for item in photo.found]
    return mask_sheet(
        photo.image, (item.best.mask() for item in photo.found), ids=ids, captions=captions, overlay=drawn
    )


def _mask_names(stem: str, found: Found, asked: Asked) -> list[str]:
    name = f"{stem}_object{found.object_id}"
    if not asked.all_candidates:
        return [f"{name}.png"]
    return [f"{name}_rank{rank}.png" for rank in range(1, len(found.candidates) + 1)]


def _record(photo: Photo, asked: Asked) -> dict[str, Any]:
    """The JSON of one photo, as docs/cli.md describes it."""
    objects = []
    for item in photo.found:
        files = _mask_names(photo.stem, item, asked) if "png" in asked.formats else [None] * len(item.candidates)
        objects.append(item.record(files, with_candidates=asked.all_candidates))
    return {
        "image": photo.path.name,
        "width": photo.image.shape[1],
        "height": photo.image.shape[0],
        "model": asked.model,
        "objects": objects,
    }
