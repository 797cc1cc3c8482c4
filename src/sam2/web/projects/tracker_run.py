"""One run of tracking: which frames and objects, and going through them a frame at a time."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.interop.rle import encode_mask, mask_area, mask_edges
from sam2.io.source import FrameSource
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from sam2.tracking.results import FrameResult
from sam2.tracking.stepping import Work, advance
from sam2.web.engine.runner import Priority
from sam2.web.errors import StudioError
from sam2.web.projects.tracked import TrackedMask
from sam2.web.projects.tracker import REMEMBERED, Tracker
from sam2.web.schemas import RleMask, TrackRequest

KEPT = 256
"""Frames behind the one that is tracked whose logits are kept; of older ones the masks on disk will do."""
SAVE_SECONDS = 5.0
"""The state is saved so often at most while tracking ..."""
SAVE_SHARE = 40
"""... and so many times as long apart as it takes."""


@dataclass(frozen=True, slots=True)
class Way:
    """The frames of a run.

    Attributes:
        object_ids: the objects that are tracked.
        forward, backward: frames in the order in which they are tracked; either may be empty.
    """

    object_ids: tuple[int, ...]
    forward: range
    backward: range

    @property
    def total(self) -> int:
        """Frames in all."""
        return len(self.forward) + len(self.backward)


def plan(request: TrackRequest, num_frames: int, prompted: Mapping[int, Sequence[int]]) -> Way:
    """The way that a request means.

    Args:
        request: what was asked.
        num_frames: of the video.
        prompted: objects that are there, and the frames where something is said of each.

    Raises:
        StudioError: 422 or 404, what is wrong with the request.
    """
    start, stop, direction = request.start, request.stop, request.direction
    for name, frame in (("start", start), ("stop", stop)):
        if frame is not None and frame >= num_frames:
            raise StudioError(422, f"{name} must be a frame of the video, 0 to {num_frames - 1}, got {frame}")
    wanted = _objects(request, prompted)
    forward, backward = range(0), range(0)
    if direction in ("forward", "both"):
        last = num_frames - 1 if stop is None else stop
        if last < start:
            raise StudioError(422, f"stop must not be before start when tracking {direction}, got {stop} and {start}")
        forward = range(start, last + 1)
    if direction == "backward":
        first = 0 if stop is None else stop
        if first > start:
            raise StudioError(422, f"stop must not be after start when tracking backward, got {stop} and {start}")
        backward = range(start, first - 1, -1)
    if direction == "both":
        # Objects that are pointed out later only are tracked back from there.
        latest = max(min(prompted[object_id]) for object_id in wanted)
        backward = range(max(start, min(latest, forward.stop)) - 1, -1, -1)
    way = Way(wanted, forward, backward)
    if not any(_reached(way, prompted[object_id]) for object_id in wanted):
        raise StudioError(
            422, f"no object is pointed out where tracking {direction} from frame {start} comes by: click on one there"
        )
    return way


def _objects(request: TrackRequest, prompted: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    if request.object_ids is None:
        wanted = tuple(object_id for object_id, frames in prompted.items() if frames)
        if not wanted:
            raise StudioError(422, "nothing is pointed out yet: click on an object first, then track it")
        return wanted
    for object_id in request.object_ids:
        if object_id not in prompted:
            raise StudioError(404, f"there is no object {object_id}")
        if not prompted[object_id]:
            raise StudioError(422, f"object {object_id} is pointed out on no frame: click on it first")
    if not request.object_ids:
        raise StudioError(422, "object_ids must name at least one object, or be left out")
    return tuple(dict.fromkeys(request.object_ids))


def _reached(way: Way, frames: Sequence[int]) -> bool:
    """Whether an object's first prompt comes before the end of a direction."""
    forward = bool(way.forward) and min(frames) <= way.forward[-1]
    return forward or (bool(way.backward) and max(frames) >= way.backward[-1])


def go(tracker: Tracker, way: Way, *, cancelled: Callable[[], bool]) -> Iterator[tuple[int, list[TrackedMask]]]:
    """Track, and give (frame, masks) of each frame when it is done; what a user said of a frame is not among them.

    The state of the tracker is saved now and then. Frames that cannot be decoded end it.

    Raises:
        StudioError: a frame cannot be decoded.
        OSError: the state cannot be saved.
    """
    runner, session = tracker.runner, tracker.session
    runner.run(session.commit, priority=Priority.TRACK)
    both = bool(way.forward) and bool(way.backward)
    saving = _Saving(tracker)
    for frames, reverse in ((way.forward, False), (way.backward, True)):
        if not frames or cancelled():
            continue
        step = -1 if reverse else 1
        if not (both and reverse):
            for back in range(REMEMBERED, 0, -1):
                frame = frames.start - step * back
                if 0 <= frame < session.num_frames:
                    runner.run(
                        lambda frame=frame, reverse=reverse: tracker.remember(frame, way.object_ids, reverse=reverse),
                        priority=Priority.TRACK,
                    )
        with closing(_read(tracker.frames, frames)) as reader:
            for frame, image in reader:
                object_ids = _turn(tracker, way, frame, reverse=both and reverse)
                result = runner.run(
                    lambda frame=frame, image=image, ids=object_ids, reverse=reverse: _advance(
                        tracker, ids, frame, image, reverse=reverse, both=both
                    ),
                    priority=Priority.TRACK,
                )
                yield frame, _masks(tracker, result)
                if cancelled():
                    return
                saving.now_and_then()


def _read(source: FrameSource, frames: range) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
    """The frames of the video, as far as they can be decoded.

    Raises:
        StudioError: the first frame that cannot be decoded.
    """
    wanted = iter(frames)
    frame = next(wanted, None)
    with closing(source.read(frames.start, frames.stop, frames.step)) as reader:
        while frame is not None:
            try:
                found = next(reader, None)
            except (ValueError, OSError) as error:
                raise _undecodable(frame) from error
            if found is None:
                raise _undecodable(frame)
            yield found
            frame = next(wanted, None)


def _undecodable(frame: int) -> StudioError:
    return StudioError(
        422, f"frame {frame} of the video cannot be decoded (damaged, or cut short); the masks tracked so far are kept"
    )


def _turn(tracker: Tracker, way: Way, frame: int, *, reverse: bool) -> list[int]:
    """The objects to track on a frame; on the way back through frames of the way there, those that were not there."""
    if not reverse or frame not in way.forward:
        return list(way.object_ids)
    tracks = tracker.session.tracks
    return [i for i in way.object_ids if i in tracks and tracks[i].starts_after(frame, reverse=False)]


def _advance(
    tracker: Tracker, object_ids: Sequence[int], frame: int, image: NDArray[np.uint8], *, reverse: bool, both: bool
) -> FrameResult:
    """One frame; runs on the runner."""
    session = tracker.session
    tracks = [session.tracks[object_id] for object_id in object_ids if object_id in session.tracks]
    work = Work(session, frame, tracks, reverse, same_direction_only=both)
    needed = len(work.known) < len(tracks)
    (outputs,) = advance([work], [session.features.get(frame, image) if needed else None])
    if session.history is not None:
        for track in tracks:
            session.history.delete(track.obj_id, frame + KEPT if reverse else frame - KEPT)
    return session.result(frame, outputs)


@torch.inference_mode()
def _masks(tracker: Tracker, result: FrameResult) -> list[TrackedMask]:
    """The masks of a frame that tracking found, at the size of the video."""
    found: list[TrackedMask] = []
    scores = result.object_scores.tolist()
    for row, object_id in enumerate(result.obj_ids):
        track = tracker.session.tracks.get(object_id)
        if scores[row] == NO_OBJ_SCORE or (track is not None and result.frame_idx in track.bank.prompted):
            continue  # before its first prompt, or as the user said
        found.append(tracked_mask(object_id, result, row))
    return found


def tracked_mask(object_id: int, result: FrameResult, row: int = 0) -> TrackedMask:
    """An object of a result as it is written."""
    mask = result.masks[row].cpu().numpy()
    rle = encode_mask(mask)
    height, width = result.size
    return TrackedMask(
        object_id,
        RleMask(size=(height, width), counts=rle["counts"]),
        mask_area(rle),
        mask_edges(rle),
        min(1.0, max(0.0, float(result.ious[row]))),
        float(result.object_scores[row]),
    )


class _Saving:
    """Saves the state now and then: seldom enough to take a few hundredths of the time."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.last, self.took = time.monotonic(), 0.0

    def now_and_then(self) -> None:
        """Save, if it is time."""
        started = time.monotonic()
        if started - self.last < max(SAVE_SECONDS, SAVE_SHARE * self.took):
            return
        self.tracker.save()
        self.last = time.monotonic()
        self.took = self.last - started
