"""Scoring a tracker on folders: which frames count, who is prompted where, and what is written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vos_folders import PALETTE, SIZE, CopyingSession, square, write_clip, write_folders, write_labels

from sam2.eval import vos
from sam2.eval.clips import open_clip
from sam2.eval.layouts import VosChoice, open_vos
from sam2.eval.vos import TrackOptions, evaluate_vos, read_labels, score_predictions, track_clip
from sam2.eval.vos_scores import ClipResult


@pytest.fixture
def copying(monkeypatch) -> torch.nn.Module:
    """A model that a copying session takes no notice of."""
    monkeypatch.setattr(vos, "VideoSession", CopyingSession)
    monkeypatch.setattr(CopyingSession, "asked", [], raising=False)
    model = torch.nn.Identity()
    model.device = torch.device("cpu")
    return model


def clip_of(root: Path, name: str = "a", layout: str = "auto"):
    (clip,) = (clip for clip in open_vos(root, VosChoice(layout=layout)).clips if clip.name == name)
    return clip


def test_all_frames_count_but_the_first_and_the_last(copying, tmp_path):
    # The square moves by a quarter of its side on frame 2, and far away on the last frame, which does not count.
    write_clip(tmp_path, "a", [{1: square(10)}, {1: square(10)}, {1: square(13)}, {1: square(45)}])
    (score,) = evaluate_vos(copying, tmp_path).objects
    assert (score.clip, score.obj_id, score.indices) == ("a", 1, (1, 2))
    assert score.j_values == pytest.approx((1, 9 / 15))
    assert score.j == pytest.approx((1 + 9 / 15) / 2)
    assert score.j_and_f == pytest.approx((score.j + score.f) / 2)


@pytest.mark.parametrize(
    ("counting", "indices"), [("between", (1, 2)), ("after_prompt", (1, 2, 3)), ("all", (0, 1, 2, 3))]
)
def test_which_frames_count(copying, tmp_path, counting, indices):
    write_clip(tmp_path, "a", [{1: square(10)}] * 4)
    result = track_clip(copying, clip_of(tmp_path), TrackOptions(counting=counting))
    assert [score.indices for score in result.objects] == [indices]
    assert result.tracked == max(indices) + 1


def test_objects_and_clips_are_averaged(copying, tmp_path):
    places = [(5, 40), (5, 25), (5, 5)]
    write_clip(tmp_path, "b", [{1: square(one, 2), 2: square(two, 30)} for one, two in places])
    write_clip(tmp_path, "a", [{1: square(5)}] * 3)
    told = []
    scores = evaluate_vos(copying, tmp_path, progress=lambda *report: told.append(report))
    assert [(s.clip, s.obj_id, s.j) for s in scores.objects] == [("a", 1, 1), ("b", 1, 1), ("b", 2, 0)]
    assert scores.j == pytest.approx(2 / 3)
    assert scores.j_and_f == pytest.approx((scores.j + scores.f) / 2)
    assert scores.of_clip("b").j == 0.5
    assert told == [("a", 1, 2), ("a", 2, 2), ("b", 1, 2), ("b", 2, 2)]
    assert [s.clip for s in evaluate_vos(copying, tmp_path, clips=["a"]).objects] == ["a"]


def test_frames_without_a_label_image_do_not_count(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(10)} if t % 4 == 0 else None for t in range(9)])
    (score,) = evaluate_vos(copying, tmp_path).objects
    assert (score.indices, score.j) == ((4,), 1)


def test_an_object_that_appears_later_is_prompted_there(copying, tmp_path):
    """It counts from the frame after; before it, nobody asks about it."""
    early, late = square(5, 2), square(30, 30)
    write_clip(tmp_path, "a", [{1: early}, {1: early}, {1: early, 2: late}, {1: early, 2: late}, {1: early, 2: late}])
    scores = evaluate_vos(copying, tmp_path).objects
    assert CopyingSession.asked == [(0, 1), (2, 2)]
    assert [(s.obj_id, s.indices, s.j) for s in scores] == [(1, (1, 2, 3), 1), (2, (3,), 1)]


def test_objects_that_nobody_sees_at_first(copying, tmp_path):
    """The clip begins with empty frames: with all frames counting, they are right as they are."""
    write_clip(tmp_path, "a", [{}, {}, {1: square(9)}, {1: square(9)}, {1: square(9)}])
    result = track_clip(copying, clip_of(tmp_path), TrackOptions(counting="all", masks=tmp_path / "out"))
    assert CopyingSession.asked == [(2, 1)]
    assert [(s.indices, s.j) for s in result.objects] == [((0, 1, 2, 3, 4), 1)]
    assert len(list((tmp_path / "out" / "a").iterdir())) == 5
    assert not read_labels(tmp_path / "out" / "a" / "00001.png").any()


@pytest.mark.parametrize(
    ("prompts", "asked"),
    [("first", [(0, 1)]), ("appearance", [(0, 1), (1, 2)]), ("all", [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2)])],
)
def test_which_masks_are_given(copying, tmp_path, prompts, asked):
    both = {1: square(5, 2), 2: square(30, 30)}
    write_clip(tmp_path, "a", [{1: square(5, 2)}, both, both])
    track_clip(copying, clip_of(tmp_path), TrackOptions(prompts=prompts, counting="all"))
    assert CopyingSession.asked == asked


def test_the_layout_of_sav(copying, tmp_path):
    """Each object has its own annotated frames, of which the first and the last do not count; masks may overlap."""
    one, two = square(10), square(16)
    frames = [{0: one}, None, {0: one, 1: two}, None, {0: one, 1: two}, None, {0: one, 1: two}, None, {1: two}]
    write_folders(tmp_path, "a", frames)
    result = track_clip(copying, clip_of(tmp_path, layout="sav"), TrackOptions(masks=tmp_path / "out"))
    assert CopyingSession.asked == [(0, 0), (2, 1)]
    assert [(s.obj_id, s.indices, s.j) for s in result.objects] == [(0, (2, 4), 1), (1, (4, 6), 1)]
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == [f"a/{name}/{t:05d}.png" for name in ("000", "001") for t in range(9)]
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "a" / "000" / "00004.png") > 0, one)
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "a" / "001" / "00004.png") > 0, two)
    assert not read_labels(tmp_path / "out" / "a" / "001" / "00001.png").any()


def test_palette_in_palette_out(copying, tmp_path):
    objects = {1: square(5, 2), 3: square(30, 30)}
    write_clip(tmp_path, "a", [objects] * 3)
    track_clip(copying, clip_of(tmp_path), TrackOptions(masks=tmp_path / "out"))
    for t in range(3):
        with Image.open(tmp_path / "out" / "a" / f"{t:05d}.png") as picture:
            assert picture.mode == "P"
            assert (picture.getpalette() or [])[: len(PALETTE)] == PALETTE
            labels = np.array(picture)
        np.testing.assert_array_equal(labels == 1, objects[1])
        np.testing.assert_array_equal(labels == 3, objects[3])
        assert labels.dtype == np.uint8


def test_a_palette_that_is_too_short_for_an_object(copying, tmp_path):
    """Object 9 comes later, in a file with a longer palette: its number is not cut down to the bits of the first."""
    write_clip(tmp_path, "a", [{1: square(5, 2)}, None, {1: square(5, 2)}])
    picture = Image.fromarray(square(30, 30) * np.uint8(9))
    picture.putpalette(PALETTE + [50] * 3 * 8)
    picture.save(tmp_path / "Annotations" / "480p" / "a" / "00001.png")
    track_clip(copying, clip_of(tmp_path), TrackOptions(masks=tmp_path / "out"))
    with Image.open(tmp_path / "out" / "a" / "00002.png") as written:
        assert (written.getpalette() or [])[: len(PALETTE)] == PALETTE
        assert np.unique(np.array(written)).tolist() == [0, 1, 9]


def test_grey_in_grey_out(copying, tmp_path):
    write_clip(tmp_path, "a", [{255: square(5)}] * 3, palette=False)
    track_clip(copying, clip_of(tmp_path), TrackOptions(masks=tmp_path / "out"))
    with Image.open(tmp_path / "out" / "a" / "00001.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.array(picture), square(5) * np.uint8(255))


def test_masks_that_were_written_score_as_those_that_were_tracked(copying, tmp_path):
    frames = [{1: square(9 + t, 2), 2: square(30, 20 + t)} for t in range(6)]
    write_clip(tmp_path, "a", frames)
    clip = clip_of(tmp_path)
    tracked = track_clip(copying, clip, TrackOptions(masks=tmp_path / "out"))
    read = score_predictions(clip, tmp_path / "out")
    assert read.objects == tracked.objects
    assert 0 < tracked.objects[0].j < 1


def test_predictions_that_are_not_there(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(9)}] * 5)
    clip = clip_of(tmp_path)
    track_clip(copying, clip, TrackOptions(masks=tmp_path / "out"))
    (tmp_path / "out" / "a" / "00002.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"00002\.png"):
        score_predictions(clip, tmp_path / "out")
    result = score_predictions(clip, tmp_path / "out", partial=True)
    assert ([s.indices for s in result.objects], result.left_out) == ([(1, 3)], 1)
    write_labels(tmp_path / "out" / "a" / "00002.png", {1: square(9)})
    Image.new("L", (8, 8)).save(tmp_path / "out" / "a" / "00003.png")
    with pytest.raises(ValueError, match=r"a/00003: the annotation has 64 x 48 pixels, the mask 8 x 8"):
        score_predictions(clip, tmp_path / "out")


def test_objects_of_a_label_image_share_no_pixel(copying, tmp_path):
    """The copying session gives both masks the same logits where they overlap, so the first one has them."""
    write_folders(tmp_path / "sav", "a", [{1: square(10), 2: square(16)}] * 3)
    write_clip(tmp_path / "davis", "a", [{1: square(10), 2: square(30)}, {1: square(10), 2: square(12)}, {}])
    clip = clip_of(tmp_path / "davis")
    track_clip(copying, clip, TrackOptions(prompts="all", masks=tmp_path / "out"))
    labels = read_labels(tmp_path / "out" / "a" / "00001.png")
    assert ((labels == 1) & (labels == 2)).sum() == 0
    assert set(np.unique(labels)) == {0, 1, 2}


def test_void_counts_neither_way(copying, tmp_path):
    """Pixels of 255 in a label image with a palette belong to nothing, and nothing that is said of them is wrong."""
    void = square(22)
    write_clip(tmp_path, "a", [{1: square(10) | void}, {1: square(10), 255: void}, {1: square(10)}])
    (score,) = evaluate_vos(copying, tmp_path).objects
    assert (score.j, score.f) == (1, 1)


def test_davis_2016_has_one_object_a_clip(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(5, 2), 2: square(30, 30)}] * 3)
    result = track_clip(copying, clip_of(tmp_path, layout="davis2016"))
    assert CopyingSession.asked == [(0, 1)]
    assert [(s.obj_id, s.j) for s in result.objects] == [(1, 1)]


def test_results_survive_as_json(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(9 + t)} for t in range(6)])
    result = track_clip(copying, clip_of(tmp_path))
    assert ClipResult.of_row(result.to_row()) == result
    assert result.seconds > 0


def test_tracking_without_scoring(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(9)}] * 3)
    result = track_clip(copying, clip_of(tmp_path), TrackOptions(scored=False, masks=tmp_path / "out"))
    assert (result.objects, result.tracked) == ((), 3)


def test_the_model_is_in_the_mode_that_it_was_in(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(10)}] * 3)
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
    write_clip(tmp_path, "a", [{1: square(10)}] * 2)
    with pytest.raises(ValueError, match="a: nothing to be scored: a clip needs an object and at least 3 annotated"):
        evaluate_vos(copying, tmp_path)
    write_clip(tmp_path, "b", [{}] * 3)
    with pytest.raises(ValueError, match="b: no frame shows an object"):
        evaluate_vos(copying, tmp_path, clips=["b"])


def test_frames_and_masks_of_different_sizes(copying, tmp_path):
    write_clip(tmp_path, "a", [{1: square(10)}] * 3)
    Image.new("P", (SIZE[1] // 2, SIZE[0])).save(tmp_path / "Annotations" / "480p" / "a" / "00001.png")
    with pytest.raises(ValueError, match=r"a/00001: the annotation has 32 x 48 pixels, the mask 64 x 48"):
        evaluate_vos(copying, tmp_path)


def test_a_first_mask_of_another_size_is_refused_where_nothing_is_scored(copying, tmp_path, monkeypatch):
    # A session takes it, as the official one does, and tracks what was never annotated so.
    write_clip(tmp_path, "a", [{1: square(10)}, None, None])
    path = tmp_path / "Annotations" / "480p" / "a" / "00000.png"
    Image.open(path).resize((SIZE[1] * 2, SIZE[0] * 2), Image.Resampling.NEAREST).save(path)
    take = CopyingSession.add_mask
    monkeypatch.setattr(CopyingSession, "add_mask", lambda *args: take(*args[:3], args[3][::2, ::2]))
    with pytest.raises(ValueError, match=r"a/00000: the annotation has 128 x 96 pixels, the mask 64 x 48"):
        track_clip(copying, clip_of(tmp_path), TrackOptions(masks=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_clip_that_has_only_masks(tmp_path):
    write_clip(tmp_path, "a", [{1: square(10)}] * 3)
    clip = open_clip(None, tmp_path / "Annotations" / "480p" / "a")
    assert clip.stems == ("00000", "00001", "00002")
    assert score_predictions(clip, tmp_path / "Annotations" / "480p").objects[0].j == 1
    with pytest.raises(ValueError, match="no frame shows an object to be tracked"):
        track_clip(torch.nn.Identity(), clip)


def test_grey_truth_and_predictions_with_a_palette_are_of_one_object(tmp_path):
    write_clip(tmp_path, "a", [{255: square(10)}] * 3, palette=False)
    for t in range(3):
        write_labels(tmp_path / "out" / "a" / f"{t:05d}.png", {1: square(10)})
    (score,) = score_predictions(clip_of(tmp_path), tmp_path / "out").objects
    assert (score.obj_id, score.j) == (255, 1)


@pytest.mark.parametrize(("number", "palette"), [(3, True), (255, False)])
def test_predicted_objects_that_nobody_annotated_are_refused(tmp_path, number, palette):
    # They would score 0 without a word: most often masks of 0 and 255 for an object that is called 1.
    write_clip(tmp_path, "a", [{1: square(10), 2: square(40)}] * 3)
    for t in range(3):
        write_labels(tmp_path / "out" / "a" / f"{t:05d}.png", {number: square(10)}, palette=palette)
    with pytest.raises(ValueError, match=f"00001, shows object {number}, which is not annotated: .* are 1, 2"):
        score_predictions(clip_of(tmp_path), tmp_path / "out")
