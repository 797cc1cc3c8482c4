"""J and F on masks whose values can be worked out by hand."""

import numpy as np
import pytest

from sam2.eval.vos_metrics import boundary, boundary_measure, decay, mask_quality, recall, region_similarity


def rectangle(top, left, bottom, right, shape=(100, 100)):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


EMPTY = np.zeros((100, 100), bool)
SQUARE = rectangle(20, 20, 60, 60)


def test_equal_masks_are_perfect():
    quality = mask_quality(SQUARE, SQUARE)
    assert (quality.j, quality.f, quality.j_and_f) == (1, 1, 1)


def test_region_similarity_counts_pixels():
    # 40 x 40 against 40 x 20 inside it, and against the same square moved by half its width.
    assert region_similarity(rectangle(20, 20, 60, 40), SQUARE) == pytest.approx(0.5)
    assert region_similarity(rectangle(20, 40, 60, 80), SQUARE) == pytest.approx(800 / 2400)


@pytest.mark.parametrize(
    ("found", "truth", "j", "f"), [(EMPTY, EMPTY, 1, 1), (EMPTY, SQUARE, 0, 0), (SQUARE, EMPTY, 0, 0)]
)
def test_empty_masks(found, truth, j, f):
    quality = mask_quality(found, truth)
    assert (quality.j, quality.f) == (j, f)


def test_a_full_frame_has_no_boundary():
    full = ~EMPTY
    assert not boundary(full).any()
    assert boundary_measure(full, full) == 1
    assert boundary_measure(full, SQUARE) == 0


def test_the_boundary_lies_above_and_to_the_left():
    mask = rectangle(2, 2, 4, 4, (6, 6))
    expected = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 1, 0, 1, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        bool,
    )
    np.testing.assert_array_equal(boundary(mask), expected)


def test_the_edge_of_the_image_is_no_boundary():
    # A band across the frame has two long sides and no short ones.
    edges = boundary(rectangle(2, 0, 4, 6, (6, 6)))
    assert edges.sum() == 12
    assert edges[1].all()
    assert edges[3].all()


def test_boundaries_within_the_tolerance_agree():
    # 0.8 % of the diagonal of 480 x 854 is 7.84: 8 pixels are near enough, 9 are not.
    shape = (480, 854)
    truth = rectangle(100, 0, 300, 854, shape)
    assert boundary_measure(rectangle(108, 0, 308, 854, shape), truth) == 1
    # Both sides are 9 away.
    assert boundary_measure(rectangle(109, 0, 309, 854, shape), truth) == 0


def test_precision_and_recall_are_balanced():
    # Two bands, of which one is found: all that is claimed is right, half of what is there is claimed.
    truth = rectangle(10, 0, 20, 100) | rectangle(60, 0, 70, 100)
    found = rectangle(10, 0, 20, 100)
    assert boundary_measure(found, truth) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert boundary_measure(truth, found) == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_the_tolerance_is_round():
    # The boundary of one pixel is 2 x 2: rows and columns 49 and 50 here, 51 and 52 there.
    dot, other = rectangle(50, 50, 51, 51), rectangle(52, 52, 53, 53)
    assert boundary(dot).sum() == 4
    # 1.2 % of the diagonal rounds up to 2, which (50, 50) and (51, 51) are apart, and no other two: 1.41, 2.24, ...
    assert boundary_measure(dot, other, tolerance=0.012) == pytest.approx(0.25)
    assert boundary_measure(dot, other, tolerance=0.022) == 1


def test_masks_must_fit():
    with pytest.raises(ValueError, match=r"one size, got \(100, 100\) and \(6, 6\)"):
        mask_quality(SQUARE, np.zeros((6, 6), bool))


def contour_by_hand(mask):
    """A pixel is on the contour if it differs from its neighbour to the right, below or both (DAVIS, seg2bmap)."""
    height, width = mask.shape
    places = []
    for y in range(height):
        for x in range(width):
            beside = [(y, min(x + 1, width - 1)), (min(y + 1, height - 1), x)]
            beside.append((y + 1, x + 1) if y + 1 < height and x + 1 < width else (y, x))
            if any(mask[place] != mask[y, x] for place in beside):
                places.append((y, x))
    return places


def f_by_hand(found, truth, tolerance=0.008):
    """The F-measure of contours written out: a pixel is matched if one of the other contour is within reach."""
    reach = np.ceil(tolerance * np.hypot(*truth.shape))
    ours, theirs = contour_by_hand(found), contour_by_hand(truth)
    if not ours or not theirs:
        return float(len(ours) == len(theirs))

    def share(some, others):
        near = np.hypot(*(np.array(some)[:, None] - np.array(others)[None]).transpose(2, 0, 1)) <= reach
        return near.any(1).mean()

    precision, recall_ = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall_ / (precision + recall_) if precision + recall_ else 0.0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tolerance", [0.008, 0.03])
def test_the_measures_are_what_was_published(seed, tolerance):
    """Blobs and specks, some of them at the edge, against the definition written out pixel by pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:44, :60]
    y, x, radius = rng.uniform(0, 44), rng.uniform(0, 60), rng.uniform(4, 20)
    truth = np.hypot(rows - y, columns - x) <= radius
    found = np.hypot(rows - y - rng.uniform(-4, 4), columns - x - rng.uniform(-4, 4)) <= radius * rng.uniform(0.7, 1.3)
    found ^= rng.random(found.shape) < 0.01
    assert boundary_measure(found, truth, tolerance=tolerance) == pytest.approx(f_by_hand(found, truth, tolerance))
    assert region_similarity(found, truth) == pytest.approx((found & truth).sum() / (found | truth).sum())


def test_void_belongs_to_neither():
    void = rectangle(20, 60, 60, 80)
    quality = mask_quality(SQUARE | rectangle(20, 60, 60, 70), SQUARE, void=void)
    assert (quality.j, quality.f) == (1, 1)
    assert mask_quality(SQUARE, SQUARE | void, void=void).j == 1


def test_recall_counts_frames_above_one_half():
    assert recall([0.2, 0.5, 0.51, 0.9]) == 0.5


def test_decay_is_the_first_quarter_less_the_last():
    # Quarters of 9 frames share the frames 2, 4 and 6: 0 to 2, and 6 to 8.
    assert decay([0.9, 0.8, 0.7, 0.0, 0.0, 0.0, 0.3, 0.2, 0.1]) == pytest.approx(0.8 - 0.2)
    assert decay([0.5]) == 0
    assert decay([0.9, 0.4]) == pytest.approx(0.5)
