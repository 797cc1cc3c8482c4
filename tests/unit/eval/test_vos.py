"""Scoring a tracker on folders in the layout of DAVIS."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sam2.eval import vos
from sam2.eval.vos import evaluate_vos, open_vos, read_labels

SIZE = (48, 64)


def square(x, y=10, side=12):
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def write_clip(root, name, masks, *, every=1, palette=False):
    """Black frames with ``masks`` (of one or several objects) as label images, of every ``every``-th frame."""
    frames, labels = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
    frames.mkdir(parents=True)
    labels.mkdir(parents=True)
    for t, objects in enumerate(masks):
        cv2.imwrite(str(frames / f"{t:05d}.jpg"), np.zeros((*SIZE, 3), np.uint8))
        if t % every:
            continue
        image = np.zeros(SIZE, np.uint8)
        for number, mask in enumerate(objects, start=1):
            image[mask] = number if palette else 255
        shown = Image.fromarray(image)
        if palette:
            shown.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        shown.save(labels / f"{t:05d}.png")


class CopyingSession:
    """Gives the prompted masks back on every frame."""

    def __init__(self, model, frames):
        self.frames, self.masks = frames, {}

    def add_mask(self, frame_idx, obj_id, mask):
        self.first, self.masks[obj_id] = frame_idx, torch.from_numpy(mask)

    def propagate(self, *, num_frames):
        for number in range(num_frames):
            yield Result(self.first + number, self.masks)


class Result:
    def __init__(self, frame_idx, masks):
        self.frame_idx, self.masks = frame_idx, masks

    def mask(self, obj_id):
        return self.masks[obj_id]


@pytest.fixture
def copying(monkeypatch):
    monkeypatch.setattr(vos, "VideoSession", CopyingSession)
    return torch.nn.Identity()


def test_all_frames_count_but_the_first_and_the_last(copying, tmp_path):
    # The square moves by a quarter of its side on frame 2, and far away on the last frame, which does not count.
    write_clip(tmp_path, "a", [[square(10)], [square(10)], [square(13)], [square(45)]])
    (score,) = evaluate_vos(copying, tmp_path).objects
    assert (score.clip, score.obj_id, score.frames) == ("a", 255, 2)
    assert score.j == pytest.approx((1 + 9 / 15) / 2)
    assert score.j_and_f == pytest.approx((score.j + score.f) / 2)


def test_objects_and_clips_are_averaged(copying, tmp_path):
    write_clip(tmp_path, "b", [[square(5), square(40)], [square(5), square(25)], [square(5), square(5)]], palette=True)
    write_clip(tmp_path, "a", [[square(5)]] * 3)
    told = []
    scores = evaluate_vos(copying, tmp_path, progress=lambda *report: told.append(report))
    assert [(s.clip, s.obj_id, s.j) for s in scores.objects] == [("a", 255, 1), ("b", 1, 1), ("b", 2, 0)]
    assert scores.j == pytest.approx(2 / 3)
    assert scores.j_and_f == pytest.approx((scores.j + scores.f) / 2)
    assert told == [("a", 1, 2), ("a", 2, 2), ("b", 1, 2), ("b", 2, 2)]
    assert [s.clip for s in evaluate_vos(copying, tmp_path, clips=["a"]).objects] == ["a"]


def test_frames_without_a_label_image_do_not_count(copying, tmp_path):
    write_clip(tmp_path, "a", [[square(10)]] * 9, every=4)
    (score,) = evaluate_vos(copying, tmp_path).objects
    assert (score.frames, score.j) == (1, 1)


def test_the_model_is_in_the_mode_that_it_was_in(copying, tmp_path):
    write_clip(tmp_path, "a", [[square(10)]] * 3)
    evaluate_vos(copying.train(), tmp_path)
    assert copying.training


def test_grey_255_is_an_object_and_with_a_palette_it_is_void(tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    labels[0], labels[1] = 1, 255
    grey = Image.fromarray(labels)
    grey.save(tmp_path / "grey.png")
    grey.putpalette([0, 0, 0, 128, 0, 0])
    grey.save(tmp_path / "palette.png")
    assert np.unique(read_labels(tmp_path / "grey.png")).tolist() == [0, 1, 255]
    assert np.unique(read_labels(tmp_path / "palette.png")).tolist() == [0, 1]


def test_what_cannot_be_scored(copying, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no clips in the layout of DAVIS"):
        open_vos(tmp_path)
    write_clip(tmp_path, "a", [[square(10)]] * 2)
    with pytest.raises(ValueError, match=r"no clip 'b' in .*: there are a"):
        open_vos(tmp_path, clips=["b"])
    with pytest.raises(ValueError, match="a: needs an object in its first annotation and at least 3"):
        evaluate_vos(copying, tmp_path)
