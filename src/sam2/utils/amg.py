"""The official helpers of automatic mask generation, by their names (``sam2.utils.amg``): grids, crops, boxes, RLE.

Users' code imports these. The generator itself (:mod:`sam2.automatic`) shares the grids and crops with it, and has
quicker ways for the rest.
"""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import product
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sam2.interop.rle import decode_mask, encode_runs, mask_area, mask_to_runs
from sam2.utils.masks import mask_boxes

EDGE_TOLERANCE = 20.0
"""A box this close in pixels to the edge of its crop may be of an object that goes on beyond."""


# ---------------------------------------------------------------------- grids and crops


def build_point_grid(n_per_side: int) -> np.ndarray:
    """[n * n, 2] (x, y) in 0..1: the centres of n x n cells, row by row."""
    if n_per_side < 1:
        raise ValueError(f"n_per_side must be at least 1, got {n_per_side}")
    centres = (np.arange(n_per_side) + 0.5) / n_per_side
    x, y = np.meshgrid(centres, centres)
    return np.stack((x.ravel(), y.ravel()), axis=-1)


def build_all_layer_point_grids(n_per_side: int, n_layers: int, scale_per_layer: int) -> list[np.ndarray]:
    """A grid for the image and one for the crops of each layer, each coarser by ``scale_per_layer`` a side."""
    return [build_point_grid(int(n_per_side / scale_per_layer**layer)) for layer in range(n_layers + 1)]


def generate_crop_boxes(
    im_size: tuple[int, ...], n_layers: int, overlap_ratio: float
) -> tuple[list[list[int]], list[int]]:
    """The image and its crops: layer i has 2^i x 2^i of them, overlapping.

    Args:
        im_size: (height, width).
        n_layers: layers beside the image itself.
        overlap_ratio: overlap of the first layer's crops, as a share of the short side; halved with each layer.

    Returns:
        Boxes [x0, y0, x1, y1] in pixels, x1 and y1 excluded, and the layer of each.
    """
    height, width = im_size[:2]
    boxes, layers = [[0, 0, width, height]], [0]
    for layer in range(1, n_layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / count))
        side_x, side_y = (math.ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        lefts, tops = ([(side - overlap) * i for i in range(count)] for side in (side_x, side_y))
        for x, y in product(lefts, tops):
            boxes.append([x, y, min(x + side_x, width), min(y + side_y, height)])
            layers.append(layer)
    return boxes, layers


def is_box_near_crop_edge(
    boxes: Float[Tensor, "n 4"], crop_box: list[int], orig_box: list[int], atol: float = EDGE_TOLERANCE
) -> Bool[Tensor, " n"]:
    """Which boxes, in the crop's frame, end near an edge of the crop that is not an edge of the image as well."""
    crop, whole = (torch.as_tensor(box, dtype=torch.float32, device=boxes.device) for box in (crop_box, orig_box))
    placed = uncrop_boxes_xyxy(boxes, crop_box).float()
    near_crop, near_image = ((placed - edges).abs() <= atol for edges in (crop, whole))
    return (near_crop & ~near_image).any(dim=1)


def uncrop_boxes_xyxy(boxes: Tensor, crop_box: list[int]) -> Tensor:
    """Boxes [..., 4] of a crop in the frame of the image."""
    x, y = crop_box[:2]
    return boxes + torch.tensor([x, y, x, y], device=boxes.device)


def uncrop_points(points: Tensor, crop_box: list[int]) -> Tensor:
    """Points [..., 2] of a crop in the frame of the image."""
    return points + torch.tensor(crop_box[:2], device=points.device)


def uncrop_masks(masks: Tensor, crop_box: list[int], orig_h: int, orig_w: int) -> Tensor:
    """Masks [..., h, w] of a crop in the frame of the image, zero outside."""
    x0, y0, x1, y1 = crop_box
    return torch.nn.functional.pad(masks, (x0, orig_w - x1, y0, orig_h - y1))


# ---------------------------------------------------------------------- boxes, scores, regions


def box_xyxy_to_xywh(box_xyxy: Any) -> Any:
    """Boxes [..., 4] (x0, y0, x1, y1), array, tensor or list, as (x, y, x1 - x0, y1 - y0)."""
    boxes = deepcopy(box_xyxy)
    boxes[..., 2:] = boxes[..., 2:] - boxes[..., :2]
    return boxes


def batched_mask_to_box(masks: Bool[Tensor, "... h w"]) -> Int[Tensor, "... 4"]:
    """The box of each mask, int64 (x0, y0, x1, y1), pixel indices, both ends inside; zeros for an empty mask."""
    if not masks.numel():
        return torch.zeros(*masks.shape[:-2], 4, dtype=torch.long, device=masks.device)
    boxes = mask_boxes(masks.bool()).long()
    return boxes * (boxes[..., 2:3] >= 0)


def calculate_stability_score(
    masks: Float[Tensor, "... h w"], mask_threshold: float, threshold_offset: float
) -> Float[Tensor, "..."]:
    """How little a mask changes with its threshold: pixels above ``threshold + offset`` by those above ``- offset``.

    NaN where there is none of either.
    """
    inner, outer = (
        (masks > mask_threshold + sign * threshold_offset).flatten(-2).sum(-1, dtype=torch.int32) for sign in (1, -1)
    )
    return inner / outer


def remove_small_regions(mask: np.ndarray, area_thresh: float, mode: str) -> tuple[np.ndarray, bool]:
    """A mask [h, w] bool without its small islands or holes (8-connected), and whether it was changed.

    Args:
        mask: bool.
        area_thresh: regions of fewer pixels than this go.
        mode: ``"holes"`` or ``"islands"``. If all islands are small, the largest stays.
    """
    if mode not in ("holes", "islands"):
        raise ValueError(f"mode must be 'holes' or 'islands', got {mode!r}")
    wanted = mask.astype(bool) ^ (mode == "holes")
    count, regions, stats, _ = cv2.connectedComponentsWithStats(wanted.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    small = areas < area_thresh
    if not small.any():
        return mask, False
    if mode == "islands" and small.all():
        small[areas.argmax()] = False
    goes = np.zeros(count, bool)
    goes[1:] = small
    removed = goes[np.asarray(regions, np.int32)]
    return (mask.astype(bool) | removed, True) if mode == "holes" else (mask.astype(bool) & ~removed, True)


# ---------------------------------------------------------------------- run-length encoding


def mask_to_rle_pytorch(tensor: Bool[Tensor, "b h w"]) -> list[dict[str, Any]]:
    """Uncompressed RLE of each mask: ``{"size": [h, w], "counts": [...]}``, column by column, background first.

    One mask at a time: no index of all pixels of all masks, which overflows for large images officially.
    """
    masks = tensor.detach().cpu().numpy()
    return [{"size": list(mask.shape), "counts": mask_to_runs(mask).tolist()} for mask in masks]


def rle_to_mask(rle: dict[str, Any]) -> np.ndarray:
    """The mask [h, w] bool of an RLE, compressed or not."""
    return decode_mask(rle)


def area_from_rle(rle: dict[str, Any]) -> int:
    """Pixels of the mask."""
    return mask_area(rle)


def coco_encode_rle(uncompressed_rle: dict[str, Any]) -> dict[str, Any]:
    """The compressed form, counts as str, of an uncompressed RLE; bit-equal to pycocotools, which is not needed."""
    return {**encode_runs(np.asarray(uncompressed_rle["counts"], np.int64), tuple(uncompressed_rle["size"]))}


# ---------------------------------------------------------------------- containers


def batch_iterator(batch_size: int, *args: Any) -> Iterator[list[Any]]:
    """Slices of ``batch_size`` of each argument, in step; all have the same length."""
    if not args or any(len(a) != len(args[0]) for a in args):
        raise ValueError(f"batch_iterator needs arguments of one length, got {[len(a) for a in args]}")
    for start in range(0, len(args[0]), batch_size):
        yield [arg[start : start + batch_size] for arg in args]


class MaskData:
    """Lists, arrays and tensors of one length under names, filtered and joined together."""

    def __init__(self, **kwargs: Any) -> None:
        self._stats: dict[str, Any] = {}
        for key, value in kwargs.items():
            self[key] = value

    def __setitem__(self, key: str, item: Any) -> None:
        if not isinstance(item, list | np.ndarray | Tensor):
            raise TypeError(f"{key} must be a list, an array or a tensor, got {type(item).__name__}")
        self._stats[key] = item

    def __getitem__(self, key: str) -> Any:
        return self._stats[key]

    def __delitem__(self, key: str) -> None:
        del self._stats[key]

    def items(self) -> Any:
        """Names and values."""
        return self._stats.items()

    def filter(self, keep: Tensor) -> None:
        """Keep the rows that ``keep`` selects: bool, or indices in the wanted order."""
        rows = keep.nonzero().flatten().tolist() if keep.dtype == torch.bool else keep.tolist()
        self._map(
            of_list=lambda value: [value[row] for row in rows],
            of_array=lambda value: value[keep.detach().cpu().numpy()],
            of_tensor=lambda value: value[keep.to(value.device)],
        )

    def cat(self, new_stats: "MaskData") -> None:
        """Append the rows of ``new_stats``; names that are new are taken over."""
        for key, value in new_stats.items():
            mine = self._stats.get(key)
            if mine is None:
                self[key] = deepcopy(value)
            elif isinstance(value, Tensor):
                self[key] = torch.cat((mine, value))
            elif isinstance(value, np.ndarray):
                self[key] = np.concatenate((mine, value))
            else:
                self[key] = mine + deepcopy(value)

    def to_numpy(self) -> None:
        """Turn tensors into arrays, in float32."""
        for key, value in self._stats.items():
            if isinstance(value, Tensor):
                value = value.float() if value.is_floating_point() else value
                self._stats[key] = value.detach().cpu().numpy()

    def _map(
        self,
        *,
        of_list: Callable[[Any], Any],
        of_array: Callable[[Any], Any],
        of_tensor: Callable[[Any], Any],
    ) -> None:
        for key, value in self._stats.items():
            how = of_list if isinstance(value, list) else of_array if isinstance(value, np.ndarray) else of_tensor
            self._stats[key] = how(value)
