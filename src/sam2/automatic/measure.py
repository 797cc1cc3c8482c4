"""Stability and boxes of masks at the size of the image, from low-resolution logits, one mask or a few at a time.

Nothing of the image's size outlives the mask that it is made for. On a CPU each mask is enlarged by OpenCV, ten times
quicker there than ``interpolate``; on an accelerator by PyTorch, a few at a time, with no result leaving the device.
Both are bilinear with pixel centres at halves, and agree but for the last bits of a logit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sam2.interop.rle import Runs, window_to_runs
from sam2.utils.masks import mask_boxes, resize_masks

Columns = npt.NDArray[np.bool_]

_PIXELS_AT_ONCE = 32 * 1024 * 1024
"""Enlarged pixels held at once on an accelerator (float32: 128 MB, and as much again for what is compared)."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a mask begins: ``threshold``, and how far to move it for stability."""

    threshold: float
    offset: float


def measure(
    logits: Float[Tensor, "n h w"], size: tuple[int, int], levels: Levels
) -> tuple[Float[Tensor, " n"], Int[Tensor, "n 4"]]:
    """Stability and box of each mask, enlarged to ``size`` = (height, width).

    Returns:
        Stability [n] float32, NaN for a mask that is empty at the lower threshold; boxes [n, 4] int32 (x0, y0, x1, y1),
        both ends inside, (w, h, -1, -1) where empty.
    """
    if logits.device.type == "cpu":
        return _measure_on_cpu(logits, size, levels)
    return measure_by_torch(logits, size, levels)


def measure_by_torch(
    logits: Float[Tensor, "n h w"], size: tuple[int, int], levels: Levels
) -> tuple[Float[Tensor, " n"], Int[Tensor, "n 4"]]:
    """:func:`measure` on any device, without waiting for it."""
    scores = [logits.new_zeros(0, dtype=torch.float32)]
    boxes = [torch.zeros(0, 4, dtype=torch.int32, device=logits.device)]
    for part in logits.split(max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))):
        full = resize_masks(part[:, None], size)[:, 0]
        inner, outer = (
            (full > levels.threshold + sign * levels.offset).flatten(1).sum(1, dtype=torch.int32) for sign in (1, -1)
        )
        scores.append(inner / outer)
        boxes.append(mask_boxes(full > levels.threshold))
    return torch.cat(scores), torch.cat(boxes)


def _measure_on_cpu(logits: Tensor, size: tuple[int, int], levels: Levels) -> tuple[Tensor, Tensor]:
    def one(small: npt.NDArray[np.float32]) -> tuple[float, tuple[int, int, int, int]]:
        full = _enlarge(small, size)
        outer = int(np.count_nonzero(full > levels.threshold - levels.offset))
        inner = int(np.count_nonzero(full > levels.threshold + levels.offset))
        return (inner / outer if outer else np.nan), _box(full > levels.threshold)

    found = in_threads(one, list(logits.detach().float().numpy()))
    scores = np.array([score for score, _ in found], np.float32)
    boxes = np.array([box for _, box in found], np.int32).reshape(-1, 4)
    return torch.from_numpy(scores), torch.from_numpy(boxes)


def runs_of(
    logits: Float[Tensor, "n h w"], crop: tuple[int, int, int, int], size: tuple[int, int], threshold: float
) -> list[Runs]:
    """Runs of each mask in the image of ``size`` = (height, width), of logits that fill ``crop`` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = crop

    def one(small: npt.NDArray[np.float32]) -> Runs:
        return window_to_runs(_enlarge(small, (y1 - y0, x1 - x0)) > threshold, (x0, y0), size)

    return in_threads(one, list(logits.detach().float().cpu().numpy()))


def in_threads(function: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
    """``function`` of each item, in order, on as many threads as PyTorch has (NumPy and OpenCV release the lock)."""
    workers = min(torch.get_num_threads(), len(items))
    if workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def _enlarge(small: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """[w, h] logits of ``size`` = (height, width): transposed, since run-length encoding goes down the columns."""
    height, width = size
    full = cv2.resize(np.ascontiguousarray(small.T), (height, width), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32)


def _box(columns: Columns) -> tuple[int, int, int, int]:
    """The box of a transposed mask, as :func:`sam2.utils.masks.mask_boxes` gives it."""
    y, x, height, width = cv2.boundingRect(columns.view(np.uint8))
    if not width:
        return columns.shape[0], columns.shape[1], -1, -1
    return x, y, x + width - 1, y + height - 1
