import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2.interop.rle import (
    common_area,
    decode_mask,
    encode_mask,
    mask_area,
    mask_edges,
    mask_to_runs,
    runs_to_string,
    string_to_runs,
    window_to_runs,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
run_lists = st.lists(st.integers(0, 2**40), max_size=40)


def adversarial() -> dict[str, np.ndarray]:
    """Masks whose runs are very short, very long, or begin and end in odd places."""
    checks = np.indices((37, 41)).sum(0) % 2 == 0
    long = np.zeros((3000, 700), bool)
    long[-1, -1] = True  # a run of 2,099,999: five characters
    jumps = np.zeros((2048, 64), bool)
    jumps[::512] = jumps[1::512] = True  # differences of both signs, of several characters
    jumps[:, 20:40] ^= True
    thirds = np.arange(33 * 35).reshape(35, 33).T % 33 % 3 == 0
    return {
        "empty": np.zeros((37, 41), bool),
        "full": np.ones((37, 41), bool),
        "one pixel": np.ones((1, 1), bool),
        "no pixel of one": np.zeros((1, 1), bool),
        "one row": np.arange(301)[None] % 5 < 2,
        "one column": np.arange(301)[:, None] % 5 < 2,
        "full row": np.ones((1, 301), bool),
        "full column": np.ones((301, 1), bool),
        "checkerboard": checks,
        "inverted checkerboard": ~checks,
        "stripes along columns": np.indices((37, 41))[1] % 2 == 0,
        "stripes along rows": np.indices((37, 41))[0] % 2 == 0,
        "long runs": long,
        "inverted long runs": ~long,
        "jumps": jumps,
        "runs that end with their column": thirds,
        "first pixel": np.eye(50, 60, dtype=bool) & (np.arange(60) == 0),
        "frame": np.pad(np.zeros((30, 31), bool), 3, constant_values=True),
    }


def slow_runs(mask: np.ndarray) -> list[int]:
    runs, value, length = [], False, 0
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if mask[y, x] == value:
                length += 1
            else:
                runs.append(length)
                value, length = not value, 1
    return [*runs, length]


def slow_string(runs: list[int]) -> str:
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group, number = number & 31, number >> 5
            more = number != -1 if group & 16 else number != 0
            text += chr(48 + group + 32 * more)
    return text


def edges_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@st.composite
def run_masks(draw: st.DrawFn) -> np.ndarray:
    """Masks of runs of 1 to 5,000 pixels each."""
    lengths = draw(st.lists(st.one_of(st.integers(1, 4), st.integers(5, 5000)), min_size=1, max_size=30))
    height = draw(st.integers(1, 60))
    line = np.repeat(np.arange(len(lengths)) % 2 == draw(st.integers(0, 1)), lengths)
    width = -(-len(line) // height)
    return np.resize(line, width * height).reshape(width, height).T


@given(masks)
@settings(max_examples=200, deadline=None)
def test_runs_are_those_of_a_walk(mask) -> None:
    assert mask_to_runs(mask).tolist() == slow_runs(mask)


@given(run_lists)
@settings(max_examples=200, deadline=None)
def test_strings_are_those_of_a_loop_and_come_back(runs) -> None:
    text = runs_to_string(np.array(runs, np.int64))

    assert text == slow_string(runs)
    assert string_to_runs(text).tolist() == runs
    assert string_to_runs(text.encode()).tolist() == runs


@given(masks, st.booleans())
@settings(max_examples=200, deadline=None)
def test_masks_come_back(mask, compress) -> None:
    rle = encode_mask(mask, compress=compress)

    assert np.array_equal(decode_mask(rle), mask)
    assert mask_area(rle) == mask.sum()
    assert rle["size"] == list(mask.shape)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_bits_are_those_of_pycocotools(mask) -> None:
    reference = pytest.importorskip("pycocotools.mask")
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))

    assert encode_mask(mask)["counts"].encode() == theirs["counts"]
    assert np.array_equal(decode_mask(theirs), mask)


@pytest.mark.parametrize("name", adversarial())
def test_adversarial_masks_are_those_of_pycocotools(name) -> None:
    reference = pytest.importorskip("pycocotools.mask")
    mask = adversarial()[name]
    theirs, ours = reference.encode(np.asfortranarray(mask.astype(np.uint8))), encode_mask(mask)

    assert ours["counts"].encode() == theirs["counts"]
    assert ours["size"] == theirs["size"]
    assert np.array_equal(decode_mask(theirs), mask)
    assert np.array_equal(reference.decode({**ours, "counts": ours["counts"].encode()}).astype(bool), mask)
    assert mask_area(ours) == reference.area(theirs)


@given(run_masks())
@settings(max_examples=200, deadline=None)
def test_masks_made_of_runs_are_those_of_pycocotools(mask) -> None:
    """Runs of very different lengths, whose differences take one character or several."""
    reference = pytest.importorskip("pycocotools.mask")
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))

    assert encode_mask(mask)["counts"].encode() == theirs["counts"]
    assert np.array_equal(decode_mask(theirs), mask)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_common_pixels_are_counted(data) -> None:
    first = data.draw(masks)
    second = data.draw(hnp.arrays(bool, first.shape))

    assert common_area(encode_mask(first), encode_mask(second)) == (first & second).sum()
    assert common_area(encode_mask(first, compress=False), encode_mask(~first)) == 0


def test_masks_of_different_sizes_have_nothing_in_common() -> None:
    with pytest.raises(ValueError, match="one size"):
        common_area(encode_mask(np.ones((2, 3), bool)), encode_mask(np.ones((3, 2), bool)))


@given(masks, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_a_window_has_the_runs_of_the_mask_around_it(window, left, top, right, bottom) -> None:
    mask = np.pad(window, ((top, bottom), (left, right)))

    assert window_to_runs(window.T, (left, top), mask.shape).tolist() == mask_to_runs(mask).tolist()


def test_windows_that_reach_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        window_to_runs(np.ones((3, 2), bool), (4, 0), (5, 6))


@given(masks)
@settings(max_examples=200, deadline=None)
def test_edges_are_those_of_the_set_pixels(mask) -> None:
    assert mask_edges(encode_mask(mask)) == edges_of(mask)


@pytest.mark.parametrize("name", adversarial())
def test_edges_of_adversarial_masks(name) -> None:
    mask = adversarial()[name]

    assert mask_edges(encode_mask(mask)) == edges_of(mask)
    assert mask_edges(encode_mask(mask, compress=False)) == edges_of(mask)


def test_a_large_mask_agrees_with_pycocotools() -> None:
    reference = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).random((700, 900)) < 0.5
    mask[:, 300:600] = True

    assert encode_mask(mask)["counts"].encode() == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def test_other_types_count_as_true_where_not_zero() -> None:
    mask = np.array([[0, 200], [0.0, 0.5]])

    assert encode_mask(mask) == encode_mask(mask != 0)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty_masks(shape) -> None:
    assert decode_mask(encode_mask(np.zeros(shape, bool))).shape == shape


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": "4"}, "size"),
        ({"size": [2], "counts": "4"}, "size"),
        ({"size": [2, 2]}, "counts"),
        ({"size": [2, 2], "counts": [3]}, "expected 2 x 2"),
        ({"size": [2, 2], "counts": [6, -2]}, "expected 2 x 2"),
        ({"size": [2, 2], "counts": "\x1f"}, "alphabet"),
        ({"size": [2, 2], "counts": "ü"}, "alphabet"),
        ({"size": [2, 2], "counts": "d"}, "within a number"),
        ({"size": [2, 2], "counts": "o" * 20 + "0"}, "64 bits"),
    ],
)
def test_damaged_encodings_are_refused(rle, message) -> None:
    with pytest.raises(ValueError, match=message):
        decode_mask(rle)


def test_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        encode_mask(np.zeros((1, 2, 2), bool))
