from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sam2.io.frames import open_frames
from sam2.io.palette import DAVIS_PALETTE, read_palette_png, write_palette_png, write_rgba_png
from sam2.io.video_writer import VideoWriter

RED = np.broadcast_to(np.array([250, 0, 0], np.uint8), (64, 98, 3))


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.avi", "out.webm"])
def test_what_is_written_can_be_read(tmp_path: Path, name: str) -> None:
    with VideoWriter(tmp_path / "new" / name, fps=29.97) as writer:
        for _ in range(12):
            writer.write(RED)

    frames = open_frames(tmp_path / "new" / name)

    assert (frames.num_frames, frames.height, frames.width) == (12, 64, 98)
    assert frames.fps == pytest.approx(29.97, rel=1e-3)
    assert np.abs(frames[11].astype(int) - RED).max() < 8
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_rates_are_exact_fractions(tmp_path: Path) -> None:
    assert VideoWriter(tmp_path / "a.mp4", fps=29.97002997).rate == Fraction(30000, 1001)
    assert VideoWriter(tmp_path / "a.mp4", fps=25).rate == 25


def test_odd_sides_are_padded(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", fps=10) as writer:
        writer.write(RED[:61, :97])

    assert open_frames(tmp_path / "odd.mp4")[0].shape == (62, 98, 3)


def test_alpha_survives(tmp_path: Path) -> None:
    frame = np.dstack([RED, np.zeros((64, 98), np.uint8)])
    frame[10:40, 20:60, 3] = 255
    with VideoWriter(tmp_path / "cut.webm", fps=10, alpha=True) as writer:
        for _ in range(3):
            writer.write(frame)

    with av.open(str(tmp_path / "cut.webm")) as container:
        # FFmpeg's own decoder of VP9 leaves alpha out, libvpx reads it.
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        packets = container.demux(container.streams.video[0])
        shown = [f.to_ndarray(format="rgba") for packet in packets for f in decoder.decode(packet)]
    assert len(shown) == 3
    assert shown[2][25, 40, 3] > 240
    assert shown[2][60, 90, 3] < 15


def test_an_error_keeps_what_was_written(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "part.mp4", fps=10) as writer:
            writer.write(RED)
            writer.write(RED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert open_frames(tmp_path / "part.mp4").num_frames == 2


def test_nothing_written_leaves_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "none.mp4", fps=10):
        pass

    assert list(tmp_path.iterdir()) == []


def test_bad_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.mp4.*got 'a\.txt'"):
        VideoWriter(tmp_path / "a.txt", fps=10)
    with pytest.raises(ValueError, match=r"alpha needs a \.webm"):
        VideoWriter(tmp_path / "a.mp4", fps=10, alpha=True)
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="fps must be"):
            VideoWriter(tmp_path / "a.mp4", fps=fps)
    with pytest.raises(OSError, match="the installed PyAV has no encoder h2640"):
        VideoWriter(tmp_path / "a.mp4", fps=10, codec="h2640")
    writer = VideoWriter(tmp_path / "a.mp4", fps=10)
    with pytest.raises(ValueError, match=r"uint8 of shape \[H, W, 3\], got float32"):
        writer.write(RED.astype(np.float32))
    writer.write(RED)
    with pytest.raises(ValueError, match=r"\(height, width\) \(64, 98\), got \(32, 98\)"):
        writer.write(RED[:32])
    writer.close()


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / ".a.partial.avi").symlink_to(full)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)

    def write() -> None:
        with VideoWriter(tmp_path / "a.avi", fps=10) as writer:
            for _ in range(30):
                writer.write(noise)

    with pytest.raises(OSError, match=r"cannot write .*a\.avi"):
        write()

    assert not (tmp_path / "a.avi").exists()


def test_palette_pngs_hold_labels(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)

    write_palette_png(tmp_path / "00000.png", labels)

    assert np.array_equal(read_palette_png(tmp_path / "00000.png"), labels)
    assert DAVIS_PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert DAVIS_PALETTE[255].tolist() == [224, 224, 192]
    assert len(list(tmp_path.iterdir())) == 1


def test_bad_palette_files(tmp_path: Path) -> None:
    (tmp_path / "junk.png").write_bytes(b"junk")
    write_rgba_png(tmp_path / "colour.png", np.zeros((4, 4, 4), np.uint8))

    with pytest.raises(ValueError, match=r"labels must be uint8 of shape \[H, W\]"):
        write_palette_png(tmp_path / "a.png", np.zeros((4, 4), np.int64))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_palette_png(tmp_path / "junk.png")
    with pytest.raises(ValueError, match="must be a palette or 8-bit grey PNG, got mode RGBA"):
        read_palette_png(tmp_path / "colour.png")
    with pytest.raises(FileNotFoundError):
        read_palette_png(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"\[H, W, 4\]"):
        write_rgba_png(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
