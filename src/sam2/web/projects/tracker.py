"""A video's tracker, kept in step with what is on disk: what was said of objects, and the masks that were found.

Everything that touches the session runs on the runner's thread, one piece of work after the other, so that a look ahead
(a preview) and a frame of tracking never meet.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from sam2.interop.rle import decode_mask
from sam2.io.source import FrameSource
from sam2.modeling.types import ImageFeatures
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession, engine
from sam2.tracking.history import History
from sam2.tracking.objects import ObjectTrack
from sam2.tracking.prompts import read_mask
from sam2.tracking.records import FramePrompt
from sam2.tracking.results import FrameResult
from sam2.tracking.session import SessionOptions
from sam2.web.engine.runner import Priority, Runner
from sam2.web.projects.tracked import TrackedLog
from sam2.web.projects.tracker_state import load_tracker, save_tracker
from sam2.web.schemas import Prompts, RleMask

T = TypeVar("T")

REMEMBERED = 6
"""Frames before the one where tracking goes on whose memories are made again from their masks, if they are gone."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is on disk of an object on a frame: what was said, and the mask that came of it."""

    frame: int
    object_id: int
    prompts: Prompts
    mask: RleMask | None

    @property
    def key(self) -> tuple[int, int]:
        """(frame, object)."""
        return self.frame, self.object_id

    @property
    def digest(self) -> str:
        """Tells what was said from anything else."""
        text = self.prompts.model_dump_json() + ("" if self.mask is None else self.mask.counts)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Tracker:
    """The session of a video.

    What the session knows is made when it is first needed: from the state that was saved, or by saying again what is on
    disk. Where the mask that comes of it is another one than on disk (another model, or a correction whose past is
    gone), the one on disk is taken as drawn: tracking starts from what the user saw.

    Args:
        runner: computes.
        frames: the video.
        log: masks that were tracked.
        folder: where the state is saved.
    """

    def __init__(self, runner: Runner, frames: FrameSource, *, log: TrackedLog, folder: Path) -> None:
        self.runner, self.frames, self.log, self.folder = runner, frames, log, folder
        model = SAM2VideoPredictor(runner.model)
        self.session = VideoSession(model, frames, options=SessionOptions(history=History()))
        self._said: dict[tuple[int, int], str] = {}
        self._loaded = False

    # ------------------------------------------------------------------ keeping in step

    def sync(self, said: Iterable[Said], *, priority: Priority = Priority.CLICK) -> None:
        """Make the session know what is on disk, no more and no less."""
        if not self._loaded:
            self._said = self._run(self._load, priority)
            self._loaded = True
        wanted = {item.key: item for item in said}
        for key in [key for key in self._said if key not in wanted]:
            self._run(lambda key=key: self.take_back(*key), priority)
        for object_id in {key[1] for key in self._known()} - {key[1] for key in wanted}:
            self.remove(object_id)
        for key in sorted(wanted):
            item = wanted[key]
            if self._said.get(key) != item.digest:
                self._run(lambda item=item: self._say_again(item), priority)

    def note(self, item: Said) -> None:
        """What was said just now is on disk."""
        self._said[item.key] = item.digest

    def remove(self, object_id: int) -> None:
        """Forget an object; :meth:`sync` brings it back."""

        def work() -> None:
            if object_id in self.session.tracks:
                self.session.remove_object(object_id)

        self._run(work, Priority.CLICK)
        self._said = {key: value for key, value in self._said.items() if key[1] != object_id}

    @property
    def num_bytes(self) -> int:
        """Bytes of what the session remembers in memory."""
        history = self.session.history
        banks = [track.bank for track in [*self.session.tracks.values()]]
        outputs = [output for bank in banks for output in [*bank.prompted.values(), *bank.recent.values()]]
        return sum(output.num_bytes for output in outputs) + (0 if history is None else history.bytes_in_memory)

    def save(self, *, priority: Priority = Priority.TRACK) -> None:
        """Write the state, so that tracking goes on after a restart as if there had been none.

        Raises:
            OSError: it cannot be written; the former one is still there.
        """
        if self._loaded:
            said = dict(self._said)
            self._run(lambda: save_tracker(self.session, self.folder, number=self.log.number, said=said), priority)

    # ------------------------------------------------------------------ clicks; these run on the runner

    def say(self, frame: int, object_id: int, prompts: Prompts, features: ImageFeatures) -> FrameResult:
        """Say something of an object on a frame, in the place of what was said there before.

        A mask comes first, and points refine it. On a frame that was tracked the mask there is what is refined.

        Raises:
            ValueError: what is wrong with the prompts.
        """
        session = self.session
        session.features.put(frame, features)
        self.take_back(frame, object_id)
        result = None
        if prompts.mask is not None:
            result = session.add_mask(frame, object_id, decode_mask(prompts.mask.model_dump()))
        elif not self._remembers(frame, object_id) and self.log.seen(frame, object_id):
            tracked = self.log.mask(frame, object_id)
            assert tracked is not None
            result = session.add_mask(frame, object_id, decode_mask(tracked.mask.model_dump()))
        if prompts.points or prompts.box is not None:
            points = [(point.x, point.y) for point in prompts.points]
            result = session.add_points(
                frame,
                object_id,
                points=points or None,
                labels=[point.label for point in prompts.points] if points else None,
                box=prompts.box,
            )
        if result is None:
            raise ValueError("prompts must hold points, a box or a mask, got nothing")
        return result

    def preview(self, frame: int, object_id: int | None, prompts: Prompts, features: ImageFeatures) -> FrameResult:
        """What :meth:`say` would give; the session stays as it is."""
        tracks = self.session.tracks
        track = None if object_id is None else tracks.get(object_id)
        if object_id is None or track is None:
            object_id = max(tracks, default=0) + 1 if object_id is None else object_id
            try:
                return self.say(frame, object_id, prompts, features)
            finally:
                tracks.pop(object_id, None)
        kept = _Kept(track)
        try:
            return self.say(frame, object_id, prompts, features)
        finally:
            kept.put_back()

    def take_back(self, frame: int, object_id: int) -> None:
        """Forget what was said of an object on a frame; what tracking had found there before holds again."""
        self._said.pop((frame, object_id), None)
        track = self.session.tracks.get(object_id)
        if track is None:
            return
        track.prompts.pop(frame, None)
        track.drafts.pop(frame, None)
        history = self.session.history
        if track.bank.prompted.pop(frame, None) is not None and (object_id, frame) not in (history or ()):
            track.bank.directions.pop(frame, None)

    def prepare(self, frame: int, object_id: int, features: ImageFeatures) -> None:
        """Do ahead what a correction of a tracked frame needs."""
        if self._remembers(frame, object_id):
            self.session.features.put(frame, features)
            self.session.prepare(frame, object_id)

    # ------------------------------------------------------------------ tracking; this runs on the runner

    def remember(self, frame: int, object_ids: Iterable[int], *, reverse: bool) -> None:
        """Make the memories of a tracked frame again from its masks, where the session has none."""
        session = self.session
        for object_id in object_ids:
            track = session.tracks.get(object_id)
            if track is None or track.bank.has(frame) or frame in track.bank.prompted:
                continue
            if track.starts_after(frame, reverse=reverse) or not self.log.seen(frame, object_id):
                continue
            tracked = self.log.mask(frame, object_id)
            assert tracked is not None
            mask = read_mask(decode_mask(tracked.mask.model_dump()), image_size=session.model.image_size)
            features = session.features.get(frame)
            output = engine.predict_prompted(session.model, features, FramePrompt(mask=mask))
            session.record(track, frame, engine.remember_again(session.model, features, output), reverse=reverse)

    def close(self) -> None:
        """Give up what is held of the past; the video is the caller's."""
        self.session.close()

    # ------------------------------------------------------------------ small steps

    def _run(self, work: Callable[[], T], priority: Priority) -> T:
        return self.runner.run(work, priority=priority)

    def _known(self) -> set[tuple[int, int]]:
        return {*self._said, *((0, object_id) for object_id in self.session.tracks)}

    def _remembers(self, frame: int, object_id: int) -> bool:
        track = self.session.tracks.get(object_id)
        return track is not None and self.session.output_at(track, frame) is not None

    def _load(self) -> dict[tuple[int, int], str]:
        saved = load_tracker(self.session, self.folder)
        if saved is None:
            return {}
        for frame, object_id in self.log.after(saved.number):
            self._forget(frame, object_id)  # tracked anew after the state was saved
        return {key: digest for key, digest in saved.said.items() if key[1] in self.session.tracks}

    def _forget(self, frame: int, object_id: int) -> None:
        track = self.session.tracks.get(object_id)
        if track is not None and frame not in track.bank.prompted:
            track.bank.forget(frame)

    def _say_again(self, item: Said) -> None:
        features = self.session.features.get(item.frame)
        self.say(item.frame, item.object_id, item.prompts, features)
        drawn = item.prompts.mask is not None and not item.prompts.points
        if not drawn and item.mask is not None and self._differs(item):
            self.say(item.frame, item.object_id, Prompts(mask=item.mask), features)
        self.note(item)

    def _differs(self, item: Said) -> bool:
        assert item.mask is not None
        here = self.session.result_at(item.frame, [item.object_id]).masks[0].cpu()
        return not torch.equal(here, torch.from_numpy(decode_mask(item.mask.model_dump()).copy()))


class _Kept:
    """What a click changes of an object, to be put back."""

    def __init__(self, track: ObjectTrack) -> None:
        self.track = track
        self.prompts, self.drafts = dict(track.prompts), dict(track.drafts)
        self.prompted = dict(track.bank.prompted)
        self.directions = dict(track.bank.directions)

    def put_back(self) -> None:
        """The object as it was, the order of its frames included."""
        track = self.track
        track.prompts, track.drafts = self.prompts, self.drafts
        track.bank.prompted, track.bank.directions = self.prompted, self.directions
