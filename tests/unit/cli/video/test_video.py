"""``sam2 video`` from end to end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from small_tracker import tracker

from sam2.interop.rle import decode_mask
from sam2.io.palette import read_palette_png
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession

Cli = Callable[..., Any]
PROMPTS = ("--box", "0:20,20,60,70", "--point", "2@4:95,60")
LENGTH = 12


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def masks_of(record: dict[str, Any]) -> dict[tuple[int, int], np.ndarray]:
    """By (object, frame)."""
    return {
        (item["id"], frame["frame"]): decode_mask(item["segmentation"])
        for frame in record["frames"]
        for item in frame["objects"]
    }


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_everything_is_written_in_one_go(cli: Cli, movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = cli("video", movie, *PROMPTS, "--format", "overlay,masks,json,cutout,cutout-png,sheet", "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    assert outcome.out.startswith("clip.mp4: 2 objects, 12 frames in ")
    assert outcome.out.rstrip().endswith(f"frames per second): results in {out}")
    assert len(outcome.out.splitlines()) == 1
    assert sorted(path.name for path in out.iterdir()) == [
        "clip.json",
        "clip_cutout",
        "clip_cutout.webm",
        "clip_overlay.mp4",
        "clip_sheet.jpg",
        "masks",
    ]
    record = read(out / "clip.json")
    assert {key: record[key] for key in ("video", "width", "height", "fps", "num_frames", "model", "complete")} == {
        "video": "clip.mp4",
        "width": 128,
        "height": 96,
        "fps": 20,
        "num_frames": LENGTH,
        "model": "nano",
        "complete": True,
    }
    assert [[item["id"] for item in frame["objects"]] for frame in record["frames"]] == [[1]] * 4 + [[1, 2]] * 8
    names = [f"{number:05d}.png" for number in range(LENGTH)]
    assert sorted(path.name for path in (out / "masks" / "clip").iterdir()) == names
    assert sorted(path.name for path in (out / "clip_cutout").iterdir()) == names
    for name, frame in zip(names, record["frames"], strict=True):
        masks = [decode_mask(item["segmentation"]) for item in frame["objects"]]
        labels = read_palette_png(out / "masks" / "clip" / name)
        np.testing.assert_array_equal(labels > 0, np.logical_or.reduce(masks))
        for item, mask in zip(frame["objects"], masks, strict=True):
            assert item["area"] == mask.sum()
            x, y, width, height = item["bbox"]
            rows, columns = np.nonzero(mask)
            if len(rows):
                assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
        with Image.open(out / "clip_cutout" / name) as picture:
            alpha = np.asarray(picture)[..., 3]
        inside = (labels > 0).astype(np.uint8)
        assert (alpha[cv2.erode(inside, np.ones((5, 5))) > 0] == 255).all()
        assert (alpha[cv2.dilate(inside, np.ones((5, 5))) == 0] == 0).all()
    overlay = frames_of(out / "clip_overlay.mp4")
    assert len(overlay) == LENGTH
    assert overlay[0].shape == (96, 128, 3)
    with av.open(str(out / "clip_cutout.webm")) as container:
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"


def test_masks_are_those_of_a_session(cli: Cli, movie: Path, tmp_path: Path) -> None:
    assert cli("video", movie, *PROMPTS, "--format", "json", "-o", tmp_path).status == 0
    session = VideoSession(SAM2VideoPredictor(tracker()), movie)
    session.add_points(0, 1, box=[20, 20, 60, 70])
    session.add_points(4, 2, points=[[95, 60]], labels=[1])
    found = masks_of(read(tmp_path / "clip.json"))
    assert len(found) == 20
    for result in session.propagate():
        for obj_id in result.obj_ids:
            if (obj_id, result.frame_idx) in found:
                np.testing.assert_array_equal(found[obj_id, result.frame_idx], result.mask(obj_id).numpy())


def test_both_gives_what_a_session_gives(cli: Cli, movie: Path, tmp_path: Path) -> None:
    prompts = ("--box", "3:20,20,60,70", "--point", "2@6:95,60", "--box", "3@6:5,5,90,40")
    outcome = cli("video", movie, *prompts, "--both", "--format", "json,overlay,masks", "-o", tmp_path)
    assert outcome.status == 0, outcome.err
    session = VideoSession(SAM2VideoPredictor(tracker()), movie)
    session.add_points(3, 1, box=[20, 20, 60, 70])
    session.add_points(6, 2, points=[[95, 60]], labels=[1])
    session.add_points(6, 3, box=[5, 5, 90, 40])
    found = masks_of(read(tmp_path / "clip.json"))
    expected = {
        (obj_id, result.frame_idx): result.mask(obj_id).numpy()
        for result in session.propagate("both")
        for obj_id in result.obj_ids
    }
    assert found.keys() == expected.keys()
    assert len(found) == 3 * LENGTH
    for key, mask in expected.items():
        assert (found[key] != mask).mean() < 1e-3, key  # batches differ in size, and so do sums in their last bits
    assert len(frames_of(tmp_path / "clip_overlay.mp4")) == LENGTH
    assert len(list((tmp_path / "masks" / "clip").iterdir())) == LENGTH


def test_reverse_and_a_part_of_the_clip(cli: Cli, movie: Path, tmp_path: Path) -> None:
    options = ("--box", "8:20,20,60,70", "--reverse", "--start", "3", "--format", "json,overlay")
    assert cli("video", movie, *options, "-o", tmp_path).status == 0
    assert [frame["frame"] for frame in read(tmp_path / "clip.json")["frames"]] == [3, 4, 5, 6, 7, 8]
    assert len(frames_of(tmp_path / "clip_overlay.mp4")) == 6


def test_overlay_frames_show_the_prompts_of_their_frame(cli: Cli, movie: Path, tmp_path: Path) -> None:
    assert cli("video", movie, "--point", "2:100,20,0", "--box", "2:20,20,60,70", "-o", tmp_path).status == 0
    overlay = frames_of(tmp_path / "clip_overlay.mp4")  # frames 2 to 11
    red = [frame[17:24, 97:104, 0].astype(int) - frame[17:24, 97:104, 1] for frame in overlay]
    assert red[0].max() > 100
    assert red[1].max() < 100


def test_a_folder_keeps_the_names_of_its_frames(cli: Cli, pictures: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, picture in enumerate(pictures[:3], start=9):
        Image.fromarray(picture).save(folder / f"img_{number}.png")
    outcome = cli("video", folder, "--box", "0:20,20,60,70", "-o", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    masks = tmp_path / "out" / "masks" / "walk"
    assert sorted(path.name for path in masks.iterdir()) == ["img_10.png", "img_11.png", "img_9.png"]
    assert read(tmp_path / "out" / "walk.json")["fps"] == 24


def test_prompts_of_the_results_can_be_given_again(cli: Cli, movie: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    mask = np.zeros(pictures.shape[1:3], np.uint8)
    mask[30:60, 20:50] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    arguments = (*PROMPTS, "--mask", f"3@2:{tmp_path / 'mask.png'}", "--point", "7:40,40,0", "--format", "json")
    assert cli("video", movie, *arguments, "-o", tmp_path / "a").status == 0
    first = tmp_path / "a" / "clip.json"
    assert cli("video", movie, "--prompts", first, "--format", "json", "-o", tmp_path / "b").status == 0
    assert read(first)["prompts"][2]["frame"] == 4
    assert {prompt["object"] for prompt in read(first)["prompts"]} == {1, 2, 3}
    assert read(tmp_path / "b" / "clip.json") == read(first)


def test_a_click_corrects_the_mask_that_tracking_brought(cli: Cli, movie: Path, tmp_path: Path) -> None:
    arguments = ("--box", "0:20,20,60,70", "--point", "5:45,50", "--point", "5:100,20,0", "--format", "json")
    assert cli("video", movie, *arguments, "-o", tmp_path).status == 0
    found = masks_of(read(tmp_path / "clip.json"))
    session = VideoSession(SAM2VideoPredictor(tracker()), movie)
    session.add_points(0, 1, box=[20, 20, 60, 70])
    expected = {result.frame_idx: result.mask(1).numpy() for result in session.propagate(num_frames=6)}
    corrected = session.add_points(5, 1, points=[[45, 50], [100, 20]], labels=[1, 0])
    assert (corrected.mask(1).numpy() != expected[5]).any()
    expected |= {result.frame_idx: result.mask(1).numpy() for result in session.propagate(start=5)}
    assert len(found) == LENGTH
    for frame, mask in expected.items():
        np.testing.assert_array_equal(found[1, frame], mask, err_msg=str(frame))


def test_no_colour_depends_on_who_else_is_there(cli: Cli, movie: Path, tmp_path: Path) -> None:
    """Object 5 has the same label alone and beside others."""
    assert cli("video", movie, "--box", "5@0:20,20,60,70", "--format", "masks", "-o", tmp_path / "a").status == 0
    labels = read_palette_png(tmp_path / "a" / "masks" / "clip" / "00000.png")
    assert set(np.unique(labels)) == {0, 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to track: give --point FRAME:x,y"),
        (["--point", "12:5,5"], "there is a prompt on frame 12, but the video has 12 frames (0 to 11)"),
        (["--box", "0:50,50,10,10"], "x0,y0 must be left of and above x1,y1"),
        (["--point", "0:5,5", "--start", "40"], "--start 40: the video has 12 frames"),
        (["--point", "0:5,5", "--both", "--reverse"], "exclude each other"),
        (["--point", "0:5,5", "--format", "gif"], "--format must be a list of overlay"),
        (["--point", "0:5,5", "--format", ","], "nothing to write"),
        (["--point", "0:5,5", "--fps", "0"], "--fps must be above 0"),
        (["--point", "300@0:5,5"], "object ids up to 255"),
        (["--point", "0:5,5", "--model", "huge"], "unknown model 'huge'"),
        (["--mask", "0:missing.png"], "missing.png"),
        (["--prompts", "missing.json"], "--prompts missing.json: no such file"),
        (["--point", "0:5,5", "--resume"], "--resume: there is no interrupted run of"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, movie: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = cli("video", movie, *arguments, "-o", tmp_path / "out")
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.glob("out/*"))


def test_a_mask_of_another_size(cli: Cli, movie: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "mask.png")
    outcome = cli("video", movie, "--mask", f"0:{tmp_path / 'mask.png'}", "-o", tmp_path)
    assert outcome.status == 2
    assert "mask.png is 7x5" in outcome.err


def test_prompts_outside_the_frame_are_used_with_a_warning(cli: Cli, movie: Path, tmp_path: Path) -> None:
    outcome = cli("video", movie, "--box", "0:20,20,300,70", "--end", "1", "--format", "json", "-o", tmp_path)
    assert outcome.status == 0
    assert "is 128x96: on frame 0 box corner 300,70 of object 1 lies outside" in outcome.err


@pytest.mark.parametrize(("name", "message"), [("missing.mp4", "no such file"), ("empty", "holds no image")])
def test_clips_that_are_not_there(cli: Cli, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    outcome = cli("video", tmp_path / name, "--point", "0:5,5", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_file_with_sound_alone(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux([*stream.encode(sound), *stream.encode()])
    outcome = cli("video", path, "--point", "0:5,5", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.err == f"sam2: error: {path} holds no video, only audio\n"


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(5000)])
def test_files_that_are_no_videos(cli: Cli, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    outcome = cli("video", tmp_path / "clip.mp4", "--point", "0:5,5", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert "clip.mp4" in outcome.err
