import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from plain_masks import plain_records

from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.interop.rle import common_area, decode_mask, mask_area
from sam2.sam2_image_predictor import SAM2ImagePredictor

KEYS = {"segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}
# what drops about half of the masks of random weights at each filter
LOOSE = {
    "points_per_side": 4,
    "pred_iou_thresh": 0.482,
    "stability_score_thresh": 0.7,
    "stability_score_offset": 0.02,
    "box_nms_thresh": 0.97,
}
EVERYTHING = {**LOOSE, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}


def iou(first: dict, second: dict) -> float:
    common = common_area(first, second)
    return common / max(1, mask_area(first) + mask_area(second) - common)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"box_nms_thresh": 0.9, "mask_threshold": 0.02, "stability_score_offset": 0.03, "stability_score_thresh": 0.5},
        {"multimask_output": False, "box_nms_thresh": 1.0, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.5},
        {"use_m2m": True, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.5},
        {"points_per_side": 2, "crop_n_layers": 2, "crop_nms_thresh": 0.95},
        {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2, "crop_overlap_ratio": 0.2, "crop_nms_thresh": 1.0},
        {"points_per_batch": 3},
    ],
    ids=["defaults", "thresholds", "single masks", "mask to mask", "crops", "coarse crops", "odd batches"],
)
def test_equals_the_plain_way(hiera_model, photo, options) -> None:
    generator = SAM2AutomaticMaskGenerator(hiera_model, **{**LOOSE, **options})

    got = generator.propose(photo)
    want = plain_records(hiera_model, photo, generator.settings)

    assert len(got) == len(want) > 0
    for proposal, record in zip(got, want, strict=True):
        assert proposal.predicted_iou == pytest.approx(record["iou"], abs=1e-4)
        assert proposal.stability_score == pytest.approx(record["stability"], abs=2e-3)
        assert iou(proposal.rle, record["rle"]) > 0.998
        assert np.abs(np.array(proposal.box) - record["box"].numpy()).max() <= 1
        assert proposal.point == pytest.approx(record["point"])
        assert list(proposal.crop_box) == record["crop"]


def test_records_agree_with_their_masks(image_model, photo) -> None:
    for record in SAM2AutomaticMaskGenerator(image_model, **EVERYTHING).generate(photo):
        mask = record["segmentation"]
        rows, columns = np.nonzero(mask)

        assert record.keys() == KEYS
        assert mask.dtype == bool
        assert mask.shape == photo.shape[:2]
        assert record["area"] == mask.sum() > 0
        # officially the last pixel minus the first
        corner, sides = [columns.min(), rows.min()], [np.ptp(columns), np.ptp(rows)]
        assert record["bbox"] == [*corner, *sides]
        assert record["crop_box"] == [0, 0, photo.shape[1], photo.shape[0]]


def test_output_modes_hold_the_same_masks(hiera_model, photo) -> None:
    masks, runs, strings = (
        [r["segmentation"] for r in SAM2AutomaticMaskGenerator(hiera_model, **LOOSE, output_mode=mode).generate(photo)]
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    )

    assert len(masks) > 0
    for mask, run, string in zip(masks, runs, strings, strict=True):
        assert isinstance(run["counts"], list)
        assert isinstance(string["counts"], str)
        assert np.array_equal(decode_mask(run), mask)
        assert np.array_equal(decode_mask(string), mask)


# ---------------------------------------------------------------- images of all kinds


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_blank_image_has_no_masks(nano, layers) -> None:
    generator = SAM2AutomaticMaskGenerator(nano, points_per_side=4, crop_n_layers=layers, pred_iou_thresh=0.99)

    assert generator.generate(np.zeros((90, 120, 3), np.uint8)) == []


@pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 200, 3), (200, 1, 3), (1, 1, 3), (61, 83), (61, 83, 4), (30, 500, 3)])
def test_any_shape(hiera_model, shape, layers, mode) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    generator = SAM2AutomaticMaskGenerator(
        hiera_model, **{**EVERYTHING, "points_per_side": 2}, crop_n_layers=layers, output_mode=mode
    )

    for record in generator.generate(image):
        segmentation = record["segmentation"]
        mask = segmentation if mode == "binary_mask" else decode_mask(segmentation)
        assert mask.shape == shape[:2]
        assert mask.sum() == record["area"]


def test_a_file_is_its_pixels(hiera_model, photo, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    generator = SAM2AutomaticMaskGenerator(hiera_model, **LOOSE, output_mode="coco_rle")

    assert generator.generate(tmp_path / "photo.png") == generator.generate(photo)


# ---------------------------------------------------------------- beyond the official options


def test_features_in_place_of_encoding(hiera_model, photo, monkeypatch) -> None:
    generator = SAM2AutomaticMaskGenerator(hiera_model, **LOOSE, output_mode="coco_rle")
    want = generator.generate(photo)
    features = SAM2ImagePredictor(hiera_model).encode(photo)
    monkeypatch.setattr(type(hiera_model), "encode_image", None)  # whoever encodes fails

    assert generator.generate(photo, features=features) == want
    assert generator.generate(None, features=features) == want


def test_features_of_another_image(hiera_model, photo) -> None:
    generator = SAM2AutomaticMaskGenerator(hiera_model, **LOOSE)
    features = SAM2ImagePredictor(hiera_model).encode(photo)

    with pytest.raises(ValueError, match=r"features are of an image of .*120, 160.*image has .*100, 160"):
        generator.generate(photo[:100], features=features)
    with pytest.raises(ValueError, match="image must be given"):
        generator.generate(None)
    with pytest.raises(ValueError, match="image must be given"):
        SAM2AutomaticMaskGenerator(hiera_model, **LOOSE, crop_n_layers=1).generate(None, features=features)


def test_max_masks_keeps_the_best(hiera_model, photo) -> None:
    all_of_them = SAM2AutomaticMaskGenerator(hiera_model, **EVERYTHING).propose(photo)
    few = SAM2AutomaticMaskGenerator(hiera_model, **EVERYTHING, max_masks=3).propose(photo)

    assert [p.predicted_iou for p in few] == sorted((p.predicted_iou for p in all_of_them), reverse=True)[:3]
    assert len(SAM2AutomaticMaskGenerator(hiera_model, **EVERYTHING, max_masks=10**6).propose(photo)) == len(
        all_of_them
    )


def test_mask_nms(hiera_model, photo) -> None:
    without = SAM2AutomaticMaskGenerator(hiera_model, **EVERYTHING).propose(photo)
    kept = SAM2AutomaticMaskGenerator(hiera_model, **EVERYTHING, mask_nms_thresh=0.6).propose(photo)

    overlaps = [iou(a.rle, b.rle) for i, a in enumerate(kept) for b in kept[:i]]
    assert 0 < len(kept) < len(without)
    assert max(overlaps, default=0) <= 0.6


def test_small_regions_count_pixels_of_the_image(hiera_model, photo) -> None:
    def regions(mask: np.ndarray) -> list[int]:
        from sam2.utils.masks import connected_components

        labels, areas = connected_components(torch.from_numpy(mask))
        return [int(areas[labels == label][0]) for label in range(1, int(labels.max()) + 1)]

    options = {**EVERYTHING, "points_per_side": 3}
    before = SAM2AutomaticMaskGenerator(hiera_model, **options).generate(photo)
    after = SAM2AutomaticMaskGenerator(hiera_model, **options, min_mask_region_area=40).generate(photo)

    assert min(min(regions(r["segmentation"])) for r in before) < 40
    assert after
    for record in after:
        islands, holes = regions(record["segmentation"]), regions(~record["segmentation"])
        assert len(islands) == 1 or min(islands) >= 40
        assert min(holes, default=40) >= 40
        assert record["area"] == record["segmentation"].sum()
        rows = np.flatnonzero(record["segmentation"].any(1))
        assert record["bbox"][1] == rows[0]
        assert record["bbox"][3] == rows[-1] - rows[0]


def test_progress_reaches_the_end(hiera_model, photo) -> None:
    calls = []
    SAM2AutomaticMaskGenerator(
        hiera_model, 4, points_per_batch=5, crop_n_layers=1, progress=lambda *call: calls.append(call)
    ).generate(photo)

    assert calls[-1] == (5 * 16, 5 * 16)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_points_as_arrays(hiera_model, photo) -> None:
    points = [[0.25, 0.5], [0.75, 0.5]]
    by_list = SAM2AutomaticMaskGenerator(
        hiera_model, **{**EVERYTHING, "points_per_side": None}, point_grids=[points]
    ).propose(photo)
    by_array = SAM2AutomaticMaskGenerator(
        hiera_model, **{**EVERYTHING, "points_per_side": None}, point_grids=np.array(points)
    ).propose(photo)

    assert {p.point for p in by_list} == {(40.0, 60.0), (120.0, 60.0)}
    assert [p.rle for p in by_list] == [p.rle for p in by_array]


def test_nano_finds_something_by_its_defaults_and_obeys_numbers(nano, photo_of_things) -> None:
    by_default = SAM2AutomaticMaskGenerator(nano, 6)
    by_number = SAM2AutomaticMaskGenerator(nano, 6, pred_iou_thresh=0.8, stability_score_thresh=0.95)

    assert by_default.settings.pred_iou_thresh == 0.5
    assert (by_number.settings.pred_iou_thresh, by_number.settings.stability_score_thresh) == (0.8, 0.95)
    assert len(by_default.propose(photo_of_things)) >= 1


def test_official_defaults_hold_for_other_models(hiera_model) -> None:
    settings = SAM2AutomaticMaskGenerator(hiera_model).settings

    assert (settings.pred_iou_thresh, settings.stability_score_thresh, settings.stability_score_offset) == (
        0.8,
        0.95,
        1,
    )
    assert [len(grid) for grid in settings.grids] == [1024]


def test_builders_arguments_are_ignored_with_a_warning(hiera_model) -> None:
    with pytest.warns(UserWarning, match="ignores vos_optimized"):
        SAM2AutomaticMaskGenerator(hiera_model, vos_optimized=True)


def test_from_pretrained() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = SAM2AutomaticMaskGenerator.from_pretrained("nano", points_per_side=2, device="cpu", dtype="float32")

    assert len(generator.settings.grids[0]) == 4
    assert next(generator.predictor.model.parameters()).dtype == torch.float32


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": None}, "exactly one of points_per_side and point_grids must be given, got none"),
        ({"point_grids": [[[0.5, 0.5]]]}, "exactly one .* got both"),
        ({"points_per_side": 0}, "points_per_side must be a whole number of at least 1, got 0"),
        ({"points_per_side": 2.5}, "points_per_side"),
        ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "points_per_side .* 4"),
        ({"points_per_side": None, "point_grids": [[[0.5, 1.5]]]}, r"point_grids\[0\] must hold .* in 0..1"),
        ({"points_per_side": None, "point_grids": [[[0.5, float("nan")]]]}, r"point_grids\[0\]"),
        ({"points_per_side": None, "point_grids": [[]]}, r"point_grids\[0\] must have shape"),
        ({"points_per_side": None, "point_grids": [["a"]]}, r"point_grids\[0\] must be numbers"),
        ({"points_per_side": None, "point_grids": [[[0.5, 0.5]]], "crop_n_layers": 1}, "point_grids must have 2 grids"),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"pred_iou_thresh": 1.5}, "pred_iou_thresh must be a number in 0..1, got 1.5"),
        ({"stability_score_thresh": float("nan")}, "stability_score_thresh"),
        ({"stability_score_offset": -1}, "stability_score_offset"),
        ({"mask_threshold": float("inf")}, "mask_threshold must be a number that is finite"),
        ({"box_nms_thresh": "0.7"}, "box_nms_thresh"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"crop_overlap_ratio": 2}, "crop_overlap_ratio"),
        ({"min_mask_region_area": -5}, "min_mask_region_area must be a number at least 0, got -5"),
        ({"output_mode": "png"}, "output_mode must be one of binary_mask, uncompressed_rle, coco_rle, got 'png'"),
        ({"max_masks": 0}, "max_masks"),
        ({"mask_nms_thresh": 7}, "mask_nms_thresh"),
    ],
)
def test_wrong_arguments(hiera_model, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        SAM2AutomaticMaskGenerator(hiera_model, **options)


def test_no_image(hiera_model, tmp_path) -> None:
    generator = SAM2AutomaticMaskGenerator(hiera_model, 2)

    with pytest.raises(FileNotFoundError, match=r"nothing\.jpg"):
        generator.generate(tmp_path / "nothing.jpg")
    with pytest.raises(ValueError, match="no pixels"):
        generator.generate(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(TypeError, match="image must be"):
        generator.generate(5)
