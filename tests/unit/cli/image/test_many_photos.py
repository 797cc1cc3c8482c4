"""Runs over many photos: formats of data sets, bad files, breaks, and going on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2.cli.errors import OutputError
from sam2.cli.image.journal import NAME
from sam2.interop.formats import FORMATS, read_annotations

Cli = Callable[..., Any]
FLAGS = ("--everything", "--no-overlay", "--format")


def tree(folder: Path) -> dict[str, bytes]:
    """Every result in a folder, but for the journal."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != NAME]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def interrupt_at(disks: Any, name: str, error: BaseException | None = None) -> None:
    """The run ends when it comes to this photo."""

    def before(path: Path) -> None:
        if path.name == name:
            disks.before = lambda _: None
            raise error or KeyboardInterrupt

    disks.before = before


def test_data_sets_hold_all_photos(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(3, 0, 1)
    out = tmp_path / "out"
    outcome = cli("image", *photos, *FLAGS, "json,coco,davis", "-l", "disk", "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("3 images, 3 done, 4 masks in ")
    pictures = ["davis/0.png", "davis/1.png", "davis/3.png"]
    assert sorted(tree(out)) == ["0.json", "1.json", "3.json", "coco.json", *pictures, "davis/labels.json"]
    for name in ("coco.json", "davis"):
        found = read_annotations(out / name)
        assert found.labels == ("disk",)
        counts = {Path(image.name).stem: len(image.objects) for image in found}
        assert counts == {"3": 3, "0": 0, "1": 1}
    record = json.loads((out / "3.json").read_text())
    (image,) = [image for image in read_annotations(out / "coco.json") if image.name == "3.png"]
    for item, entry in zip(image.objects, record["objects"], strict=True):
        assert item.rle == entry["segmentation"]
        assert item.attributes["predicted_iou"] == entry["predicted_iou"] == 0.9
        assert entry["label"] == "disk"


def test_every_format_of_photos_is_known(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(2)
    for name, known in FORMATS.items():
        outcome = cli("image", *photos, *FLAGS, name, "-o", tmp_path / name)
        assert outcome.status == (0 if known.images else 2), outcome.err
        if known.images:
            (image,) = read_annotations(tmp_path / name, name, images=photos[0].parent)
            assert (len(image.objects), image.width, image.height) == (2, 200, 60)


def test_an_interrupted_run_goes_on_to_the_same_files(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(1, 2, 3, 4, 5)
    whole = ("image", *photos, *FLAGS, "png,json,coco,davis", "-l", "disk")
    assert cli(*whole, "-o", tmp_path / "a").status == 0
    disks.seen.clear()

    interrupt_at(disks, "4.png")
    outcome = cli(*whole, "-o", tmp_path / "b")
    assert outcome.status == 130
    assert outcome.err == "sam2: interrupted; 3 of 5 photos are done, the same command with --resume goes on\n"
    assert not (tmp_path / "b" / "coco.json").exists()
    outcome = cli(*whole, "-o", tmp_path / "b", "--resume")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("5 images, 3 done before, 2 done, 9 masks in ")
    assert disks.seen == ["1.png", "2.png", "3.png", "4.png", "5.png"], "none of them twice"
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_break_while_data_sets_are_written(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.interop import coco

    photos = make_photos(1, 2)
    command = ("image", *photos, *FLAGS, "coco", "-o", tmp_path / "out")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(coco.CocoWriter, "close", interrupt)
        assert cli(*command).status == 130
    assert list(tree(tmp_path / "out")) == []
    disks.seen.clear()
    assert cli(*command, "--resume").status == 0
    assert disks.seen == []
    assert len(read_annotations(tmp_path / "out" / "coco.json")) == 2


def test_a_finished_run_has_nothing_to_do_but_takes_new_photos(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path
) -> None:
    photos = make_photos(1, 2)
    options = (*FLAGS, "json,coco", "-o", tmp_path / "out")
    assert cli("image", *photos, *options, "--resume").status == 0, "may be given from the start"
    before = tree(tmp_path / "out")
    outcome = cli("image", *photos, *options, "--resume")
    assert (outcome.status, outcome.out) == (0, "2 images, all done before: nothing to do\n")
    assert tree(tmp_path / "out") == before

    disks.seen.clear()
    outcome = cli("image", *make_photos(0, 1, 2, 3), *options, "--resume")
    assert outcome.out.startswith("4 images, "), outcome.err
    images = read_annotations(tmp_path / "out" / "coco.json")
    assert [image.name for image in images] == ["0.png", "1.png", "2.png", "3.png"]

    more = make_photos(4, folder="more")
    outcome = cli("image", *more, *options, "--resume")
    images = read_annotations(tmp_path / "out" / "coco.json")
    names = [image.name for image in images]
    assert sorted(names[:4]) == ["photos/0.png", "photos/1.png", "photos/2.png", "photos/3.png"]
    assert names[4:] == ["more/4.png"], "what is new comes last"


def test_only_what_changed_or_is_gone_is_done_again(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(1, 2, 3)
    command = ("image", *photos, *FLAGS, "json,coco", "-o", tmp_path / "out")
    assert cli(*command).status == 0
    Image.fromarray(np.full((60, 200, 3), 90, np.uint8)).save(photos[0])
    (tmp_path / "out" / "3.json").unlink()
    disks.seen.clear()
    outcome = cli(*command, "--resume")
    assert outcome.out.startswith("3 images, 1 done before, 2 done, 3 masks in ")
    assert disks.seen == ["1.png", "3.png"]
    counts = [len(image.objects) for image in read_annotations(tmp_path / "out" / "coco.json")]
    assert counts == [0, 2, 3]
    (tmp_path / "out" / "coco.json").unlink()
    disks.seen.clear()
    assert cli(*command, "--resume").status == 0
    assert disks.seen == []
    assert (tmp_path / "out" / "coco.json").is_file()


def test_bad_files_do_not_stop_a_run_and_are_tried_again(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path
) -> None:
    photos = make_photos(1, 2, 3)
    good = photos[1].read_bytes()
    photos[1].write_bytes(good[:40])
    command = ("image", *photos, tmp_path / "gone.png", *FLAGS, "coco", "-o", tmp_path / "out")
    outcome = cli(*command)
    assert outcome.status == 1
    assert outcome.out.startswith("4 images, 2 done, 2 failed, 4 masks in ")
    assert len(outcome.err.splitlines()) == 2
    photos[1].write_bytes(good)
    outcome = cli(*command, "--resume")
    assert outcome.status == 1
    assert outcome.out.startswith("4 images, 2 done before, 1 done, 1 failed, 2 masks in ")
    names = [image.name for image in read_annotations(tmp_path / "out" / "coco.json")]
    assert names == ["1.png", "2.png", "3.png"], "in the order of the photos, whenever they were done"


@pytest.mark.parametrize(
    ("change", "option"),
    [
        (["--format", "json"], "--format differs from the earlier run's ("),
        (["--model", "other"], "--model differs from the earlier run's ("),
        (["--label", "thing"], "--label differs from the earlier run's ("),
        (["--threshold", "1"], "--threshold differs from the earlier run's (0.0 there, 1.0 now)"),
        (["--max-masks", "3"], "--everything differs from the earlier run's (yes there, --max-masks 3 now)"),
        (["--overlay"], "--overlay differs from the earlier run's ("),
        (["--scale", "minmax"], "--scale differs from the earlier run's ("),
    ],
)
def test_another_setting_is_refused(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path, change: list[str], option: str
) -> None:
    photos = make_photos(1, 2)
    command = ("image", *photos, *FLAGS, "coco", "-o", tmp_path / "out")
    interrupt_at(disks, "2.png")
    assert cli(*command).status == 130
    outcome = cli(*command, *change, "--resume")
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert f"sam2: error: --resume: {option}" in outcome.err
    assert cli(*command, "--resume", "--device", "cpu", "--dtype", "float32").status == 0


def test_leaving_resume_out_starts_anew(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(1, 2)
    command = ("image", *photos, *FLAGS, "coco", "-o", tmp_path / "out")
    interrupt_at(disks, "2.png")
    assert cli(*command).status == 130
    disks.seen.clear()
    outcome = cli(*command)
    assert outcome.status == 0
    assert "warning: starting anew: 1 photo of an interrupted run would have been kept by --resume" in outcome.err
    assert disks.seen == ["1.png", "2.png"]
    assert cli(*command).err == "", "a finished run may be done again without a word"


def test_one_photo_leaves_no_journal_and_spares_that_of_others(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path
) -> None:
    photos = make_photos(1, 2)
    out = tmp_path / "out"
    assert cli("image", photos[0], *FLAGS, "coco", "-o", out).status == 0
    assert os.listdir(out) == ["coco.json"]
    interrupt_at(disks, "2.png")
    assert cli("image", *photos, *FLAGS, "coco", "-o", out).status == 130
    assert cli("image", photos[0], *FLAGS, "json", "-o", out).status == 0
    outcome = cli("image", *photos, *FLAGS, "coco", "-o", out, "--resume")
    assert outcome.out.startswith("2 images, 1 done before, 1 done, 2 masks in ")


def test_a_run_that_did_nothing_leaves_nothing(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(1, 2)
    interrupt_at(disks, "1.png")
    outcome = cli("image", *photos, *FLAGS, "coco", "-o", tmp_path / "out")
    assert (outcome.status, outcome.err) == (130, "sam2: interrupted before the first photo was done\n")
    assert os.listdir(tmp_path / "out") == []


def test_a_full_disk_says_how_to_go_on(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(1, 2, 3)
    command = ("image", *photos, *FLAGS, "json,coco", "-o", tmp_path / "out")
    interrupt_at(disks, "3.png", OutputError("cannot write a.json: No space left on device"))
    outcome = cli(*command)
    assert outcome.status == 2
    assert outcome.err == (
        "sam2: error: cannot write a.json: No space left on device; "
        "2 of 3 photos are done, the same command with --resume goes on\n"
    )
    assert cli(*command, "--resume").out.startswith("3 images, 2 done before, 1 done, 3 masks in ")


def test_new_photos_do_not_take_the_names_of_old_ones(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    options = (*FLAGS, "json", "-o", tmp_path / "out", "--resume")
    assert cli("image", *make_photos(1, 2), *options).status == 0
    before = tree(tmp_path / "out")
    assert cli("image", *make_photos(1, 3, folder="others"), *options).status == 0
    after = tree(tmp_path / "out")
    assert sorted(after) == ["1.json", "1_png.json", "2.json", "3.json"]
    assert {name: after[name] for name in before} == before


def test_prompts_and_names_reach_the_formats(cli: Cli, nano_file: Path, make_photos: Any, tmp_path: Path) -> None:
    prompts = ("--box", "10,20,32,42", "--box", "40,15,64,45", "--point", "3@90,30", "-l", "2=dog", "-l", "thing")
    options = ("--format", "png,coco", "--model", nano_file, "--device", "cpu", "--dtype", "float32")
    outcome = cli("image", *make_photos(2, 3), *prompts, *options, "-o", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("2 images, 2 done, 6 masks in ")
    found = read_annotations(tmp_path / "out" / "coco.json")
    assert found.labels == ("dog", "thing")
    for image in found:
        assert [item.label for item in image.objects] == ["thing", "dog", "thing"]
        for number, item in enumerate(image.objects, start=1):
            with Image.open(tmp_path / "out" / f"{Path(image.name).stem}_object{number}.png") as png:
                np.testing.assert_array_equal(np.asarray(png) > 0, item.mask())


def test_photos_that_yolo_cannot_tell_apart_are_an_error_at_once(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path
) -> None:
    (photo,) = make_photos(1)
    Image.open(photo).save(photo.with_suffix(".bmp"))
    outcome = cli("image", photo.parent, *FLAGS, "yolo-boxes", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert "yolo-boxes names labels after photos without their endings: 1.bmp and 1.png are one" in outcome.err
    assert disks.seen == []


def test_a_format_that_cannot_hold_a_photo_does_not_spoil_the_others(
    cli: Cli, disks: Any, make_photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.interop import davis

    def refuse(*_: object) -> None:
        raise ValueError("davis has no numbers left")

    photos = make_photos(1, 2)
    command = ("image", *photos, *FLAGS, "davis,coco", "-o", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(davis.DavisWriter, "add", refuse)
        outcome = cli(*command)
    assert (outcome.status, outcome.err) == (1, "sam2: error: --format davis: davis has no numbers left\n")
    assert list(tree(tmp_path / "out")) == ["coco.json"]
    disks.seen.clear()
    assert cli(*command, "--resume").status == 0
    assert disks.seen == []
    assert (tmp_path / "out" / "davis" / "2.png").is_file()


def test_finding_nothing_at_all_is_mentioned(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    options = (*FLAGS, "coco", "-o", tmp_path / "out")
    outcome = cli("image", *make_photos(0), *options)
    assert (outcome.status, outcome.out[:25]) == (0, "1 image, 1 done, 0 masks ")
    assert outcome.err.startswith("sam2: warning: nothing was found; a lower --iou-threshold")
    assert len(read_annotations(tmp_path / "out" / "coco.json")) == 1
    assert cli("image", *make_photos(0, 1), *options).err == ""
