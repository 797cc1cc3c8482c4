"""A video as a project: objects that span its frames, tracked from what is said of them on some."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.image import EncodedImages
from sam2.image.core import one_layout
from sam2.interop.annotations import AnnotatedImage, VideoInfo
from sam2.io.listed import FolderFrames
from sam2.io.video_file import VideoFile
from sam2.modeling.types import ImageFeatures
from sam2.tracking import FrameResult
from sam2.web.engine.prompts import check_said, frame_object, rle_mask
from sam2.web.engine.runner import Priority
from sam2.web.errors import StudioError
from sam2.web.jobs import Job
from sam2.web.media.strip import Strip
from sam2.web.projects.project import Context, Project
from sam2.web.projects.store import ProjectStore
from sam2.web.projects.tracked import TrackedLog
from sam2.web.projects.tracker import Said, Tracker
from sam2.web.projects.tracker_run import Way, go, plan
from sam2.web.projects.video_records import annotated
from sam2.web.projects.video_source import GoneFrames, open_video
from sam2.web.projects.video_timeline import as_frame_object, timeline
from sam2.web.schemas import (
    FrameObject,
    FrameState,
    ObjectChange,
    Preview,
    Prompts,
    RleMask,
    StudioObject,
    Timeline,
    TrackRequest,
)

LIVE_SECONDS = 0.08
"""Masks are shown live so often at most."""
PREPARED = 6
"""Objects of a tracked frame that corrections are prepared for when it is shown."""
PATIENCE = 30.0
"""Seconds that a click waits for tracking to pause; it does so after the frame that it is at."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """What the encoder made of a frame: as the tracker reads it, and as an image."""

    features: ImageFeatures
    encoded: EncodedImages


class VideoProject(Project):
    """A video and its objects.

    A click while the video is tracked pauses tracking and is answered then. What a person drew stays as drawn on its
    frame; tracking starts from what is shown.

    Args:
        store: the project's folder.
        source: the file.
        context: parts of the studio.

    Raises:
        StudioError: 404 the file is gone; 415 it is no video that can be decoded.
    """

    kind = "video"

    def __init__(self, store: ProjectStore, source: Path, context: Context) -> None:
        super().__init__(store, source, context)
        self._frames = open_video(source, store)
        self._size = (self._frames.height, self._frames.width)
        self._log = TrackedLog(self.folder / "tracked.jsonl", self._frames.num_frames, self._size)
        self._tracker = Tracker(context.runner, self._frames, log=self._log, folder=self.folder)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="sam2-look-ahead")
        self._wish = -1
        # Whoever changes the tracker has the turn; it is taken before the project's lock, never after it.
        self._turn = threading.RLock()
        self._job: Job | None = None
        self._behind = True
        self._gone = isinstance(self._frames, GoneFrames)
        tag = "" if self._gone else self.picture_tag(0)
        self._strip = Strip(self.folder / "strip.bin", self._frames, tag=tag, busy=lambda: self._job is not None)
        if not self._gone:
            self._strip.start()

    # ------------------------------------------------------------------ frames

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return self._frames.num_frames

    @property
    def fps(self) -> float | None:
        """Frames per second, where the file says so."""
        return self._frames.fps

    @property
    def num_bytes(self) -> int:
        """What the tracker remembers, and the index of its masks."""
        return self._tracker.num_bytes + self._log.num_bytes

    @property
    def source_is_back(self) -> bool:
        """Whether the file was gone when the project was opened, and is there again."""
        return self._gone and self.source.exists()

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), the same of all frames."""
        return self._size

    def frame_name(self, index: int) -> str:
        """The number of a frame; of a folder of frames, the file's name."""
        return self._frames.paths[index].name if isinstance(self._frames, FolderFrames) else f"{index:05d}"

    def picture(self, index: int) -> NDArray[np.uint8]:
        """A frame [h, w, 3] RGB, upright; see the base class for errors."""
        self.check_frame(index)
        try:
            return self._frames[index]
        except FileNotFoundError as error:
            raise StudioError(404, str(error)) from None
        except (ValueError, OSError) as error:
            raise StudioError(415, f"frame {index} of the video cannot be decoded") from error

    def small_picture(self, index: int) -> tuple[int, bytes] | None:
        """Of the strip that is made when the video is opened; while that goes on, None where it has not come yet."""
        self.check_frame(index)
        return self._strip.picture(index)

    def encoded(self, index: int) -> EncodedImages:
        """What the decoder needs of a frame: the tracker's features, as those of an image."""
        return self._view(index).encoded

    def prefetch(self, index: int) -> None:
        """Have a frame encoded when there is time, unless another one is looked at by then."""
        self._wish = index
        with suppress(RuntimeError):  # the project is being closed
            self._ahead.submit(self._look_ahead, index)

    def masks(self, start: int, stop: int) -> list[FrameState]:
        """The frames of ``range(start, stop)`` on which anything is known."""
        stop = min(stop, self.num_frames)
        if stop <= start:
            return []
        known = {*self._log.frames(start, stop), *(index for index in self.store.marked if start <= index < stop)}
        states = (self.frame(index) for index in sorted(known))
        return [state for state in states if state.objects]

    def timeline(self) -> Timeline:
        """Every object over time."""
        return timeline(self._log, sorted(self.objects), self.store.prompted)

    def annotated(self, *, only_done: bool = False) -> Iterator[AnnotatedImage]:
        """Frames with masks as all formats take them; numbers of objects are those of tracks."""
        height, width = self._size
        video = VideoInfo(self.source.name, width, height, self.num_frames, self.fps)
        statuses = self.store.record.statuses
        for index in sorted({*self._log.frames(), *self.store.marked}):
            if only_done and statuses.get(index) != "done":
                continue
            image = annotated(self.frame(index), dict(self.objects), video)
            if image.objects:
                yield image

    # ------------------------------------------------------------------ changing

    def set_prompts(self, index: int, object_id: int, prompts: Prompts) -> FrameObject:
        """As of every project; tracking is paused first."""
        self.check_frame(index)
        self._object_at(object_id, index)
        check_said(prompts, self._size)
        with self._paused():
            return super().set_prompts(index, object_id, prompts)

    def add_found(
        self, index: int, masks: Sequence[RleMask], *, label: str | None = None, scores: Sequence[float]
    ) -> list[FrameObject]:
        """New objects with these masks, as if they were drawn; tracking is paused first."""
        with self._paused():
            self._behind = True
            return super().add_found(index, masks, label=label, scores=scores)

    def change_object(self, object_id: int, change: ObjectChange) -> StudioObject:
        """As of every project; tracking is paused before an object is deleted, or brought back."""
        if change.deleted is None:
            return super().change_object(object_id, change)
        with self._paused():
            return super().change_object(object_id, change)

    def close(self) -> None:
        """Pause what tracks, save the state, and let go of everything."""
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self._strip.close()
        with suppress(StudioError), self._paused():
            self._save()
            with suppress(RuntimeError):  # the runner has ended
                self.context.runner.run(self._tracker.close)
        super().close()
        self._log.close()
        self._frames.close()

    # ------------------------------------------------------------------ tracking

    def check_track(self, request: TrackRequest) -> Way:
        """The way that a request means.

        Raises:
            StudioError: 422 or 404, what is wrong with it; 404 the video is gone.
        """
        if self._gone:
            self.picture(request.start)
        prompted: dict[int, list[int]] = {number: [] for number in sorted(self.objects)}
        for index, marks in sorted(self.store.marked.items()):
            for number in marks:
                if number in prompted:
                    prompted[number].append(index)
        return plan(request, self.num_frames, prompted)

    def track(self, request: TrackRequest, job: Job) -> None:
        """Track as ``request`` says; masks are on disk as they come.

        Raises:
            StudioError: what ended it early, in a sentence; masks so far are kept.
            OSError: the disk is full; masks so far are kept.
        """
        with self._turn:
            self._job = job
            try:
                self._track(request, job)
            except ValueError as error:
                raise StudioError(422, self._without_places(error)) from error
            finally:
                self._job = None
                self._save()

    def _track(self, request: TrackRequest, job: Job) -> None:
        self._catch_up(priority=Priority.TRACK)
        way = self.check_track(request)
        job.advance(0, total=way.total, frame=request.start)
        told, frame = 0.0, request.start
        for done, (frame, masks) in enumerate(go(self._tracker, way, cancelled=lambda: job.cancelled), 1):
            self._log.append(frame, masks)
            job.advance(done, frame=frame)
            if time.monotonic() - told >= LIVE_SECONDS:
                told = time.monotonic()
                self._tell(frame)
        self._tell(frame)
        if frame == self.num_frames - 1 and isinstance(self._frames, VideoFile) and self._frames.index.missing:
            job.message = f"the video is cut short: {self._frames.index.missing}"

    def _tell(self, frame: int) -> None:
        self.context.events.publish(self.name, "frame", self.frame(frame))

    # ------------------------------------------------------------------ what the base asks

    def _answer(self, index: int, object_id: int, prompts: Prompts) -> FrameObject:
        view = self._view(index)
        self._catch_up()
        self._behind = True  # until it is known that what was said is on disk
        result = self._compute(lambda: self._tracker.say(index, object_id, prompts, view.features))
        drawn = prompts.mask is not None and not prompts.points
        mask, score = (prompts.mask, 1.0) if drawn else _shown(result)
        return frame_object(object_id, mask, prompts=prompts, score=score, source="prompts")

    def _stored(self, index: int, item: FrameObject) -> None:
        assert item.prompts is not None  # it was said
        self._tracker.note(Said(index, item.object_id, item.prompts, item.mask))
        self._behind = False

    def _clear(self, index: int, object_id: int) -> None:
        if not self._behind:
            self._compute(lambda: self._tracker.take_back(index, object_id))

    def _preview(self, index: int, object_id: int | None, prompts: Prompts) -> Preview:
        check_said(prompts, self._size)
        view = self._view(index)
        if self._turn.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self._turn.release()
        mask, score = _shown(self._compute(lambda: self._tracker.preview(index, object_id, prompts, view.features)))
        return Preview(mask=mask, score=score)

    def _tracked(self, index: int) -> dict[int, FrameObject]:
        return {object_id: as_frame_object(item) for object_id, item in self._log.masks(index).items()}

    def _object_deleted(self, object_id: int) -> None:
        self._behind = True

    # ------------------------------------------------------------------ small steps

    def _all_said(self) -> Iterator[tuple[int, FrameObject]]:
        """(frame, what was said of an object there), of the objects that are there."""
        known = self.objects
        for index in sorted(self.store.marked):
            for number, item in sorted(self.store.objects_on(index).items()):
                if number in known and item.prompts is not None:
                    yield index, item

    def _catch_up(self, *, priority: Priority = Priority.CLICK) -> None:
        """Make the tracker know what is on disk; the caller has the turn."""
        if not self._behind:
            return
        said = [
            Said(index, item.object_id, item.prompts, item.mask)
            for index, item in self._all_said()
            if item.prompts is not None
        ]
        try:
            self._tracker.sync(said, priority=priority)
        except ValueError as error:
            raise StudioError(422, self._without_places(error)) from error
        self._behind = False

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """The turn to change the tracker; what tracks is paused first."""
        deadline = time.monotonic() + PATIENCE
        while not self._turn.acquire(timeout=0.05):
            job = self._job
            if job is not None:
                job.cancel()
            if time.monotonic() > deadline:
                raise StudioError(409, "the project is busy: try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    def _save(self) -> None:
        with suppress(OSError, RuntimeError):  # masks are in the log; a state that is missing is made again
            self._tracker.save()

    def _compute(self, work: Callable[[], FrameResult] | Callable[[], None]) -> FrameResult:
        try:
            return self.context.runner.run(work, priority=Priority.CLICK)  # type: ignore[return-value]
        except ValueError as error:
            raise StudioError(422, self._without_places(error)) from error

    def _view(self, index: int) -> FrameView:
        key = (self.name, index)
        image = None if key in self.context.features else self.picture(index)  # decoding is not the runner's affair
        return self.context.features.get(key, lambda: self._encode(self.picture(index) if image is None else image))

    def _look_ahead(self, index: int) -> None:
        if self._wish != index:
            return
        key, runner = (self.name, index), self.context.runner
        with suppress(StudioError, RuntimeError):  # a click will say so
            if key not in self.context.features:
                image = self.picture(index)
                self.context.features.prefetch(key, lambda: self._encode(image))
            for object_id in [*self._tracked(index)][:PREPARED]:
                runner.submit(lambda object_id=object_id: self._prepare(index, object_id), priority=Priority.SHOWN)

    def _prepare(self, index: int, object_id: int) -> None:
        """What a correction of an object on the frame shown needs, unless there is other work; on the runner."""
        view = self.context.features.peek((self.name, index))
        if view is not None and self._wish == index and self._job is None and not self._behind:
            self._tracker.prepare(index, object_id, view.features)

    def _encode(self, image: NDArray[np.uint8]) -> FrameView:
        model = self.context.runner.model
        features = model.encode_image(self._tracker.session.features.pixels(image)[None])
        fine, middle = (one_layout(x) for x in features.high_res)
        embed = one_layout(model.condition_on_nothing(features.embed))
        return FrameView(features, EncodedImages(embed, (fine, middle), (self._size,)))

    def _without_places(self, error: Exception) -> str:
        """A message without the name of a folder of this machine."""
        text = str(error).replace(str(self.source), self.source.name).replace(str(self.folder), self.name)
        return " ".join(text.split())


def _shown(result: FrameResult) -> tuple[RleMask, float]:
    """The mask of a single object at the size of the video, and its predicted IoU, 0..1."""
    return rle_mask(result.masks[0].cpu().numpy()), min(1.0, max(0.0, float(result.ious[0])))
