from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2.utils.masks import (
    clean_logits,
    connected_components,
    fill_holes,
    mask_areas,
    mask_boxes,
    small_components,
)
from sam2.utils.misc import concat_points, fill_holes_in_mask_scores, get_connected_components, mask_to_box

masks_2d = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def flood(mask: np.ndarray) -> np.ndarray:
    """Area of each pixel's 8-connected component, the slow and obvious way."""
    areas = np.zeros(mask.shape, int)
    seen = np.zeros(mask.shape, bool)
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        queue, component = deque([start]), []
        seen[start] = True
        while queue:
            y, x = queue.popleft()
            component.append((y, x))
            for ny in range(max(0, y - 1), min(mask.shape[0], y + 2)):
                for nx in range(max(0, x - 1), min(mask.shape[1], x + 2)):
                    if mask[ny, nx] and not seen[ny, nx]:
                        seen[ny, nx] = True
                        queue.append((ny, nx))
        for pixel in component:
            areas[pixel] = len(component)
    return areas


@given(masks_2d)
@settings(max_examples=200, deadline=None)
def test_areas_are_those_of_a_flood_fill(mask) -> None:
    labels, areas = connected_components(torch.from_numpy(mask))

    assert np.array_equal(areas.numpy(), flood(mask))
    assert np.array_equal(labels.numpy() > 0, mask)
    assert labels.dtype == areas.dtype == torch.int32


@given(masks_2d, st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_small_components_are_those_up_to_the_area(mask, max_area) -> None:
    small = small_components(torch.from_numpy(mask), max_area).numpy()

    areas = flood(mask)
    assert np.array_equal(small, (areas > 0) & (areas <= max_area))


@given(masks_2d)
@settings(max_examples=100, deadline=None)
def test_boxes_hold_all_pixels_and_touch_them(mask) -> None:
    x0, y0, x1, y1 = mask_boxes(torch.from_numpy(mask)).tolist()

    ys, xs = np.nonzero(mask)
    if len(ys):
        assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max(), ys.max())
    else:
        assert (x0, y0, x1, y1) == (mask.shape[1], mask.shape[0], -1, -1)
    assert mask_areas(torch.from_numpy(mask)) == mask.sum()


def test_diagonal_neighbours_are_connected() -> None:
    _, areas = connected_components(torch.eye(4, dtype=torch.bool))

    assert areas.max() == 4


def test_any_leading_dimensions_and_types() -> None:
    mask = torch.rand(2, 3, 7, 5) > 0.5

    labels, areas = connected_components(mask)
    from_numbers = connected_components(mask.to(torch.uint8) * 7)

    assert labels.shape == areas.shape == (2, 3, 7, 5)
    assert torch.equal(from_numbers[1], areas)
    assert torch.equal(connected_components(mask[1, 2])[1], areas[1, 2])
    assert connected_components(torch.zeros(0, 4, 4))[0].shape == (0, 4, 4)


def test_one_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        connected_components(torch.zeros(4))


def test_cleaning_finds_both_in_the_logits_as_given() -> None:
    """A ring of 8 around a hole of 1: the hole is filled although the ring goes."""
    logits = torch.full((5, 5), -1.0)
    logits[1:4, 1:4] = 1.0
    logits[2, 2] = -1.0

    cleaned = clean_logits(logits, max_hole_area=1, max_sprinkle_area=8)

    assert cleaned[2, 2] == 10.0
    assert (cleaned[1:4, 1:4] == -10.0).sum() == 8


def test_a_value_on_the_threshold_is_background() -> None:
    logits = torch.ones(5, 5)
    logits[2, 2] = 0.0

    assert fill_holes(logits, 1)[2, 2] == pytest.approx(0.1)


def test_official_names() -> None:
    mask = torch.zeros(2, 1, 6, 6)
    mask[0, 0, 1:5, 1:5] = 3.0
    mask[0, 0, 2, 2] = -3.0

    filled = fill_holes_in_mask_scores(mask, 1)
    labels, areas = get_connected_components(mask > 0)

    assert filled[0, 0, 2, 2] == pytest.approx(0.1)
    assert filled[1].max() == 0.0
    assert areas[0].max() == 15
    assert labels.shape == (2, 1, 6, 6)
    assert mask_to_box(mask > 0).tolist() == [[[1, 1, 4, 4]], [[6, 6, -1, -1]]]


@pytest.mark.parametrize("area", [0, -1, float("nan")])
def test_filling_needs_an_area(area) -> None:
    with pytest.raises(ValueError, match="max_area"):
        fill_holes_in_mask_scores(torch.zeros(1, 1, 4, 4), area)


@pytest.mark.parametrize("call", [get_connected_components, mask_to_box])
def test_official_names_want_one_channel(call) -> None:
    with pytest.raises(ValueError, match="shape"):
        call(torch.zeros(1, 2, 4, 4, dtype=torch.bool))


def test_points_are_put_after_the_old_ones() -> None:
    first = concat_points(None, torch.zeros(1, 2, 2), torch.ones(1, 2))
    both = concat_points(first, torch.ones(1, 1, 2), torch.zeros(1, 1))

    assert both["point_coords"].shape == (1, 3, 2)
    assert both["point_labels"].tolist() == [[1.0, 1.0, 0.0]]
