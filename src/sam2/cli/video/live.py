"""Tracking frames as they come, to a window, a file, or both."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sam2.cli.errors import OutputError, say
from sam2.cli.prompts import strays
from sam2.cli.video.prompts import VideoPrompt
from sam2.cli.video.sinks import Shown, draw
from sam2.cli.video.stopping import Stop
from sam2.cli.video.tracks import add_prompts
from sam2.cli.video.window import Window
from sam2.io.camera import is_live
from sam2.io.frames import stream_frames
from sam2.io.video_writer import VideoWriter
from sam2.tracking import VideoSession


@dataclass(slots=True, kw_only=True)
class Live:
    """What a live session works with.

    Attributes:
        prompts: about the first frame.
        output: a video to write, or None.
        keep_time: frames are repeated or left out so that the video is as fast as the camera was.
        count: frames to take at most.
    """

    session: VideoSession
    prompts: Sequence[VideoPrompt]
    output: Path | None
    fps: float
    screen: Window | None
    keep_time: bool
    count: int | None
    current: int = field(default=1)
    """The object that clicks are about."""


def open_source(source: str) -> tuple[Iterator[np.ndarray], bool]:
    """The frames of a camera's number, a URL or a file, and whether they come live.

    Raises:
        ValueError, OSError: it cannot be opened.
    """
    name = int(source) if source.isdecimal() else source
    return stream_frames(name), is_live(name)


def track_live(live: Live, frames: Iterator[np.ndarray], name: str) -> str:
    """Take frame after frame until the source, the user or ``count`` ends it; a line about it.

    Raises:
        ValueError: the source gives no frame, or a later one cannot be used; the video is complete up to there.
        OutputError: the video cannot be written.
    """
    writer = None if live.output is None else VideoWriter(live.output, fps=live.fps)
    done, started = 0, time.perf_counter()
    try:
        with Stop() as stop:
            for frame in frames:
                picture = _take(live, frame)
                done += 1
                if writer is not None:
                    _write(live, writer, picture, seconds=time.perf_counter() - started)
                wanted = live.screen is None or live.screen.show(picture)
                if not wanted or stop.asked or done == live.count:
                    break
    finally:
        close = getattr(frames, "close", None)
        if close is not None:
            close()
        if writer is not None:
            _close(writer)
    if not done:
        raise ValueError(f"{name} gives no frame")
    seconds = time.perf_counter() - started
    where = f": written to {live.output}" if live.output is not None else ""
    return f"{done} frames in {seconds:.1f} s ({done / seconds:.1f} frames per second){where}"


def _take(live: Live, frame: np.ndarray) -> np.ndarray:
    """Track a frame, say what is new, and draw it."""
    session = live.session
    if live.screen is not None:
        _heed_keys(live, live.screen)
    result = session.step(frame)
    index, said = result.frame_idx, list(live.prompts) if result.frame_idx == 0 else []
    for prompt in said:
        for text in strays(prompt, frame.shape[1], frame.shape[0]):
            say(f"warning: the first frame is {frame.shape[1]}x{frame.shape[0]}: {text}")
    add_prompts(session, said)
    if live.screen is not None:
        said += _clicked(live, live.screen, index)
    if said:
        result = session.result_at(index)
    shown = Shown(index, frame, result.obj_ids, list(result.masks.cpu().numpy()))
    return draw(shown, said, show_ids=len(session.obj_ids) > 1)


def _heed_keys(live: Live, screen: Window) -> None:
    if screen.reset:
        live.session.reset()
        live.current = 1
    elif screen.next_object:
        live.current = max([live.current, *live.session.obj_ids]) + 1
    screen.reset = screen.next_object = False


def _clicked(live: Live, screen: Window, frame: int) -> list[VideoPrompt]:
    """The clicks in the window since the last frame, told to the session."""
    clicks, screen.clicks = screen.clicks, []
    said = []
    for x, y, label in clicks:
        live.session.add_points(frame, live.current, points=[[x, y]], labels=[label], clear_old_points=False)
        said.append(VideoPrompt(live.current, ((x, y),), (label,), frame=frame))
    return said


def _write(live: Live, writer: VideoWriter, picture: np.ndarray, *, seconds: float) -> None:
    copies = round(seconds * live.fps) - writer.num_frames if live.keep_time else 1
    try:
        for _ in range(max(copies, 0 if writer.num_frames else 1)):
            writer.write(picture)
    except OSError as error:
        raise OutputError(f"cannot write {live.output}: {error.strerror or error}") from error


def _close(writer: VideoWriter) -> None:
    try:
        writer.close()
    except OSError as error:
        raise OutputError(f"cannot write {writer.path}: {error.strerror or error}") from error
