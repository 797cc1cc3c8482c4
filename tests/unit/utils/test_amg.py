import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from sam2.utils.amg import (
    MaskData,
    area_from_rle,
    batch_iterator,
    batched_mask_to_box,
    box_xyxy_to_xywh,
    build_all_layer_point_grids,
    build_point_grid,
    calculate_stability_score,
    coco_encode_rle,
    generate_crop_boxes,
    is_box_near_crop_edge,
    mask_to_rle_pytorch,
    remove_small_regions,
    rle_to_mask,
    uncrop_boxes_xyxy,
    uncrop_masks,
    uncrop_points,
)


def test_point_grid_is_cell_centres_row_by_row() -> None:
    assert build_point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    with pytest.raises(ValueError, match="n_per_side"):
        build_point_grid(0)


def test_grids_of_layers() -> None:
    assert [len(grid) for grid in build_all_layer_point_grids(8, 2, 2)] == [64, 16, 4]
    assert [len(grid) for grid in build_all_layer_point_grids(3, 1, 1)] == [9, 9]


def test_crop_boxes_cover_the_image_and_overlap() -> None:
    boxes, layers = generate_crop_boxes((240, 320), 2, 512 / 1500)

    assert boxes[0] == [0, 0, 320, 240]
    assert layers == [0] + [1] * 4 + [2] * 16
    # 81 pixels are 512 / 1500 of the short side: crops of 201 x 161 that share as much
    assert boxes[1:5] == [[0, 0, 201, 161], [0, 80, 201, 240], [120, 0, 320, 161], [120, 80, 320, 240]]
    for layer in (1, 2):
        covered = np.zeros((240, 320), bool)
        for box, of in zip(boxes, layers, strict=True):
            if of == layer:
                covered[box[1] : box[3], box[0] : box[2]] = True
        assert covered.all()


def test_boxes_cut_by_a_crop() -> None:
    crop, whole = [100, 0, 300, 200], [0, 0, 300, 400]
    boxes = torch.tensor(
        [
            [50.0, 50, 150, 150],  # in the middle
            [10, 50, 150, 150],  # ends near the crop's left edge
            [50, 0, 150, 150],  # the crop's upper edge is the image's
            [50, 50, 199, 150],  # and so is its right one
            [50, 50, 150, 195],  # its lower one is not
        ]
    )

    assert is_box_near_crop_edge(boxes, crop, whole).tolist() == [False, True, False, False, True]


def test_back_to_the_image() -> None:
    crop = [3, 2, 7, 5]

    assert uncrop_boxes_xyxy(torch.tensor([[0, 0, 2, 1]]), crop).tolist() == [[3, 2, 5, 3]]
    assert uncrop_points(torch.tensor([[1.5, 0.0]]), crop).tolist() == [[4.5, 2]]
    masks = uncrop_masks(torch.ones(2, 3, 4, dtype=torch.bool), crop, 6, 9)
    assert masks.shape == (2, 6, 9)
    assert masks.nonzero().min(0).values.tolist() == [0, 2, 3]
    assert masks.sum() == 24


def test_boxes_of_masks() -> None:
    masks = torch.zeros(3, 5, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4, 5] = True

    assert batched_mask_to_box(masks).tolist() == [[2, 1, 4, 2], [5, 4, 5, 4], [0, 0, 0, 0]]
    assert batched_mask_to_box(masks[None]).shape == (1, 3, 4)
    assert batched_mask_to_box(masks[:0]).shape == (0, 4)
    boxes = np.array([[2, 1, 4, 2]])
    assert box_xyxy_to_xywh(boxes).tolist() == [[2, 1, 2, 1]]
    assert boxes.tolist() == [[2, 1, 4, 2]]  # not changed


def test_stability() -> None:
    logits = torch.tensor([[[-3.0, -0.5, 0.5, 3.0]], [[-3.0, -3.0, -3.0, -3.0]]])

    scores = calculate_stability_score(logits, 0.0, 1.0)

    assert scores[0] == pytest.approx(1 / 3)
    assert scores[1].isnan()


def test_small_regions() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5:7, 5:7] = False  # a hole of 4
    mask[15:17, 15:18] = True  # an island of 6

    filled, changed = remove_small_regions(mask, 5, "holes")
    assert changed
    assert filled[5, 5]
    assert filled.sum() == mask.sum() + 4
    alone, changed = remove_small_regions(mask, 7, "islands")
    assert changed
    assert not alone[15:, 15:].any()
    assert alone.sum() == mask.sum() - 6
    assert remove_small_regions(mask, 4, "holes") == (mask, False) or not remove_small_regions(mask, 4, "holes")[1]
    largest, _ = remove_small_regions(mask, 1000, "islands")
    assert largest.sum() == 96  # if all are small, the largest stays
    with pytest.raises(ValueError, match="mode"):
        remove_small_regions(mask, 5, "specks")


def test_run_lengths() -> None:
    masks = torch.rand(4, 7, 9, generator=torch.Generator().manual_seed(0)) > 0.4
    masks[1] = True
    masks[2] = False

    for mask, rle in zip(masks.numpy(), mask_to_rle_pytorch(masks), strict=True):
        assert rle["counts"][0] == 0 or not mask[0, 0]
        assert np.array_equal(rle_to_mask(rle), mask)
        assert area_from_rle(rle) == mask.sum()
        encoded = coco_encode_rle(rle)
        reference = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert encoded == {"size": [7, 9], "counts": reference["counts"].decode()}


def test_batches() -> None:
    assert list(batch_iterator(2, [1, 2, 3], "abc")) == [[[1, 2], "ab"], [[3], "c"]]
    with pytest.raises(ValueError, match="one length"):
        list(batch_iterator(2, [1], [1, 2]))


def test_mask_data() -> None:
    data = MaskData(boxes=torch.arange(6).view(3, 2), names=["a", "b", "c"], scores=np.array([1.0, 2.0, 3.0]))

    data.filter(torch.tensor([True, False, True]))
    assert data["boxes"].tolist() == [[0, 1], [4, 5]]
    assert data["names"] == ["a", "c"]
    data.filter(torch.tensor([1, 0]))
    assert data["names"] == ["c", "a"]
    assert data["scores"].tolist() == [3.0, 1.0]
    data.cat(MaskData(boxes=torch.tensor([[9, 9]]), names=["d"], scores=np.array([4.0])))
    assert data["boxes"].tolist()[-1] == [9, 9]
    assert len(data["names"]) == 3
    assert data["scores"][-1] == 4
    data.to_numpy()
    assert isinstance(data["boxes"], np.ndarray)
    assert data["boxes"].dtype == np.int64
    del data["names"]
    assert sorted(key for key, _ in data.items()) == ["boxes", "scores"]
    empty = MaskData()
    empty.cat(data)
    assert empty["scores"].tolist() == data["scores"].tolist()
    with pytest.raises(TypeError, match="names must be"):
        data["names"] = 3
