"""How video benchmarks lie on disk, and what is said of those that are not all there."""

import json
import shutil

import pytest
from vos_folders import square, write_clip, write_folders, write_frames, write_labels

from sam2.eval.layouts import VosChoice, open_vos, read_sequences

FRAMES = [{1: square(10)}] * 3


def write_list(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


def opened(root, **choice):
    return open_vos(root, VosChoice(**choice))


@pytest.mark.parametrize("inner", ["480p", "Full-Resolution", "."])
def test_davis_with_and_without_a_resolution(tmp_path, inner):
    write_clip(tmp_path, "a", FRAMES, inner=inner)
    data = opened(tmp_path)
    assert (data.layout, data.counting) == ("davis2017", "between")
    (clip,) = data.clips
    assert (clip.name, clip.stems, clip.annotated) == ("a", ("00000", "00001", "00002"), (0, 1, 2))


def test_the_first_resolution_is_taken(tmp_path):
    write_clip(tmp_path, "a", FRAMES, inner="Full-Resolution")
    write_clip(tmp_path, "b", FRAMES, inner="480p")
    assert [clip.name for clip in opened(tmp_path).clips] == ["b"]


def test_sav_has_folders_of_objects_and_names_that_go_on(tmp_path):
    write_folders(tmp_path / "sav_val", "sav_000001", [{0: square(5), 2: square(9)}, None, {2: square(9)}])
    write_list(tmp_path / "sav_val" / "sav_val.txt", "sav_000001")
    data = opened(tmp_path)
    assert data.layout == "sav"
    (clip,) = data.clips
    assert clip.per_object
    assert (len(clip.stems), clip.annotated) == (3, (0, 2))
    assert (clip.annotated_of(0), clip.annotated_of(2)) == ((0,), (0, 2))
    assert set(clip.appearances()) == {0}


def test_lvos_and_mose_are_davis_with_sparse_or_late_masks(tmp_path):
    write_clip(tmp_path, "a", [FRAMES[0], None, None, {1: square(9), 2: square(30, 30)}, None], inner=".")
    for layout in ("lvos", "mose"):
        (clip,) = opened(tmp_path, layout=layout).clips
        assert (clip.annotated, sorted(clip.appearances())) == ((0, 3), [0, 3])


def test_youtube_knows_categories_seen_and_unseen(tmp_path):
    write_clip(tmp_path / "valid", "a", [{1: square(5, 2), 2: square(30, 30)}, None, None], inner=".")
    videos = {"a": {"objects": {"1": {"category": "cat"}, "2": {"category": "yak"}}}}
    (tmp_path / "valid" / "meta.json").write_text(json.dumps({"videos": videos}))
    (tmp_path / "train").mkdir()
    trained = {"x": {"objects": {"1": {"category": "cat"}}}}
    (tmp_path / "train" / "meta.json").write_text(json.dumps({"videos": trained}))
    data = opened(tmp_path / "valid")
    assert (data.layout, data.counting) == ("youtube", "after_prompt")
    assert data.categories == {("a", 1): "cat", ("a", 2): "yak"}
    assert data.seen == {"cat"}


def test_the_list_says_which_sequences_there_are(tmp_path):
    for name in ("a", "b", "c"):
        write_clip(tmp_path, name, FRAMES)
    write_list(tmp_path / "ImageSets" / "2017" / "val.txt", "c", "a")
    write_list(tmp_path / "ImageSets" / "2017" / "train.txt", "b")
    assert [clip.name for clip in opened(tmp_path).clips] == ["c", "a"]
    assert [clip.name for clip in opened(tmp_path, split="train").clips] == ["b"]
    assert [clip.name for clip in opened(tmp_path, clips=["b"]).clips] == ["b"]
    write_list(tmp_path / "mine.txt", "b", "c")
    assert [clip.name for clip in opened(tmp_path, split=str(tmp_path / "mine.txt")).clips] == ["b", "c"]
    write_list(tmp_path / "ImageSets" / "2016" / "train.txt", "c")
    assert [clip.name for clip in opened(tmp_path, split="train").clips] == ["b"]
    assert [clip.name for clip in opened(tmp_path, split="train", layout="davis2016").clips] == ["c"]
    with pytest.raises(FileNotFoundError, match="no list 'test-dev'"):
        opened(tmp_path, split="test-dev")


def test_lists_of_davis_2016_are_of_frames(tmp_path):
    lines = [
        f"/JPEGImages/480p/{name}/{t:05d}.jpg /Annotations/480p/{name}/{t:05d}.png" for name in "ba" for t in (0, 1)
    ]
    write_list(tmp_path / "val.txt", *lines)
    assert read_sequences(tmp_path / "val.txt") == ["b", "a"]
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"none\.txt names no sequence"):
        read_sequences(tmp_path / "none.txt")


def test_a_part_is_refused_unless_it_is_asked_for(tmp_path):
    write_clip(tmp_path, "a", FRAMES)
    write_clip(tmp_path, "b", FRAMES)
    write_list(tmp_path / "ImageSets" / "2017" / "val.txt", "a", "b", "c", "d")
    with pytest.raises(ValueError, match=r"incomplete in 2 places \(c: no annotations; d: no annotations\).*--partial"):
        opened(tmp_path)
    data = opened(tmp_path, partial=True)
    assert [clip.name for clip in data.clips] == ["a", "b"]
    assert data.left_out == ("c: no annotations", "d: no annotations")


def test_images_without_masks_and_masks_without_images(tmp_path):
    write_clip(tmp_path, "a", FRAMES)
    write_frames(tmp_path / "JPEGImages" / "480p" / "b", 3)
    with pytest.raises(ValueError, match="b: no annotations"):
        opened(tmp_path)
    write_labels(tmp_path / "Annotations" / "480p" / "b" / "00000.png", FRAMES[0])
    write_labels(tmp_path / "Annotations" / "480p" / "b" / "00007.png", FRAMES[0])
    with pytest.raises(ValueError, match="b: no image for 1 masks, as 00007"):
        opened(tmp_path)
    assert [clip.annotated for clip in opened(tmp_path, partial=True).clips] == [(0, 1, 2), (0,)]


def test_what_is_no_benchmark(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match="no clips in the layout of DAVIS"):
            opened(root)
    write_clip(tmp_path, "a", FRAMES)
    with pytest.raises(ValueError, match=r"no clip 'b' in .*: there are a"):
        opened(tmp_path, clips=["b"])
    write_list(tmp_path / "mine.txt", "x")
    with pytest.raises(FileNotFoundError, match="none of 1 sequences"):
        opened(tmp_path, split=str(tmp_path / "mine.txt"), partial=True)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"layout": "coco"}, "layout must be auto, davis2016"),
        ({"clips": []}, "at least one"),
        ({"counting": "some"}, "counting must be between, after_prompt, all; got 'some'"),
    ],
)
def test_bad_choices(choice, message):
    with pytest.raises(ValueError, match=message):
        VosChoice(**choice)


def test_two_parts_have_to_be_told_apart(tmp_path):
    for part in ("val", "test"):
        write_clip(tmp_path / part, "a", FRAMES)
    with pytest.raises(ValueError, match="holds several parts: name one of"):
        opened(tmp_path)


def test_folders_of_objects_are_called_by_numbers(tmp_path):
    write_folders(tmp_path, "a", FRAMES)
    (tmp_path / "Annotations_6fps" / "a" / "cat").mkdir()
    with pytest.raises(ValueError, match="holds the folder 'cat'"):
        opened(tmp_path)


def test_which_frames_count_can_be_chosen(tmp_path):
    write_clip(tmp_path, "a", FRAMES)
    assert opened(tmp_path).counting == opened(tmp_path, layout="mose").counting == "between"
    assert opened(tmp_path, layout="youtube").counting == "after_prompt"
    assert opened(tmp_path, layout="youtube", counting="all").counting == "all"


def test_frames_are_in_natural_order(tmp_path):
    write_clip(tmp_path, "a", [FRAMES[0]] * 3)
    for t, stem in enumerate(("2", "10", "9")):
        for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".png")):
            (tmp_path / folder / "480p" / "a" / f"{t:05d}{suffix}").rename(
                tmp_path / folder / "480p" / "a" / f"{stem}{suffix}"
            )
    (clip,) = opened(tmp_path).clips
    assert clip.stems == ("2", "9", "10")


def test_a_folder_a_sequence(tmp_path):
    """``CLIP/JPEGImages`` and ``CLIP/Annotations``, a level or two down, or the sequence alone."""
    write_clip(tmp_path / "made", "", FRAMES, inner=".")
    for name in ("b", "a"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for part in ("JPEGImages", "Annotations"):
            shutil.copytree(tmp_path / "made" / part, tmp_path / "videos" / name / part)
    shutil.rmtree(tmp_path / "made")
    for root in (tmp_path, tmp_path / "videos"):
        clips = opened(root).clips
        assert [clip.name for clip in clips] == ["a", "b"]
        assert [clip.annotated for clip in clips] == [(0, 1, 2)] * 2
    assert [clip.name for clip in opened(tmp_path / "videos" / "b").clips] == ["b"]
    assert [clip.name for clip in opened(tmp_path, clips=["b"]).clips] == ["b"]


def test_a_clip_that_is_named_twice_counts_once(tmp_path):
    write_clip(tmp_path, "a", [{1: square(10)}] * 3)
    assert [clip.name for clip in open_vos(tmp_path, VosChoice(clips=["a", "a"])).clips] == ["a"]
