"""Which frames a video file holds and where decoding can start, found by reading its packets without decoding them."""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from av.error import FFmpegError, InvalidDataError

AV_TIME_BASE = 1_000_000
"""Units of a second in which FFmpeg tells the times of containers."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a stream in the order in which they are shown.

    Attributes:
        num_frames: how many there are.
        times: their times in units of ``time_base``, ascending; empty where the file does not give any that hold, and
            frames have to be counted instead.
        keys: frames at which decoding can start, ascending.
        key_times: where to seek for each of them.
        time_base: seconds of a unit of time.
        missing: what of the frames that the container speaks of is not there, in words; empty where all are.
    """

    num_frames: int
    times: "array[int]"
    keys: "array[int]"
    key_times: "array[int]"
    time_base: Fraction
    missing: str = ""

    def place_of(self, time: int | None) -> int | None:
        """The frame shown at ``time``, None if there is none."""
        if time is None:
            return None
        place = bisect_left(self.times, time)
        return place if place < self.num_frames and self.times[place] == time else None

    def key_before(self, index: int) -> int:
        """Number of the last key frame at or before ``index``, -1 if there is none."""
        return bisect_right(self.keys, index) - 1


def index_packets(container: Any, stream: Any) -> FrameIndex | None:
    """The index by the times of packets, or None where they do not tell the order of frames.

    Packets that a file cut short holds only in part, and those that an edit list hides, are left out.
    """
    times, key_times = array("q"), array("q")
    hidden = 0
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_discard or packet.is_corrupt:
                hidden += packet.is_discard
                continue
            if packet.pts is None:
                return None
            times.append(packet.pts)
            if packet.is_keyframe:
                key_times.append(packet.pts)
    except (InvalidDataError, EOFError):
        if not times:
            raise
    in_stored_order = all(a < b for a, b in pairwise(times))
    if in_stored_order and stream.codec_context.has_b_frames and "avi" in container.format.name:
        return None  # avi has no times of its own: these are guesses that pass over the reordering
    if not in_stored_order:
        times, key_times = array("q", sorted(times)), array("q", sorted(key_times))
        if any(a == b for a, b in pairwise(times)):
            return None
    keys = array("q", (bisect_left(times, time) for time in key_times))
    time_base = stream.time_base or Fraction(1, 1)
    missing = _missing(container, stream, len(times) + hidden, float((times[-1] if times else 0) * time_base))
    return FrameIndex(len(times), times, keys, key_times, time_base, missing)


def index_frames(container: Any, stream: Any) -> FrameIndex:
    """The index by decoding everything: slow, for the files whose packets do not tell."""
    keys, key_times = array("q"), array("q")
    count, seekable = 0, True
    try:
        for packet in container.demux(stream):
            if packet.size and packet.is_keyframe:
                seekable = seekable and packet.dts is not None
                key_times.append(packet.dts if packet.dts is not None else 0)
            for frame in decoded(packet):
                if frame.key_frame:
                    keys.append(count)
                count += 1
    except (InvalidDataError, EOFError):
        if not count:
            raise
    if not seekable or len(keys) != len(key_times):
        keys, key_times = array("q"), array("q")
    return FrameIndex(count, array("q"), keys, key_times, stream.time_base or Fraction(1, 1))


def decoded(packet: Any) -> list[Any]:
    """Frames that a packet completes; none where it is damaged, as the ones after it may be whole."""
    try:
        return packet.decode()
    except (InvalidDataError, EOFError):
        return []
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        return []


def _missing(container: Any, stream: Any, count: int, last: float) -> str:
    """What a file that was cut short lacks; ``last`` is when its last frame is shown, in seconds."""
    if "avi" in container.format.name:
        return ""  # its counts are in units of time, and its durations follow from them
    if stream.frames > count:
        return f"it holds {count} of {stream.frames} frames"
    length = (container.duration or 0) / AV_TIME_BASE
    lacking = length - (last - (container.start_time or 0) / AV_TIME_BASE)
    if stream.frames or lacking < max(1.0, length / 20):
        return ""
    return f"its frames end {lacking:.1f} seconds before its end at {length:.1f}"
