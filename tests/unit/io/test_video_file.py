import time
from pathlib import Path

import av
import numpy as np
import pytest
from clips import decode_all, write_clip, write_sound

from sam2.io.frames import open_frames, stream_frames
from sam2.io.video_file import VideoFile

UNEVEN = [int(gap) for gap in np.random.default_rng(0).integers(10, 120, 40)]
KINDS = {
    "b_frames.mp4": {"codec": "libx264", "options": {"bf": "3"}},
    "uneven.mp4": {"codec": "libx264", "options": {"bf": "2"}, "gaps": UNEVEN},
    "b_frames.mkv": {"codec": "libx264", "options": {"bf": "3"}},
    "late.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "lag-in-frames": "16"}},
    "old.avi": {"codec": "mpeg4"},
    "apple.mov": {"codec": "mpeg4", "options": {"bf": "2"}},
    "loop.gif": {"codec": "gif", "pixels": "rgb8"},
    "odd.mkv": {"codec": "ffv1", "size": (61, 97), "pixels": "yuv444p"},
    "one.mp4": {"codec": "mpeg4", "frames": 1},
}


def encoders_here() -> set[str]:
    return {name for name in av.codecs_available if name in {kind["codec"] for kind in KINDS.values()}}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_by_its_index(tmp_path: Path, name: str) -> None:
    if KINDS[name]["codec"] not in encoders_here():
        pytest.skip(f"this PyAV has no {KINDS[name]['codec']}")
    path = write_clip(tmp_path / name, **KINDS[name])
    expected = decode_all(path)

    frames = open_frames(path)

    count = len(expected)
    assert frames.num_frames == count == KINDS[name].get("frames", 40)
    assert (frames.height, frames.width) == expected[0].shape[:2]
    for index in np.random.default_rng(1).permutation(count):
        assert np.array_equal(frames[int(index)], expected[index]), index
    forward = list(frames.read(0, count))
    backward = list(frames.read(count - 1, -1, -1))
    assert [i for i, _ in forward] == [i for i, _ in reversed(backward)] == list(range(count))
    assert all(np.array_equal(image, expected[i]) for i, image in (*forward, *backward))


def test_reading_from_the_middle_and_other_access_meanwhile(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", options={"bf": "2"})
    expected, frames = decode_all(path), open_frames(path)

    for index, image in frames.read(17, 30):
        assert np.array_equal(image, expected[index])
        assert np.array_equal(frames[39 - index], expected[39 - index])


def test_times_rate_and_bytes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "uneven.mkv", gaps=UNEVEN)

    video = VideoFile(path)
    again = open_frames(path.read_bytes())

    gaps = np.diff(video.times) * 1000
    assert np.abs(gaps - UNEVEN[:-1]).max() <= 1.01
    assert np.array_equal(again[5], video[5])
    assert open_frames(write_clip(tmp_path / "even.mp4")).fps == pytest.approx(25, rel=0.01)


def test_rotation_is_applied(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "upright.mp4", frames=3)
    content = path.read_bytes()
    # The display matrix in the track header: the identity, and a quarter turn. 16.16 and 2.30 fixed point.
    one, minus_one, unit = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True), b"\x40\0\0\0"
    zero = bytes(4)
    identity = one + zero + zero + zero + one + zero + zero + zero + unit
    turned = zero + one + zero + minus_one + zero + zero + zero + zero + unit
    header = content.index(b"tkhd")
    place = content.index(identity, header)
    sideways = tmp_path / "sideways.mp4"
    sideways.write_bytes(content[:place] + turned + content[place + len(turned) :])

    upright, rotated = open_frames(path), open_frames(sideways)

    assert (rotated.height, rotated.width) == (upright.width, upright.height)
    assert np.array_equal(rotated[2], np.rot90(upright[2], -1))


def test_a_file_that_is_cut_off_gives_what_it_holds(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", frames=120)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])

    frames = open_frames(cut)

    assert 20 < frames.num_frames < 120
    expected = decode_all(whole)
    read = list(frames.read(0, frames.num_frames - 1))
    assert all(np.array_equal(image, expected[index]) for index, image in read)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"nonsense" * 1000)
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    sound = write_sound(tmp_path / "sound.m4a")

    for name in ("junk.mp4", "empty.mp4", "headless.mp4"):
        with pytest.raises(ValueError, match=rf"{name} (cannot be opened|is empty)"):
            open_frames(tmp_path / name)
    with pytest.raises(ValueError, match=r"sound\.m4a holds no video, only audio"):
        open_frames(sound)
    with pytest.raises(ValueError, match="the video in memory cannot be opened"):
        open_frames(b"nonsense" * 100)


def test_a_stream_of_a_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")

    assert sum(1 for _ in stream_frames(path)) == 40


@pytest.mark.slow
def test_opening_a_long_file_is_quick(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", frames=10_000, size=(32, 32), keys_every=250)

    start = time.perf_counter()
    frames = open_frames(path)
    seconds = time.perf_counter() - start

    assert frames.num_frames == 10_000
    assert seconds < 2
    assert frames[9_999].shape == (32, 32, 3)
