"""One frame of one session, or of several that share a model, in as few passes as possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from sam2.modeling.memory_selection import MemorySelection
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.tracking import engine
from sam2.tracking.objects import ObjectTrack
from sam2.tracking.records import FrameOutput
from sam2.tracking.results import FrameResult

if TYPE_CHECKING:
    from sam2.tracking.session import VideoSession

Outputs = dict[int, FrameOutput | None]


@dataclass(slots=True)
class Work:
    """What is to be done on one frame of a session.

    Attributes:
        tracks: the objects in question.
        same_direction_only: memories that a pass in the other direction left are not read.
        known: outputs that need no model: of prompted objects, and of those (None) whose first prompt is still to come.
    """

    session: "VideoSession"
    frame: int
    tracks: Sequence[ObjectTrack]
    reverse: bool = False
    same_direction_only: bool = False
    known: Outputs = field(init=False)

    def __post_init__(self) -> None:
        self.known = {}
        early = self.session.model.behaviour.track_before_first_prompt
        for track in self.tracks:
            if self.frame in track.bank.prompted:
                self.known[track.obj_id] = track.bank.prompted[self.frame]
            # Without any prompt: they were taken back while the pass went on.
            elif not track.bank.prompted or (not early and track.starts_after(self.frame, reverse=self.reverse)):
                self.known[track.obj_id] = None

    def selections(self) -> list[tuple[ObjectTrack, MemorySelection]]:
        """The objects that are to be tracked, and what they read."""
        session = self.session
        chosen: list[tuple[ObjectTrack, MemorySelection]] = []
        for track in self.tracks:
            if track.obj_id not in self.known:
                selection = session.select(
                    track, self.frame, reverse=self.reverse, same_direction_only=self.same_direction_only
                )
                chosen.append((track, selection))
        return chosen


@torch.inference_mode()
def advance(works: Sequence[Work], features: Sequence[ImageFeatures | None]) -> list[Outputs]:
    """Track every object of ``works`` on its frame, all in one batch, and remember what comes of it.

    Args:
        features: of each work's frame; None where nothing is to be tracked.
    """
    results = [dict(work.known) for work in works]
    chosen = [work.selections() for work in works]
    rows = [row for row, selections in enumerate(chosen) if selections]
    if rows:
        stacked = _stack([features[row] for row in rows])
        jobs = [
            engine.TrackJob(track.bank, selection, place)
            for place, row in enumerate(rows)
            for track, selection in chosen[row]
        ]
        outputs = iter(engine.track(works[0].session.model, stacked, jobs))
        for row in rows:
            for track, _ in chosen[row]:
                output = next(outputs)
                works[row].session.record(track, works[row].frame, output, reverse=works[row].reverse)
                results[row][track.obj_id] = output
    for work in works:
        for track in work.tracks:
            if work.frame in track.bank.prompted:
                work.session.pass_by(track, work.frame, reverse=work.reverse)
        work.session.evict(work.tracks, work.frame, reverse=work.reverse)
    return [
        {track.obj_id: outputs[track.obj_id] for track in work.tracks}
        for work, outputs in zip(works, results, strict=True)
    ]


def step_together(sessions: Sequence["VideoSession"], frames: Sequence[Any]) -> list[FrameResult]:
    """The next frame of several streams that share a model, in one batch; see :meth:`VideoSession.step`.

    Raises:
        ValueError: a frame that cannot be used, or sessions of different models; no session has changed.
    """
    if len(sessions) != len(frames):
        raise ValueError(f"frames must be one per session, got {len(frames)} for {len(sessions)}")
    model = _shared_model(sessions)
    pixels = [session.accept(frame) for session, frame in zip(sessions, frames, strict=True)]
    with torch.inference_mode():
        for session in sessions:
            session.commit()
        encoded = model.encode_image(torch.stack(pixels))
        works: list[Work] = []
        for row, session in enumerate(sessions):
            index = session.advance_stream(encoded[row : row + 1])
            tracks = [track for track in session.tracks.values() if track.bank.prompted]
            works.append(Work(session, index, tracks))
        outputs = advance(works, [encoded[row : row + 1] for row in range(len(works))])
        return [work.session.result(work.frame, found) for work, found in zip(works, outputs, strict=True)]


def propagate_together(sessions: Sequence["VideoSession"]) -> Iterator[tuple[int, FrameResult]]:
    """Track through several videos at once, forward from the earliest prompt of each, a batch a moment.

    Yields:
        (index of the session, result), in turn, until every video has ended.

    Raises:
        RuntimeError: a session has no prompt, or is a stream.
        ValueError: the sessions are of different models.
    """
    from sam2.tracking.passes import plan

    model = _shared_model(sessions)
    plans = [plan(session, "forward") for session in sessions]
    for session in sessions:
        session.commit()
    readers = [
        session.frames.read(one.forward.start, one.forward.stop)  # type: ignore[union-attr]  # plan refuses streams
        for session, one in zip(sessions, plans, strict=True)
    ]
    try:
        while True:
            moment = [(i, *frame) for i, reader in enumerate(readers) if (frame := next(reader, None)) is not None]
            if not moment:
                return
            works = [Work(sessions[i], frame, sessions[i].still_here(plans[i].tracks)) for i, frame, _ in moment]
            with torch.inference_mode():
                pixels = torch.stack([sessions[i].features.pixels(image) for i, _, image in moment])
                encoded = model.encode_image(pixels)
                outputs = advance(works, [encoded[row : row + 1] for row in range(len(works))])
                results = [work.session.result(work.frame, found) for work, found in zip(works, outputs, strict=True)]
            for (i, _, _), result in zip(moment, results, strict=True):
                yield i, result
    finally:
        for reader in readers:
            reader.close()


def _shared_model(sessions: Sequence["VideoSession"]) -> SAM2Base:
    if not sessions:
        raise ValueError("sessions must hold at least one session, got none")
    model = sessions[0].model
    if any(session.model is not model for session in sessions):
        raise ValueError("sessions must share one model to be stepped together")
    return model


def _stack(parts: Sequence[ImageFeatures | None]) -> ImageFeatures:
    present = [part for part in parts if part is not None]
    if len(present) == 1:
        return present[0]
    fine, middle = (torch.cat([part.high_res[level] for part in present]) for level in range(2))
    return ImageFeatures(torch.cat([part.embed for part in present]), (fine, middle), present[0].position)
