import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sam2.image import model_hash
from sam2.sam2_image_predictor import SAM2ImagePredictor

PROMPT = {"point_coords": np.array([[60.0, 50.0]]), "point_labels": np.array([1]), "return_logits": True}


@pytest.fixture
def saved(predictor, photo, tmp_path):
    predictor.set_image(photo)
    path = tmp_path / "features.safetensors"
    predictor.save_image_features(path)
    return path


def test_prediction_after_loading_is_bit_exact(predictor, saved, image_model) -> None:
    want = predictor.predict(**PROMPT)
    other = SAM2ImagePredictor(copy.deepcopy(image_model))

    other.load_image_features(str(saved))

    assert other._orig_hw == [(120, 160)]
    for got, expected in zip(other.predict(**PROMPT), want, strict=True):
        assert np.array_equal(got, expected)


def test_a_batch_stays_a_batch(predictor, photo, tmp_path) -> None:
    predictor.set_image_batch([photo, photo[:50]])
    predictor.save_image_features(tmp_path / "batch.safetensors")
    predictor.reset_predictor()

    predictor.load_image_features(tmp_path / "batch.safetensors")

    masks, _, _ = predictor.predict_batch(box_batch=[[0, 0, 50, 50], [0, 0, 50, 40]])
    assert [m.shape for m in masks] == [(3, 120, 160), (3, 50, 160)]


def test_bfloat16_features_stay_bfloat16(hiera_model, photo, tmp_path) -> None:
    predictor = SAM2ImagePredictor(copy.deepcopy(hiera_model).cast_(torch.bfloat16))
    predictor.set_image(photo)
    want = predictor.predict(**PROMPT)[0]
    predictor.save_image_features(tmp_path / "f.safetensors")

    predictor.load_image_features(tmp_path / "f.safetensors")

    assert predictor.get_image_features().embed.dtype == torch.bfloat16
    assert np.array_equal(predictor.predict(**PROMPT)[0], want)


def test_other_weights_are_refused_and_what_was_set_stays(predictor, saved, image_model) -> None:
    changed = copy.deepcopy(image_model)
    changed.sam_mask_decoder.iou_token.weight.data[0, 0] += 1e-3
    other = SAM2ImagePredictor(changed)

    with pytest.raises(ValueError, match=r"features\.safetensors was made by small .* with weights"):
        other.load_image_features(saved)
    assert not other._is_image_set


def test_another_size_is_refused(saved, image_model) -> None:
    larger = copy.deepcopy(image_model)
    larger.set_image_size(512)

    with pytest.raises(ValueError, match=r"at image_size 256, this is .* at 512"):
        SAM2ImagePredictor(larger).load_image_features(saved)


def test_bad_files_are_refused(predictor, saved, tmp_path) -> None:
    truncated, text, foreign, partial = (tmp_path / name for name in ("a", "b", "c", "d"))
    truncated.write_bytes(saved.read_bytes()[:5000])
    text.write_text("not features")
    save_file({"x": torch.zeros(1)}, foreign)
    tensors = load_file(saved)
    header = json.loads(saved.read_bytes()[8 : 8 + int.from_bytes(saved.read_bytes()[:8], "little")])
    save_file({"embed": tensors["embed"]}, partial, header["__metadata__"])

    for path, message in [
        (truncated, "complete"),
        (text, "complete"),
        (foreign, "no image features"),
        (partial, "complete"),
    ]:
        with pytest.raises(ValueError, match=message):
            predictor.load_image_features(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        predictor.load_image_features(tmp_path / "nowhere")


def test_a_failed_save_leaves_the_old_file(predictor, saved, monkeypatch) -> None:
    before = saved.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sam2.image.store.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        predictor.save_image_features(saved)

    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_hash_follows_the_weights(hiera_model) -> None:
    model = copy.deepcopy(hiera_model)
    first = model_hash(model)

    assert model_hash(model) == first == model_hash(hiera_model)
    with torch.no_grad():
        model.image_encoder.trunk.blocks[0].attn.qkv.weight[0, 0] += 1e-6
    changed = model_hash(model)
    assert changed != first
    model.load_state_dict(hiera_model.state_dict())
    assert model_hash(model) == first
    assert model_hash(model.cast_(torch.bfloat16)) != first
