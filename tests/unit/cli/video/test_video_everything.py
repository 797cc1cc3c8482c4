"""``sam2 video --everything``: nobody points, and whoever turns up is followed."""

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sam2.automatic.proposals import MaskProposal
from sam2.automatic.video import VideoMaskGenerator
from sam2.cli.video import setup
from sam2.cli.video.journal import Journal
from sam2.interop.formats import read_annotations
from sam2.interop.rle import encode_mask

Cli = Callable[..., Any]
LENGTH = 12
OPTIONS = ("--everything", "--every", "4")


class Squares:
    """Finds two squares."""

    def __init__(self) -> None:
        self.searches = 0

    def propose(self, image: np.ndarray) -> list[MaskProposal]:
        """Masks of an image [96, 128, 3] uint8."""
        self.searches += 1
        return [self._square(20), self._square(80)]

    def _square(self, left: int) -> MaskProposal:
        mask = np.zeros((96, 128), bool)
        mask[30:60, left : left + 30] = True
        box = (left, 30, left + 29, 59)
        return MaskProposal(
            rle=encode_mask(mask),
            predicted_iou=0.9,
            stability_score=0.95,
            point=(left + 15.0, 45.0),
            box=box,
            crop_box=(0, 0, 128, 96),
        )


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Squares:
    """What finds masks in place of a model without knowledge; what is asked of the generator is asked."""
    finder = Squares()
    monkeypatch.setattr(setup, "VideoMaskGenerator", partial(VideoMaskGenerator, mask_generator=finder))
    return finder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of generators, as they are made."""
    options: list[dict[str, Any]] = []

    def make(model: Any, **given: Any) -> VideoMaskGenerator:
        options.append(given)
        return VideoMaskGenerator(model, mask_generator=Squares(), **given)

    monkeypatch.setattr(setup, "VideoMaskGenerator", make)
    return options


def read(path: Path) -> dict[str, Any]:
    return json.loads((path / "clip.json").read_text(encoding="utf-8"))


def test_results_are_those_of_any_run(cli: Cli, movie: Path, tmp_path: Path, squares: Squares) -> None:
    out = tmp_path / "out"
    formats = "overlay,masks,json,timeline,coco"
    outcome = cli("video", movie, *OPTIONS, "--format", formats, "--effect", "trail", "--label", "thing", "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    assert outcome.out.startswith("clip.mp4: 2 objects, 12 frames in ")
    assert squares.searches == 3
    names = ["clip.json", "clip_overlay.mp4", "clip_timeline.png", "clip_trail.mp4", "coco.json", "masks"]
    assert sorted(path.name for path in out.iterdir()) == names
    record = read(out)
    assert record["complete"]
    assert record["prompts"] == []
    assert record["everything"] == {"points_per_side": 16, "keyframe_every": 4, "max_objects": 50}
    assert [row["frame"] for row in record["frames"]] == list(range(LENGTH))
    assert [item["area"] > 0 for item in record["frames"][0]["objects"]] == [True, True]
    assert {item["id"] for row in record["frames"] for item in row["objects"]} == {1, 2}
    found = read_annotations(out / "coco.json")
    assert {item.label for image in found for item in image.objects} == {"thing"}
    assert {item.track_id for item in found.images[0].objects} == {1, 2}


def test_options_reach_the_generator(cli: Cli, movie: Path, tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    options = ("--everything", "--every", "3", "--points-per-side", "5", "--max-objects", "1", "--format", "json")
    assert cli("video", movie, *options, "-o", tmp_path).status == 0
    assert asked == [{"points_per_side": 5, "keyframe_every": 3, "max_objects": 1}]
    assert {item["id"] for row in read(tmp_path)["frames"] for item in row["objects"]} == {1}


def test_a_part_of_the_clip(cli: Cli, movie: Path, tmp_path: Path, squares: Squares) -> None:
    outcome = cli("video", movie, *OPTIONS, "--start", "3", "--end", "9", "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    assert [row["frame"] for row in read(tmp_path)["frames"]] == list(range(3, 10))
    with av.open(str(tmp_path / "clip_overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 7
    assert squares.searches == 2


def test_ctrl_c_keeps_what_is_done(
    cli: Cli, movie: Path, tmp_path: Path, squares: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    def broken(journal: Journal, frame: int, objects: list[Any]) -> None:
        append(journal, frame, objects)
        if len(journal) == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "append", broken)
    out = tmp_path / "out"
    outcome = cli("video", movie, *OPTIONS, "--format", "json,overlay,coco", "-o", out)
    assert outcome.status == 130
    assert outcome.err == f"sam2: interrupted after 5 of 12 frames, kept in {out}\n"
    assert len(read(out)["frames"]) == 5
    assert not read(out)["complete"]
    assert len(read_annotations(out / "coco.json")) == 5
    assert sorted(path.name for path in out.iterdir()) == ["clip.json", "clip_overlay.mp4", "coco.json"]
    outcome = cli("video", movie, "-o", out, "--resume")
    assert "--resume: there is no interrupted run" in outcome.err


def test_a_crash_leaves_nothing_that_could_be_taken_for_prompts(
    cli: Cli, movie: Path, tmp_path: Path, squares: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("sam2.cli.video.run.Run._finish", crash)
        outcome = cli("video", movie, *OPTIONS, "--format", "json", "-o", tmp_path / "out")
    assert outcome.status != 0
    assert cli("video", movie, "-o", tmp_path / "out", "--resume").status == 2
    outcome = cli("video", movie, *OPTIONS, "--format", "json", "-o", tmp_path / "out")
    assert outcome.status == 0
    assert "would have gone on" not in outcome.err
    assert not (tmp_path / "out" / "clip.partial").exists()


def test_more_objects_than_a_png_can_hold(
    cli: Cli, movie: Path, tmp_path: Path, squares: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.automatic.video_tracker import VideoMaskTracker

    begin = VideoMaskTracker.__init__

    def late(self: VideoMaskTracker, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self._next_id = 255

    monkeypatch.setattr(VideoMaskTracker, "__init__", late)
    outcome = cli("video", movie, *OPTIONS, "--format", "masks,json", "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert "from object 256 on none is drawn" in outcome.err
    assert {item["id"] for row in read(tmp_path)["frames"] for item in row["objects"]} == {255, 256}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--everything", "--point", "0:5,5"], "--point and --everything exclude each other"),
        (["--everything", "--prompts", "x.json"], "--prompts and --everything exclude each other"),
        (["--everything", "--reverse"], "--everything goes forward, got --reverse"),
        (["--everything", "--both"], "--everything goes forward, got --both"),
        (["--everything", "--resume"], "--resume: a run of --everything cannot go on"),
        (["--everything", "--every", "0"], "--every must be at least 1, got 0"),
        (["--everything", "--points-per-side", "300"], "--points-per-side must be in 1..256, got 300"),
        (["--everything", "--label", "2=car"], "with --everything objects have no numbers yet"),
        (["--everything", "--start", "12"], "--start 12: the video has 12 frames"),
        (["--point", "0:5,5", "--every", "3"], "--every goes with --everything"),
        (["--point", "0:5,5", "--max-objects", "3"], "--max-objects goes with --everything"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, movie: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = cli("video", movie, *arguments, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
