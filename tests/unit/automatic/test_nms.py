import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_masks import greedy_nms

from sam2.automatic.nms import box_nms, mask_iou, mask_nms
from sam2.interop.rle import encode_mask

corner = st.integers(0, 12)
boxes_of = st.lists(st.tuples(corner, corner, corner, corner, st.integers(0, 5)), max_size=14)


@given(boxes_of, st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_boxes_by_definition(rows, threshold) -> None:
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _ in rows], np.float32).reshape(
        -1, 4
    )
    scores = np.array([row[4] for row in rows], np.float32)  # with ties, of which the first is the better

    kept = box_nms(boxes, scores, threshold)

    assert kept.tolist() == greedy_nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)


@given(st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 3)), max_size=10), st.sampled_from([0.0, 0.4, 0.8]))
def test_masks_by_definition(rows, threshold) -> None:
    masks = [np.array([(bits >> i) & 1 for i in range(16)], bool).reshape(4, 4) for bits, _ in rows]
    scores = np.array([score for _, score in rows], np.float32)

    kept = mask_nms([encode_mask(mask) for mask in masks], scores, threshold)

    want: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        overlaps = [(masks[row] & masks[other]).sum() / max(1, (masks[row] | masks[other]).sum()) for other in want]
        if not any(overlap > threshold for overlap in overlaps):
            want.append(int(row))
    assert kept.tolist() == want


def test_iou_of_masks() -> None:
    mask = np.zeros((6, 5), bool)
    mask[1:4, 1:4] = True
    half = mask.copy()
    half[2:] = False

    assert mask_iou(encode_mask(mask), encode_mask(half)) == 3 / 9
    assert mask_iou(encode_mask(mask * False), encode_mask(mask * False)) == 0


def test_thousands_of_boxes_in_no_time() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1000, (12_000, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(1, 60, (12_000, 2))), 1).astype(np.float32)

    kept = box_nms(boxes, rng.random(12_000).astype(np.float32), 0.5)

    assert 1000 < len(kept) < 12_000
