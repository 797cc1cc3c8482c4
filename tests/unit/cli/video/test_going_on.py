"""Ctrl-C, broken videos and full disks: what is done is kept, and a run goes on as if nothing had happened."""

import errno
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sam2.cli.video import run
from sam2.cli.video.journal import Journal
from sam2.io.source import FrameSource
from sam2.io.video_writer import VideoWriter

Cli = Callable[..., Any]
PROMPTS = ("--box", "3:20,20,60,70", "--point", "2@6:95,60", "--point", "8:45,50")
LENGTH = 12


@pytest.fixture
def break_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the journal do something, once, when it has got so many rows."""
    append = Journal.append

    def arrange(rows: int, what: Callable[[], object] = lambda: signal.raise_signal(signal.SIGINT)) -> None:
        waiting = [what]

        def broken(journal: Journal, frame: int, objects: list[Any]) -> None:
            append(journal, frame, objects)
            if len(journal) == rows and waiting:
                waiting.pop()()

        monkeypatch.setattr(Journal, "append", broken)

    return arrange


@pytest.fixture
def whole(cli: Cli, movie: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The results of an uninterrupted run with these options."""

    def make(*options: str) -> dict[str, Any]:
        outcome = cli("video", movie, *PROMPTS, *options, "--format", "json", "-o", tmp_path / "whole")
        assert outcome.status == 0, outcome.err
        return read(tmp_path / "whole")

    return make


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "clip.json").read_text(encoding="utf-8"))


def length(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(
    cli: Cli, movie: Path, tmp_path: Path, whole: Callable[..., dict[str, Any]], break_after: Callable[..., None]
) -> None:
    expected = whole()
    break_after(4)
    out = tmp_path / "out"
    outcome = cli("video", movie, *PROMPTS, "--format", "overlay,masks,json", "-o", out)
    assert outcome.status == 130
    assert outcome.out == ""
    assert outcome.err == (
        f"sam2: interrupted after 4 of 9 frames, kept in {out}; the same command with --resume goes on\n"
    )
    assert length(out / "clip_overlay.mp4") == 4
    assert len(list((out / "masks" / "clip").iterdir())) == 4
    half = read(out)
    assert not half["complete"]
    assert half["frames"] == expected["frames"][:4]

    outcome = cli("video", movie, "-o", out, "--resume")
    assert outcome.status == 0, outcome.err
    assert "2 objects, 9 frames in" in outcome.out
    assert read(out) == expected
    assert length(out / "clip_overlay.mp4") == 9
    assert len(list((out / "masks" / "clip").iterdir())) == 9
    assert not (out / "clip.partial").exists()


@pytest.mark.parametrize("rows", [2, 10, 13])
def test_both_ways_go_on_as_well(
    cli: Cli,
    movie: Path,
    tmp_path: Path,
    whole: Callable[..., dict[str, Any]],
    break_after: Callable[..., None],
    rows: int,
) -> None:
    """Breaks on the way forward, back with one object, and back with both."""
    expected = whole("--both")
    break_after(rows)
    out = tmp_path / "out"
    assert cli("video", movie, *PROMPTS, "--both", "--format", "json,overlay", "-o", out).status == 130
    assert length(out / "clip_overlay.mp4") == len(read(out)["frames"])
    outcome = cli("video", movie, *PROMPTS, "--both", "-o", out, "--resume")
    assert outcome.status == 0, outcome.err
    assert read(out) == expected
    assert length(out / "clip_overlay.mp4") == LENGTH


def test_a_crash_costs_no_more_than_since_the_last_checkpoint(
    cli: Cli,
    movie: Path,
    tmp_path: Path,
    whole: Callable[..., dict[str, Any]],
    break_after: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash() -> None:
        raise AssertionError("power cut")

    expected = whole()
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    break_after(6, crash)
    out = tmp_path / "out"
    assert cli("video", movie, *PROMPTS, "-o", out).status == 2
    assert not (out / "clip_overlay.mp4").exists()
    assert [path.name for path in (out / "clip.partial").glob("state-*")] == ["state-00000005.safetensors"]
    outcome = cli("video", movie, "-o", out, "--resume")
    assert outcome.status == 0, outcome.err
    assert read(out) == expected
    assert length(out / "clip_overlay.mp4") == 9


def test_a_crash_before_the_first_checkpoint_starts_anew(
    cli: Cli, movie: Path, tmp_path: Path, whole: Callable[..., dict[str, Any]], break_after: Callable[..., None]
) -> None:
    def crash() -> None:
        raise AssertionError("power cut")

    expected = whole()
    break_after(3, crash)
    out = tmp_path / "out"
    assert cli("video", movie, *PROMPTS, "--format", "json", "-o", out).status == 2
    assert cli("video", movie, "-o", out, "--resume").status == 0
    assert read(out) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--point", "3:1,1"], "prompts differs"),
        (["--end", "5"], "end differs"),
        (["--both"], "direction differs"),
        (["--format", "sheet"], "formats differs"),
        (["--model", "large"], "model differs"),
    ],
)
def test_resume_does_not_mix_two_runs(
    cli: Cli, movie: Path, tmp_path: Path, break_after: Callable[..., None], options: list[str], message: str
) -> None:
    break_after(2)
    assert cli("video", movie, *PROMPTS, "--format", "json", "-o", tmp_path).status == 130
    outcome = cli("video", movie, *options, "-o", tmp_path, "--resume")
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert (tmp_path / "clip.partial" / "frames.jsonl").is_file()


def test_starting_anew_says_so(cli: Cli, movie: Path, tmp_path: Path, break_after: Callable[..., None]) -> None:
    break_after(2)
    assert cli("video", movie, *PROMPTS, "--format", "json", "-o", tmp_path).status == 130
    break_after(0)
    outcome = cli("video", movie, "--box", "10:5,5,50,50", "--format", "json", "-o", tmp_path)
    assert outcome.status == 0
    assert "starting anew" in outcome.err
    assert [frame["frame"] for frame in read(tmp_path)["frames"]] == [10, 11]


def test_another_video_is_not_gone_on_with(
    cli: Cli, movie: Path, pictures: np.ndarray, tmp_path: Path, break_after: Callable[..., None]
) -> None:
    break_after(2)
    assert cli("video", movie, *PROMPTS, "--format", "json", "-o", tmp_path).status == 130
    with VideoWriter(movie, fps=20) as writer:
        for picture in pictures[:10]:
            writer.write(picture)
    outcome = cli("video", movie, "-o", tmp_path, "--resume")
    assert outcome.status == 2
    assert "has another size or length" in outcome.err


def test_a_frame_that_cannot_be_read_ends_the_run_and_keeps_the_others(
    cli: Cli, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = FrameSource._checked

    def broken(source: FrameSource, index: int, frame: np.ndarray) -> np.ndarray:
        if index == 7:
            raise ValueError(f"clip.mp4 cannot be decoded at frame {index}: Invalid data")
        return checked(source, index, frame)

    monkeypatch.setattr(FrameSource, "_checked", broken)
    outcome = cli("video", movie, "--box", "0:20,20,60,70", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.err == (
        "sam2: error: clip.mp4 cannot be decoded at frame 7: Invalid data; "
        f"7 of 12 frames are done and kept in {tmp_path / 'out'}\n"
    )
    assert length(tmp_path / "out" / "clip_overlay.mp4") == 7
    assert len(read(tmp_path / "out")["frames"]) == 7


def test_a_truncated_file_is_tracked_as_far_as_it_goes(cli: Cli, movie: Path, tmp_path: Path) -> None:
    """Matroska has no index that is lost with the end."""
    path = tmp_path / "cut.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (LENGTH, 96, 128, 3)).astype(np.uint8)
    with VideoWriter(path, fps=20) as writer:
        for picture in noise:
            writer.write(picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    outcome = cli("video", path, "--box", "0:20,20,60,70", "-o", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert 0 < len(record["frames"]) < LENGTH
    assert length(tmp_path / "out" / "cut_overlay.mp4") == len(record["frames"])
    assert outcome.status == 0 or "cannot be decoded" in outcome.err


def test_a_full_disk_is_one_line_and_leaves_the_journal(
    cli: Cli, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[..., dict[str, Any]]
) -> None:
    expected = whole()
    write = VideoWriter.write

    def full(writer: VideoWriter, frame: np.ndarray) -> None:
        if writer.num_frames == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, frame)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", full)
        outcome = cli("video", movie, *PROMPTS, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert "clip_overlay.mp4: No space left on device; 6 of 9 frames are done and kept" in outcome.err
    assert "--resume goes on" in outcome.err
    assert len(read(tmp_path / "out")["frames"]) == 6
    outcome = cli("video", movie, "-o", tmp_path / "out", "--resume")
    assert outcome.status == 0, outcome.err
    assert read(tmp_path / "out") == expected
    assert length(tmp_path / "out" / "clip_overlay.mp4") == 9


def test_ctrl_c_while_drawing_loses_no_tracking(
    cli: Cli, movie: Path, tmp_path: Path, whole: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole("--both")
    shown_of = run.shown_of

    def interrupting(row: dict[str, Any], image: np.ndarray) -> Any:
        if row["frame"] == 4:
            signal.raise_signal(signal.SIGINT)
        return shown_of(row, image)

    with monkeypatch.context() as patch:
        patch.setattr(run, "shown_of", interrupting)
        outcome = cli("video", movie, *PROMPTS, "--both", "-o", tmp_path / "out")
    assert outcome.status == 130
    assert "interrupted while drawing" in outcome.err
    assert not (tmp_path / "out" / "clip_overlay.mp4").exists()
    outcome = cli("video", movie, "-o", tmp_path / "out", "--resume")
    assert outcome.status == 0, outcome.err
    assert read(tmp_path / "out") == expected
    assert length(tmp_path / "out" / "clip_overlay.mp4") == LENGTH


def test_a_second_ctrl_c_leaves_at_once(
    cli: Cli, movie: Path, tmp_path: Path, break_after: Callable[..., None]
) -> None:
    def impatient() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    break_after(3, impatient)
    outcome = cli("video", movie, *PROMPTS, "-o", tmp_path / "out")
    assert outcome.status == 130
    assert outcome.err.strip() == "sam2: interrupted"
    assert not list((tmp_path / "out").glob("*.mp4"))
    assert (tmp_path / "out" / "clip.partial" / "frames.jsonl").is_file()
    assert signal.getsignal(signal.SIGINT) is before
