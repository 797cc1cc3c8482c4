"""What ``check_records`` says of a data set is what is in it."""

from pathlib import Path

import made_sets as made
import numpy as np
import pytest

from sam2.train.data.check import SIDES, DataReport, Drawn, check_records, spread, to_json, to_lines
from sam2.train.data.sources import SourceConfig, open_records


def checked(path: Path, **options: object) -> tuple[DataReport, list[Drawn]]:
    return check_records(open_records(SourceConfig(path=str(path))), title="set", **options)


def white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def test_stills_are_counted(tmp_path: Path) -> None:
    made_set = made.stills(tmp_path, "coco")
    report, drawn = checked(tmp_path)

    masks = [mask for frames in made_set.truth.values() for mask in frames[0].values()]
    assert (report.stills, report.videos, report.frames, report.labelled, report.read) == (2, 0, 2, 2, 2)
    assert (report.objects, report.masks_seen) == (4, 4)
    assert report.classes == {"cat": 2, "dog": 2}
    assert sorted(report.areas) == sorted(int(mask.sum()) for mask in masks)
    assert report.warnings == []
    assert report.bad == []
    record = to_json(report)
    assert record["size"]["median"] == [made.WIDTH, made.HEIGHT]
    assert sum(record["objects_by_side"].values()) == 4
    assert {item.caption for item in drawn} == {
        "2 objects: cat, dog - park one.png",
        "2 objects: cat, dog - street/b.jpg",
    }
    assert drawn[0].picture.shape == (made.HEIGHT, made.WIDTH, 3)


def test_objects_of_videos_are_counted_once(tmp_path: Path) -> None:
    made.davis(tmp_path)
    report, _ = checked(tmp_path, everything=True)

    assert (report.videos, report.frames, report.labelled, report.read) == (2, 12, 12, 12)
    assert (report.objects, report.masks_seen) == (4, 16)
    text = "\n".join(to_lines(report))
    assert "12, 12 annotated, 12 read" in text
    assert "4; 16 masks, 1.3 a frame" in text

    some, drawn = checked(tmp_path, samples=4)
    assert some.read == 6  # the first, the last and one between, of two videos
    assert [item.caption.split(" - ")[1] for item in drawn] == ["bear 0", "bear 5", "car 2 0", "car 2 5"]


def test_oddities_are_named(tmp_path: Path) -> None:
    first, second = made.disks(0)
    masks = {
        "empty": [np.zeros_like(first)],
        "inverted": [np.ones_like(first)],
        "overlapping": [first, first | second],
        "tiny": [np.eye(made.HEIGHT, made.WIDTH, dtype=bool) & first],
    }
    for name, own in masks.items():
        made.save(tmp_path / "images" / f"{name}.png", made.photo(0))
        for number, mask in enumerate(own):
            made.save(tmp_path / "masks" / f"{name}_{number}.png", white(mask))
    made.save(tmp_path / "masks" / "tiny_0.png", white(np.indices((made.HEIGHT, made.WIDTH)).sum(0) < 3))
    report, _ = checked(tmp_path)

    assert set(report.warnings) == {
        "annotated frames without objects: 1 (images/empty.png)",
        "empty masks: 1 (images/empty.png)",
        "masks of more than 95% of their picture: 1 (images/inverted.png)",
        "frames where masks overlap by more than 1%: 1 (images/overlapping.png)",
        "masks of fewer than 16 pixels: 1 (images/tiny.png)",
    }
    assert report.bad == []


def test_objects_that_are_never_seen(tmp_path: Path) -> None:
    frames = made.moving(3)
    made.save_frames(tmp_path / "JPEGImages" / "a", frames)
    for t, masks in enumerate(frames):
        made.save(tmp_path / "Annotations" / "a" / "001" / f"{t:05d}.png", white(masks[1]))
        made.save(tmp_path / "Annotations" / "a" / "005" / f"{t:05d}.png", white(np.zeros_like(masks[1])))
    report, _ = checked(tmp_path)

    assert report.objects == 1
    assert report.warnings == ["objects in none of the frames that were read: 1 (a object 5)"]


def test_bad_samples_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(8)]
    for seed, name in enumerate(names):
        made.save(tmp_path / "images" / f"{name}.png", made.photo(seed))
        made.save(tmp_path / "masks" / f"{name}.png", white(made.disks(seed)[0]))
    made.cut(tmp_path / "images" / "03.png")
    made.save(tmp_path / "masks" / "00.png", white(made.disks(0)[0])[:, :-5])
    report, drawn = checked(tmp_path, samples=4)

    assert [bad.name for bad in report.bad] == ["images/00.png", "images/03.png"]
    assert "masks/00.png is 91 x 72" in report.bad[0].cause
    assert "truncated or corrupt" in report.bad[1].cause
    assert report.read == 6
    assert len(drawn) == 4
    assert len([line for line in to_lines(report, most=1) if line.startswith("  bad ")]) == 1


def test_a_bad_frame_leaves_the_others_of_its_video(tmp_path: Path) -> None:
    made.davis(tmp_path, videos=("a",))
    made.cut(tmp_path / "JPEGImages" / "480p" / "a" / "00004.jpg", 0.2)
    report, _ = checked(tmp_path, everything=True)

    assert [(bad.name, bad.frame) for bad in report.bad] == [("a", 4)]
    assert report.read == 5


def test_nothing_annotated(tmp_path: Path) -> None:
    """A video without masks is bad; where no video has any, the data set is."""
    made.davis(tmp_path, videos=[f"v{number:02d}" for number in range(20)])
    masks = tmp_path / "Annotations" / "480p"
    for folder in masks.iterdir():
        for file in folder.iterdir() if folder.name != "v15" else ():
            file.unlink()
    report, drawn = checked(tmp_path, samples=2)
    assert (report.read, len(report.bad)) == (3, 19)
    assert all("0 annotated frames" in bad.cause for bad in report.bad)
    assert {item.caption.split(" - ")[1] for item in drawn} <= {"v15 0", "v15 3", "v15 5"}

    for file in (masks / "v15").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"0 annotated frames in 20 videos: no mask in .*480p"):
        checked(tmp_path)


def test_the_histogram_is_by_side() -> None:
    report = DataReport("pairs", "set", areas=[1, 63, 64, 256, 512 * 512])

    assert report.histogram == [2, 1, 1, *[0] * (len(SIDES) - 3), 1]


def test_what_is_looked_at_is_spread() -> None:
    assert spread(3, 5) == [0, 1, 2]
    assert spread(101, 3) == [0, 50, 100]
    assert spread(5, 1) == [0]
