import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2.interop.bridges import join_polygons
from sam2.interop.polygons import (
    EDGES,
    INSET,
    INSIDE,
    mask_to_polygons,
    mask_to_rings,
    outlines_to_mask,
    polygons_to_mask,
)

SIZE = (61, 83)

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16))


def checkerboard(*, height: int = 24, width: int = 31) -> np.ndarray:
    return np.indices((height, width)).sum(0) % 2 == 0


def sieve() -> np.ndarray:
    """A full mask with 600 holes of one pixel, some of which touch at a corner."""
    mask = np.ones((61, 83), bool)
    mask[1:-1:3, 1:-1:3] = False
    mask[2:-1:6, 2:-1:6] = False
    return mask


def blobs(seed: int, *, scale: float = 4.0, share: float = 0.5) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), scale)
    return smooth > np.quantile(smooth, 1 - share)


def rings_of(mask: np.ndarray) -> np.ndarray:
    """A frame within a frame within a frame."""
    mask[:] = False
    for inset in range(0, min(mask.shape) // 2, 2):
        mask[inset : mask.shape[0] - inset, inset : mask.shape[1] - inset] ^= True
    return mask


SPECIAL = {
    "one pixel": np.ones((1, 1), bool),
    "one row": np.arange(40)[None] % 3 > 0,
    "one column": np.arange(40)[:, None] % 3 > 0,
    "full": np.ones((9, 12), bool),
    "checkerboard": checkerboard(),
    "inverted checkerboard": ~checkerboard(),
    "sieve": sieve(),
    "frames": rings_of(np.zeros((30, 41), bool)),
    "blobs": blobs(0),
    "holes in holes": blobs(3, scale=1.5, share=0.6),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("within", [EDGES, INSET])
def test_masks_come_back(name, within) -> None:
    mask = SPECIAL[name]

    assert np.array_equal(polygons_to_mask(mask_to_polygons(mask, within=within), mask.shape), mask)


@given(masks)
@example(np.array([[1, 0], [0, 1]], bool))
@example(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool))
@settings(max_examples=300, deadline=None)
def test_any_mask_comes_back(mask) -> None:
    polygons = mask_to_polygons(mask)

    assert np.array_equal(polygons_to_mask(polygons, mask.shape), mask)
    assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert all(len(polygon) >= 4 and polygon.dtype == np.float64 for polygon in polygons)


@given(masks)
@settings(max_examples=300, deadline=None)
def test_any_mask_comes_back_from_outlines_inside_of_it(mask) -> None:
    polygons = mask_to_polygons(mask, within=INSIDE)

    assert np.array_equal(outlines_to_mask(polygons, mask.shape), mask)


@given(masks)
@settings(max_examples=300, deadline=None)
def test_joined_polygons_are_the_same_mask(mask) -> None:
    by_centres = join_polygons(mask_to_polygons(mask))
    by_outline = join_polygons(mask_to_polygons(mask, within=INSIDE))

    assert np.array_equal(polygons_to_mask([by_centres], mask.shape), mask)
    assert np.array_equal(outlines_to_mask([by_outline], mask.shape), mask)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_rings_are_simple_and_give_the_mask(mask) -> None:
    found = np.zeros(mask.shape, bool)
    for outline, *holes in mask_to_rings(mask):
        part = polygons_to_mask([outline], mask.shape)
        for hole in holes:
            assert not (polygons_to_mask([hole], mask.shape) & ~part).any()
            part &= ~polygons_to_mask([hole], mask.shape)
        found |= part
        for ring in (outline, *holes):
            assert len({tuple(vertex) for vertex in ring.tolist()}) == len(ring)

    assert np.array_equal(found, mask)


def test_rings_part_what_touches_at_a_corner() -> None:
    mask = np.array([[1, 0], [0, 1]], bool)

    assert len(mask_to_rings(mask)) == 2
    assert len(mask_to_polygons(mask)) == 1


def test_a_rectangle_is_its_four_corners() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True

    (polygon,) = mask_to_polygons(mask)

    assert {tuple(vertex) for vertex in polygon.tolist()} == {(3, 2), (9, 2), (9, 5), (3, 5)}


def test_vertices_keep_their_distance_from_the_edges() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True

    (polygon,) = mask_to_polygons(mask, within=(0.25, 0.5))

    assert {tuple(v) for v in polygon.tolist()} == {(3.25, 2.25), (8.5, 2.25), (8.5, 4.5), (3.25, 4.5)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("whole", [np.round, np.trunc])
def test_those_who_draw_whole_pixels_get_the_mask(seed, whole) -> None:
    """As supervision and trainers of YOLO do: to whole numbers, then ``cv2.fillPoly``, which draws the outline too."""
    mask = blobs(seed, share=0.4)
    found = np.zeros(mask.shape, np.uint8)
    for polygon in mask_to_polygons(mask, within=INSIDE):
        part = cv2.fillPoly(np.zeros_like(found), [whole(polygon).astype(np.int32)], (1,))
        found |= part

    assert np.array_equal(found > 0, mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
@pytest.mark.parametrize("seed", range(5))
def test_pycocotools_fills_them_alike(seed) -> None:
    reference = pytest.importorskip("pycocotools.mask")
    mask = blobs(seed, scale=2)
    for polygons in (mask_to_polygons(mask), [join_polygons(mask_to_polygons(mask))]):
        rles = reference.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *mask.shape)

        assert np.array_equal(reference.decode(reference.merge(rles)).astype(bool), mask)


def test_holes_can_be_filled() -> None:
    mask = np.ones((9, 9), bool)
    mask[3:6, 3:6] = False

    assert polygons_to_mask(mask_to_polygons(mask, holes="drop"), mask.shape).all()


def test_tolerance_leaves_fewer_vertices_and_keeps_the_shape() -> None:
    mask = np.zeros((200, 240), np.uint8)
    cv2.circle(mask, (110, 100), 80, (1,), -1)
    cv2.circle(mask, (100, 90), 30, (0,), -1)
    bits = mask > 0

    exact, simple = mask_to_polygons(bits), mask_to_polygons(bits, tolerance=1.0)
    found = polygons_to_mask(simple, bits.shape)

    assert len(simple[0]) < len(exact[0]) / 3
    assert (found & bits).sum() / (found | bits).sum() > 0.97
    assert not found[90, 100]


@given(masks, st.floats(0.1, 50))
@settings(max_examples=200, deadline=None)
def test_nothing_vanishes_whatever_the_tolerance(mask, tolerance) -> None:
    polygons = mask_to_polygons(mask, tolerance=tolerance)

    assert len(polygons) == len(mask_to_polygons(mask))
    assert all(len(polygon) >= 3 for polygon in polygons)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (4, 6)])
def test_no_pixel_no_polygon(shape) -> None:
    assert mask_to_polygons(np.zeros(shape, bool)) == []
    assert mask_to_rings(np.zeros(shape, bool)) == []
    assert join_polygons([]).shape == (0, 2)
    assert not polygons_to_mask([], shape).any()
    assert outlines_to_mask([[(1, 2), (3, 4), (2, 2)]], shape).shape == shape


def test_fractions_count() -> None:
    """A centre at 2.5 is in from 2.4 on, and out from 2.6 on."""
    polygon = [(2.4, 1.0), (5.6, 1.0), (5.6, 3.0), (2.4, 3.0)]
    smaller = [(2.6, 1.0), (5.4, 1.0), (5.4, 3.0), (2.6, 3.0)]

    assert np.flatnonzero(polygons_to_mask([polygon], (4, 8))[1]).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(polygons_to_mask([smaller], (4, 8))[1]).tolist() == [3, 4]


def test_polygons_reach_outside_the_picture() -> None:
    inside = polygons_to_mask([[(-50.0, -3.0), (4.0, -3.0), (4.0, 90.0), (-50.0, 90.0)]], (5, 8))
    beyond = polygons_to_mask([[(10.0, 1.0), (20.0, 1.0), (20.0, 3.0)]], (5, 8))

    assert inside[:, :4].all()
    assert not inside[:, 4:].any()
    assert not beyond.any()


def test_polygons_that_overlap_are_united_and_each_is_even_odd() -> None:
    square = [(0, 0), (4, 0), (4, 4), (0, 4)]
    twice = [*square, (0, 0), (1, 1), (3, 1), (3, 3), (1, 3), (1, 1)]

    assert polygons_to_mask([square, square], (4, 4)).all()
    assert np.array_equal(polygons_to_mask([twice], (4, 4)), ~np.pad(np.ones((2, 2), bool), 1))


def test_outlines_of_other_tools_are_read_as_they_draw_them() -> None:
    """Whole pixels, as OpenCV traces: lines and dots too."""
    box = outlines_to_mask([[(2, 1), (5, 1), (5, 3), (2, 3)]], (6, 8))
    line = outlines_to_mask([[(2, 1), (6, 1), (2, 1)]], (6, 8))
    dot = outlines_to_mask([[(2.3, 1.4)] * 3], (6, 8))

    assert (box.sum(), box[1:4, 2:6].all()) == (12, True)
    assert (line.sum(), line[1, 2:7].all()) == (5, True)
    assert (dot.sum(), dot[1, 2]) == (1, True)


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([1.0, 2.0, 3.0, 4.0], "shape"),
        ([(1.0, 2.0, 3.0)], "shape"),
        ([(0.0, 0.0), (np.nan, 1.0), (2.0, 2.0)], "finite"),
        ([(0.0, 0.0), (np.inf, 1.0), (2.0, 2.0)], "finite"),
        ([(0.0, 0.0), (1e300, 1.0), (2.0, 2.0)], "far outside"),
        ([("a", "b")], "list of"),
        ([(1.0, 2.0), (3.0,)], "list of"),
    ],
)
def test_damaged_polygons_are_refused(polygon, message) -> None:
    with pytest.raises(ValueError, match=message):
        polygons_to_mask([polygon], (4, 4))
    with pytest.raises(ValueError, match=message):
        outlines_to_mask([polygon], (4, 4))


@pytest.mark.parametrize(("options", "message"), [({"holes": "keep"}, "holes"), ({"tolerance": -1.0}, "tolerance")])
def test_unknown_options_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        mask_to_polygons(np.ones((3, 3), bool), **options)


def test_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        mask_to_polygons(np.ones((1, 3, 3), bool))
