import copy
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from sam2.image import EncodedImages
from sam2.sam2_image_predictor import SAM2ImagePredictor

POINT = {"point_coords": np.array([[80.0, 60.0]]), "point_labels": np.array([1])}
BOX = np.array([50.0, 30.0, 110.0, 90.0])
BOXES = np.array([BOX, [0.0, 0.0, 60.0, 50.0], [10.0, 10.0, 150.0, 110.0]])


@pytest.fixture
def ready(predictor, photo) -> SAM2ImagePredictor:
    predictor.set_image(photo)
    return predictor


# ---------------------------------------------------------------- official behaviour


def test_shapes_and_types(ready) -> None:
    for prompt, multimask, lead in [
        (POINT, True, (3,)),
        (POINT, False, (1,)),
        ({"box": BOX}, True, (3,)),
        ({"box": BOXES}, True, (3, 3)),
        ({"box": BOXES}, False, (3, 1)),
        ({"box": BOXES[:1]}, False, (1,)),
    ]:
        masks, ious, low_res = ready.predict(**prompt, multimask_output=multimask)
        assert masks.shape == (*lead, 120, 160)
        assert ious.shape == lead
        assert low_res.shape == (*lead, 64, 64)
        assert masks.dtype == ious.dtype == low_res.dtype == np.float32
        assert set(np.unique(masks)) <= {0.0, 1.0}
        assert np.abs(low_res).max() <= 32


def test_logits_have_the_masks_as_their_sign(ready) -> None:
    masks, _, _ = ready.predict(**POINT)
    logits, _, _ = ready.predict(**POINT, return_logits=True)

    assert np.array_equal(masks > 0, logits > 0)
    assert 0 < masks.mean() < 1


def test_unit_coordinates_equal_pixels(ready) -> None:
    unit = POINT["point_coords"] / [160, 120]

    by_pixels = ready.predict(**POINT, return_logits=True)[0]
    by_unit = ready.predict(unit, POINT["point_labels"], return_logits=True, normalize_coords=False)[0]

    np.testing.assert_allclose(by_unit, by_pixels, atol=1e-3)


def test_a_box_equals_its_corners_labelled_2_and_3(ready) -> None:
    by_box = ready.predict(box=BOX, return_logits=True)[0]
    by_points = ready.predict(BOX.reshape(2, 2), np.array([2, 3]), return_logits=True)[0]

    np.testing.assert_allclose(by_points, by_box, atol=1e-4)


def test_one_set_of_points_holds_for_every_box(ready) -> None:
    together = ready.predict(box=BOXES, **POINT, multimask_output=False, return_logits=True)[0]

    for row, box in enumerate(BOXES):
        alone = ready.predict(box=box, **POINT, multimask_output=False, return_logits=True)[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-3)


def test_the_previous_mask_refines(ready) -> None:
    _, _, low_res = ready.predict(**POINT, multimask_output=False)

    refined = ready.predict(**POINT, mask_input=low_res, multimask_output=False, return_logits=True)[0]

    assert refined.shape == (1, 120, 160)
    assert not np.array_equal(refined, ready.predict(**POINT, multimask_output=False, return_logits=True)[0])
    assert ready.predict(mask_input=low_res)[0].shape == (3, 120, 160)


def test_predict_equals_its_private_halves(ready) -> None:
    want = ready.predict(**POINT, box=BOX, return_logits=True)
    mask, points, labels, boxes = ready._prep_prompts(
        POINT["point_coords"], POINT["point_labels"], BOX, None, normalize_coords=True
    )

    got = ready._predict(points, labels, boxes, mask, return_logits=True)

    assert mask is None
    assert (points.shape, labels.shape, boxes.shape) == ((1, 1, 2), (1, 1), (1, 2, 2))
    for ours, theirs in zip(got, want, strict=True):
        assert np.array_equal(ours[0].numpy(), theirs)
    assert ready._predict(points, labels)[0].dtype == torch.bool


def test_private_names_that_people_read(ready) -> None:
    features = ready._features

    assert features["image_embed"].shape == (1, 64, 16, 16)
    assert [tuple(x.shape) for x in features["high_res_feats"]] == [(1, 8, 64, 64), (1, 16, 32, 32)]
    assert ready._orig_hw == [(120, 160)]
    assert ready._bb_feat_sizes == [(64, 64), (32, 32), (16, 16)]
    assert ready._is_image_set
    assert not ready._is_batch
    assert ready._transforms.resolution == 256
    assert ready.device == torch.device("cpu")
    assert torch.equal(ready.get_image_embedding(), features["image_embed"])


def test_features_restored_by_hand_predict_alike(ready, image_model) -> None:
    """What people do to keep embeddings: they copy the private attributes."""
    other = SAM2ImagePredictor(image_model)
    other._features, other._orig_hw = copy.deepcopy(ready._features), list(ready._orig_hw)
    other._is_image_set = True

    assert np.array_equal(other.predict(**POINT, return_logits=True)[0], ready.predict(**POINT, return_logits=True)[0])


def test_threshold_holes_and_sprinkles_are_options(image_model, photo) -> None:
    plain, strict, cleaned = (
        SAM2ImagePredictor(image_model),
        SAM2ImagePredictor(image_model, mask_threshold=1.0),
        SAM2ImagePredictor(image_model, max_hole_area=40, max_sprinkle_area=40),
    )
    for predictor in (plain, strict, cleaned):
        predictor.set_image(photo)
    logits = plain.predict(**POINT, return_logits=True)[0]

    assert np.array_equal(strict.predict(**POINT)[0] > 0, logits > 1.0)
    assert not np.array_equal(cleaned.predict(**POINT, return_logits=True)[0], logits)
    assert np.array_equal(cleaned.predict(**POINT)[2], plain.predict(**POINT)[2])


# ---------------------------------------------------------------- images


def test_kinds_of_images_agree(predictor, photo, tmp_path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    predictor.set_image(photo)
    want = predictor.predict(**POINT, return_logits=True)[0]

    for form in (Image.fromarray(photo), path, str(path), torch.from_numpy(photo).permute(2, 0, 1), photo / 255):
        predictor.set_image(form)
        assert np.array_equal(predictor.predict(**POINT, return_logits=True)[0], want)


def test_a_bad_image_leaves_the_previous_one(ready, photo, tmp_path) -> None:
    want = ready.predict(**POINT, return_logits=True)[0]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")

    for bad in (broken, photo * np.nan, photo[:0], 3):
        with pytest.raises((ValueError, TypeError)):
            ready.set_image(bad)
        with pytest.raises((ValueError, TypeError)):
            ready.set_image_batch([photo, bad])
    with pytest.raises(TypeError, match="image_list"):
        ready.set_image_batch(photo)

    assert np.array_equal(ready.predict(**POINT, return_logits=True)[0], want)


def test_without_an_image_nothing_is_predicted(predictor, photo) -> None:
    calls = [
        lambda: predictor.predict(**POINT),
        lambda: predictor.predict_batch(),
        lambda: predictor._prep_prompts(None, None, BOX, None, True),
        predictor.get_image_embedding,
        predictor.get_image_features,
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="set_image"):
            call()
    predictor.set_image(photo)
    predictor.reset_predictor()
    assert predictor._features is None
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(**POINT)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"point_coords": [[np.nan, 1]], "point_labels": [1]}, "point_coords must be finite"),
        ({"point_coords": [[1, 1]]}, "point_labels must be given"),
        ({"point_coords": [[1, 1]], "point_labels": [7]}, "point_labels must be 1"),
        ({"box": [50, 0, 10, 10]}, "box must be"),
        ({"box": [[0, 0, 1]]}, "box must have shape"),
        ({"mask_input": np.zeros((3, 64, 64))}, "mask_input must have shape"),
        ({}, "a prompt is needed"),
    ],
)
def test_bad_prompts_are_refused(ready, prompt, message) -> None:
    with pytest.raises(ValueError, match=message):
        ready.predict(**prompt)


# ---------------------------------------------------------------- batches


def test_a_ragged_batch_equals_images_one_by_one(predictor, photo) -> None:
    images = [photo, photo[:70, :90], Image.fromarray(photo[:, ::-1].copy())]
    points = [POINT["point_coords"], None, np.array([[10.0, 20.0], [60.0, 30.0]])]
    labels = [np.array([1]), None, np.array([1, 0])]
    boxes = [None, BOXES[:2] / 2, BOX]
    predictor.set_image_batch(images)
    batch = predictor.predict_batch(points, labels, boxes, return_logits=True)

    assert predictor._is_batch
    assert predictor._orig_hw == [(120, 160), (70, 90), (120, 160)]
    for i, image in enumerate(images):
        predictor.set_image(image)
        want = predictor.predict(points[i], labels[i], boxes[i], return_logits=True)
        for got, expected in zip((column[i] for column in batch), want, strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-4)


def test_predict_on_a_batch_is_about_its_last_image(predictor, photo) -> None:
    predictor.set_image_batch([photo[:50], photo])

    assert predictor.predict(**POINT)[0].shape == (3, 120, 160)
    _, points, labels, _ = predictor._prep_prompts(*POINT.values(), None, None, True, img_idx=0)
    assert predictor._predict(points, labels, img_idx=0)[0].shape == (1, 3, 50, 160)


def test_batches_are_checked(predictor, photo) -> None:
    predictor.set_image(photo)
    with pytest.raises(RuntimeError, match="set_image_batch"):
        predictor.predict_batch(box_batch=[BOX])
    predictor.set_image_batch([photo, photo])
    with pytest.raises(ValueError, match="box_batch must have 2 entries"):
        predictor.predict_batch(box_batch=[BOX])
    with pytest.raises(ValueError, match=r"prompts\[1\]: a prompt is needed"):
        predictor.predict_batch(box_batch=[BOX, None])


def test_images_without_detections_have_no_masks(predictor, photo) -> None:
    predictor.set_image_batch([photo, photo])

    masks, ious, low_res = predictor.predict_batch(box_batch=[np.zeros((0, 4)), BOXES], multimask_output=False)

    assert [m.shape for m in masks] == [(0, 1, 120, 160), (3, 1, 120, 160)]
    assert [x.shape for x in ious] == [(0, 1), (3, 1)]
    assert low_res[0].shape == (0, 1, 64, 64)


# ---------------------------------------------------------------- features


def test_features_move_between_predictors(ready, image_model) -> None:
    features = ready.get_image_features()
    other = SAM2ImagePredictor(image_model)

    other.set_image_features(features)

    assert isinstance(features, EncodedImages)
    assert np.array_equal(other.predict(**POINT)[2], ready.predict(**POINT)[2])
    assert torch.equal(ready.encode(Image.new("RGB", (9, 9))).embed, ready.encode(Image.new("RGB", (9, 9))).embed)


# ---------------------------------------------------------------- precision, autocast, gradients


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [None, "cpu"])
def test_outputs_are_float32_in_any_precision(image_model, photo, weights, autocast) -> None:
    reference = SAM2ImagePredictor(image_model)
    reference.set_image(photo)
    want = reference.predict(**POINT, return_logits=True)
    predictor = SAM2ImagePredictor(copy.deepcopy(image_model).cast_(weights))

    with torch.inference_mode(), torch.autocast(autocast or "cpu", torch.bfloat16, enabled=autocast is not None):
        predictor.set_image(photo)
        inside = predictor.predict(**POINT, return_logits=True)
    outside = predictor.predict(**POINT, return_logits=True)

    for got in (inside, outside):
        assert all(x.dtype == np.float32 for x in got)
        assert np.mean((got[0] > 0) == (want[0] > 0)) > 0.95


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_the_official_snippet_runs_without_cuda(hiera_model, photo) -> None:
    predictor = SAM2ImagePredictor(hiera_model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
            predictor.set_image(photo)
            masks, _, _ = predictor.predict(**POINT)

    assert masks.shape == (3, 120, 160)
    assert len(caught) == 1


def test_the_community_fine_tuning_step(hiera_model, photo) -> None:
    predictor = SAM2ImagePredictor(copy.deepcopy(hiera_model))
    with torch.inference_mode():  # an inference first must leave nothing behind that gradients trip over
        predictor.set_image(photo)
        predictor.predict(**POINT)
    model = predictor.model
    optimizer = torch.optim.AdamW([*model.sam_mask_decoder.parameters(), *model.sam_prompt_encoder.parameters()], 1e-3)
    truth = torch.zeros(1, 120, 160)
    truth[:, 30:90, 50:110] = 1
    losses = []
    for _ in range(6):
        predictor.set_image(photo)
        _, coords, labels, _ = predictor._prep_prompts(
            np.array([[[80.0, 60.0]]]), np.array([[1]]), box=None, mask_logits=None, normalize_coords=True
        )
        sparse, dense = model.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=None)
        low_res, scores, _, _ = model.sam_mask_decoder(
            image_embeddings=predictor._features["image_embed"][-1].unsqueeze(0),
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,
            high_res_features=[level[-1].unsqueeze(0) for level in predictor._features["high_res_feats"]],
        )
        logits = predictor._transforms.postprocess_masks(low_res, predictor._orig_hw[-1])
        loss = (
            torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], truth)
            + (scores[:, 0] - 0.9).abs().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0]
    assert model.sam_prompt_encoder.point_embeddings[1].weight.grad.abs().sum() > 0
    assert model.no_mem_embed.grad is None


# ---------------------------------------------------------------- construction


def test_options_it_does_not_know_are_named(hiera_model) -> None:
    with pytest.warns(UserWarning, match="max_hole_aera"):
        SAM2ImagePredictor(hiera_model, max_hole_aera=8)


def test_from_pretrained_splits_its_options(hiera_model, monkeypatch) -> None:
    import sam2.build_sam

    seen = {}

    def load_pretrained(model_id: str, **options: object) -> object:
        seen.update(options, model_id=model_id)
        return hiera_model

    monkeypatch.setattr(sam2.build_sam, "load_pretrained", load_pretrained, raising=False)

    predictor = SAM2ImagePredictor.from_pretrained("nano", device="cpu", mask_threshold=0.5, max_hole_area=8)

    assert seen == {"model_id": "nano", "device": "cpu"}
    assert predictor.mask_threshold == 0.5
    assert predictor._transforms.max_hole_area == 8
