"""Which frames a pass goes through, in which order, and going through them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sam2.tracking.checks import check_count, check_frame, check_obj_id
from sam2.tracking.history import History
from sam2.tracking.objects import ObjectTrack
from sam2.tracking.results import FrameResult
from sam2.tracking.stepping import Outputs, Work, advance

if TYPE_CHECKING:
    from sam2.tracking.session import Direction, VideoSession

DIRECTIONS = ("forward", "reverse", "both")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Frames to go through: forward first, then backward; either may be empty.

    Attributes:
        own_pass_only: each direction reads memories of its own direction alone, and frames that the forward pass leaves
            incomplete (an object's first prompt is still to come) are given when the backward pass has completed them.
    """

    tracks: tuple[ObjectTrack, ...]
    forward: range
    backward: range
    own_pass_only: bool = False

    @property
    def num_frames(self) -> int:
        """Frames to be given."""
        return len({*self.forward, *self.backward})


def plan(
    session: "VideoSession",
    direction: "Direction",
    *,
    start: int | None = None,
    num_frames: int | None = None,
    obj_ids: Sequence[int] | None = None,
) -> Plan:
    """See :meth:`VideoSession.propagate`, whose checks these are."""
    if session.is_stream:
        raise RuntimeError("a stream is tracked frame by frame: call step(frame)")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    tracks = _chosen(session, obj_ids)
    count = check_count(num_frames, "num_frames") or session.num_frames
    prompted = [frame for track in tracks for frame in track.prompted_frames]
    default = max(prompted) if direction == "reverse" else min(prompted)
    first = default if start is None else check_frame(start, session.num_frames, name="start")
    forward = range(first, min(first + count, session.num_frames))
    if direction == "forward":
        return Plan(tracks, forward, range(0))
    if direction == "reverse":
        return Plan(tracks, range(0), range(first, max(first - count, -1), -1))
    latest = max(min(track.prompted_frames) for track in tracks)
    top = max(min(latest, forward.stop), first) - 1
    return Plan(tracks, forward, range(top, max(first - count, 0) - 1, -1), own_pass_only=True)


def run(
    session: "VideoSession",
    plan: Plan,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[FrameResult]:
    """Go through the frames of ``plan``; results in the order in which they are complete."""
    session.commit()
    total, done = plan.num_frames, 0
    pending = History() if plan.own_pass_only else None
    try:
        for frames, reverse in ((plan.forward, False), (plan.backward, True)):
            for frame, outputs in _go(session, plan, frames, reverse=reverse, pending=pending, cancel=cancel):
                if pending is not None and not reverse and frame in plan.backward:
                    _put_aside(pending, frame, outputs)
                    continue
                done += 1
                if progress is not None:
                    progress(done, total)
                yield session.result(frame, outputs)
    finally:
        if pending is not None:
            pending.clear()


def _go(
    session: "VideoSession",
    plan: Plan,
    frames: range,
    *,
    reverse: bool,
    pending: History | None,
    cancel: Callable[[], bool] | None,
) -> Iterator[tuple[int, Outputs]]:
    """One pass: (frame, outputs of all objects)."""
    if not frames or session.frames is None:
        return
    reader = session.frames.read(frames.start, frames.stop, frames.step)
    try:
        for frame, image in reader:
            if cancel is not None and cancel():
                return
            # An object may have been removed while the caller held the last result.
            tracks = session.still_here(plan.tracks)
            ready: Outputs = {}
            if pending is not None and reverse:
                ready = {t.obj_id: pending.get(t.obj_id, frame) for t in tracks if (t.obj_id, frame) in pending}
            rest = [track for track in tracks if track.obj_id not in ready]
            work = Work(session, frame, rest, reverse, same_direction_only=plan.own_pass_only)
            needed = len(work.known) < len(rest)
            (outputs,) = advance([work], [session.features.get(frame, image) if needed else None])
            outputs.update(ready)
            yield frame, {track.obj_id: outputs[track.obj_id] for track in tracks}
    finally:
        reader.close()


def _put_aside(pending: History, frame: int, outputs: Outputs) -> None:
    for obj_id, output in outputs.items():
        if output is not None:
            pending.put(obj_id, frame, output.without_memory())


def _chosen(session: "VideoSession", obj_ids: Sequence[int] | None) -> tuple[ObjectTrack, ...]:
    if not session.tracks:
        raise RuntimeError("No input points or masks are provided for any object; please add inputs first.")
    wanted = session.obj_ids if obj_ids is None else list(dict.fromkeys(check_obj_id(i) for i in obj_ids))
    unknown = [obj_id for obj_id in wanted if obj_id not in session.tracks]
    if unknown or not wanted:
        raise ValueError(f"obj_ids must be among {session.obj_ids}, got {list(obj_ids or ())}")
    tracks = tuple(session.tracks[obj_id] for obj_id in wanted)
    for track in tracks:
        if not track.prompted_frames:
            raise RuntimeError(
                f"No input points or masks are provided for object id {track.obj_id}; please add inputs first."
            )
    return tracks
