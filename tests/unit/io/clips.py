"""Small videos made on the fly, and what a plain decoder sees in them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def picture(index: int, total: int, height: int, width: int) -> np.ndarray:
    """A bar that grows from the left, and a corner whose brightness counts."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : index * width // total] = 200
    image[:8, :8] = 4 * index % 256
    return image


def write_clip(
    path: Path,
    *,
    frames: int = 40,
    size: tuple[int, int] = (64, 98),
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    gaps: list[int] | None = None,
    keys_every: int = 12,
) -> Path:
    """A clip at ``path``; ``gaps`` are the milliseconds between frames, 40 by default."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.gop_size = keys_every
        stream.codec_context.time_base = MILLISECOND
        time = 0
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, frames, *size), format="rgb24")
            frame.pts, frame.time_base = time, MILLISECOND
            time += gaps[index] if gaps else 40
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_long(path: Path, *, frames: int, size: tuple[int, int], gop: int = 50) -> Path:
    """A clip of one encoded group of pictures again and again: long files without long encoding."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        stream.codec_context.bit_rate = 4_000_000
        packets = []
        for index in range(gop):
            packets += stream.encode(av.VideoFrame.from_ndarray(picture(index, gop, *size), format="rgb24"))
        packets += stream.encode()
        group = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for index in range(frames):
            content, is_key = group[index % gop]
            packet = av.Packet(content)
            packet.stream, packet.is_keyframe = stream, is_key
            packet.pts = packet.dts = index
            packet.duration, packet.time_base = 1, Fraction(1, 25)
            container.mux(packet)
    return path


def move_index_to_front(path: Path, target: Path) -> Path:
    """The same mp4 with its index before its frames, as files for the web have it."""
    with av.open(str(path)) as given, av.open(str(target), "w", options={"movflags": "faststart"}) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
    return target


def write_sound(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_all(path: Path) -> list[np.ndarray]:
    """Every frame, in the order of a plain decoder."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
