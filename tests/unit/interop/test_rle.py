import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2.interop.rle import decode_mask, encode_mask, mask_area, mask_to_runs, runs_to_string, string_to_runs

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
run_lists = st.lists(st.integers(0, 2**40), max_size=40)


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
