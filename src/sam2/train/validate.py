"""Scores on the held-out tenth of the training photos, by the same code as the benchmarks."""

from collections.abc import Callable, Iterator

import numpy as np

from sam2.eval.clicks import ClickScores, evaluate_clicks
from sam2.eval.datasets import ClickExample
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.data.pack import PackedData
from sam2.train.data.records import KINDS

CLICKED_KINDS = ("thing", "whole", "group")
MIN_SHARE = 0.02
MAX_PER_IMAGE = 2


class _Stopped(Exception):
    """Nobody waits for the scores any more."""


def held_out_objects(data: PackedData, limit: int) -> list[tuple[int, int]]:
    """Up to ``limit`` held-out objects that people would click on, as (photo, mask) rows; the same ones every time."""
    wanted = [KINDS.index(kind) for kind in CLICKED_KINDS]
    chosen: list[tuple[int, int]] = []
    for image in np.flatnonzero(data.images["held_out"]):
        height, width = int(data.images[image]["height"]), int(data.images[image]["width"])
        rows = [i for i in data.masks_of(int(image)) if data.masks[i]["kind"] in wanted]
        rows = [i for i in rows if data.masks[i]["area"] >= MIN_SHARE * height * width]
        rows.sort(key=lambda i: -int(data.masks[i]["area"]))
        chosen += [(int(image), row) for row in rows[:MAX_PER_IMAGE]]
    order = np.random.default_rng(0).permutation(len(chosen))[:limit]
    return [chosen[i] for i in sorted(order)]


def held_out_example(data: PackedData, image: int, row: int) -> ClickExample:
    """The photo and the mask at these rows of ``data``."""
    photo = data.image(image)
    mask = np.zeros(photo.shape[:2], bool)
    x, y = int(data.masks[row]["x"]), int(data.masks[row]["y"])
    crop = data.mask(row) > 0
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return ClickExample(f"{data.images[image]['name']}#{row}", photo, mask)


def validate(
    model: SAM2Base, data: PackedData, *, objects: int, go_on: Callable[[], bool] = lambda: True
) -> ClickScores | None:
    """Box, one click, five clicks on the held-out objects, at the model's present image size.

    None where no object is held out, or where ``go_on``, asked before every object, said no.
    """
    chosen = held_out_objects(data, objects)

    def examples() -> Iterator[ClickExample]:
        for rows in chosen:
            if not go_on():
                raise _Stopped
            yield held_out_example(data, *rows)

    try:
        return evaluate_clicks(model, examples()) if chosen else None
    except _Stopped:
        return None
