"""What a caller may ask of automatic mask generation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2.modeling.config import ModelConfig
from sam2.utils.amg import build_all_layer_point_grids

PointGrid = npt.NDArray[np.float64]


class ByModel(float):
    """A default that a model may know better: the official number, told from the same number given by its type."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What makes a mask good enough, by the names of :class:`AutomaticSettings`."""

    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0


_NANO = Thresholds(0.5, 0.9, 0.1)
"""Its logits are flatter and its predicted IoUs honest: by the official numbers it would find next to nothing."""


def thresholds_for(config: ModelConfig, given: Thresholds) -> Thresholds:
    """``given``, but for defaults (:class:`ByModel`) for which this model has numbers of its own."""
    if config.version != "nano":
        return given
    names = [field.name for field in fields(Thresholds)]
    own = [name for name in names if isinstance(getattr(given, name), ByModel)]
    return replace(given, **{name: getattr(_NANO, name) for name in own})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AutomaticSettings:
    """Which points are clicked, and which of the masks stay; names and defaults are the official ones.

    Attributes:
        grids: clicks (x, y) in 0..1, [p, 2], of the image and of the crops of each layer.
        points_per_batch: clicks that are decoded at once.
        pred_iou_thresh: a mask stays if its predicted IoU is above this.
        stability_score_thresh: a mask stays if its stability is at least this.
        stability_score_offset: how far the threshold is moved to measure stability.
        mask_threshold: logits above this are inside.
        box_nms_thresh: of two masks of one crop whose boxes overlap by more IoU than this, the better one stays.
        crop_n_layers: layers of crops that are looked at beside the image; layer i has 2^i x 2^i.
        crop_nms_thresh: as ``box_nms_thresh``, between crops, where the smaller crop's mask stays.
        crop_overlap_ratio: overlap of crops as a share of the image's short side, halved with each layer.
        min_mask_region_area: holes and islands below this many pixels of the image are removed.
        use_m2m: each mask is given to the model once more, as a prompt.
        multimask_output: three masks a click, or one.
        max_masks: at most so many masks, those of highest predicted IoU.
        mask_nms_thresh: of two masks that overlap by more IoU than this, pixel by pixel, the better one stays.
    """

    grids: tuple[PointGrid, ...]
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    min_mask_region_area: float = 0
    use_m2m: bool = False
    multimask_output: bool = True
    max_masks: int | None = None
    mask_nms_thresh: float | None = None

    def __post_init__(self) -> None:
        for name in ("points_per_batch", "max_masks"):
            _check_whole(name, getattr(self, name), least=1, optional=name == "max_masks")
        _check_whole("crop_n_layers", self.crop_n_layers, least=0)
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh"):
            _check_number(name, getattr(self, name), 0, 1)
        if self.mask_nms_thresh is not None:
            _check_number("mask_nms_thresh", self.mask_nms_thresh, 0, 1)
        _check_number("crop_overlap_ratio", self.crop_overlap_ratio, 0, 1)
        _check_number("stability_score_offset", self.stability_score_offset, 0, math.inf)
        _check_number("min_mask_region_area", self.min_mask_region_area, 0, math.inf)
        _check_number("mask_threshold", self.mask_threshold, -math.inf, math.inf)
        if len(self.grids) != self.crop_n_layers + 1:
            raise ValueError(
                f"point_grids must have {self.crop_n_layers + 1} grids (the image's and one a layer of crops), "
                f"got {len(self.grids)}"
            )


def grids_from(
    points_per_side: int | None,
    point_grids: Sequence[npt.ArrayLike] | npt.ArrayLike | None,
    *,
    layers: int,
    downscale: int,
) -> tuple[PointGrid, ...]:
    """The grids that the official arguments mean: one of them has to be None.

    Raises:
        ValueError: both or none are given, or one of them cannot be used.
    """
    if (points_per_side is None) == (point_grids is None):
        raise ValueError(
            "exactly one of points_per_side and point_grids must be given, got "
            + ("none" if point_grids is None else "both")
        )
    if point_grids is None:
        assert points_per_side is not None
        _check_whole("points_per_side", points_per_side, least=1)
        _check_whole("crop_n_layers", layers, least=0)
        _check_whole("crop_n_points_downscale_factor", downscale, least=1)
        if points_per_side < downscale**layers:
            raise ValueError(
                f"points_per_side must be at least crop_n_points_downscale_factor ** crop_n_layers = "
                f"{downscale**layers}, so that the last layer of crops has a point, got {points_per_side}"
            )
        return tuple(build_all_layer_point_grids(points_per_side, layers, downscale))
    alone = isinstance(point_grids, np.ndarray) and point_grids.ndim == 2
    grids: Sequence[npt.ArrayLike] = [point_grids] if alone else point_grids  # type: ignore[assignment]
    return tuple(_grid(f"point_grids[{layer}]", points) for layer, points in enumerate(grids))


def _grid(name: str, points: npt.ArrayLike) -> PointGrid:
    try:
        grid = np.array(points, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers of shape [p, 2], got {points!r:.80}") from None
    if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
        raise ValueError(f"{name} must have shape [p, 2] with at least one point, got {grid.shape}")
    if not (np.isfinite(grid).all() and (grid >= 0).all() and (grid <= 1).all()):
        raise ValueError(f"{name} must hold (x, y) in 0..1, got values from {grid.min()} to {grid.max()}")
    return grid


def _check_whole(name: str, value: object, *, least: int, optional: bool = False) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        limits = (
            f"in {low:g}..{high:g}" if math.isfinite(high) else f"at least {low:g}" if low == 0 else "that is finite"
        )
        raise ValueError(f"{name} must be a number {limits}, got {value!r}")
