"""A project that is open: what photos and videos have in common."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.image import EncodedImages
from sam2.interop.annotations import AnnotatedImage
from sam2.viz.palette import object_colour
from sam2.web.engine.features import FeatureCache
from sam2.web.engine.prompts import frame_object
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.events import EventBus
from sam2.web.jobs import Jobs
from sam2.web.projects.store import ProjectStore, StoredObject
from sam2.web.schemas import (
    FrameObject,
    FrameState,
    FrameSummary,
    NewObject,
    ObjectChange,
    Preview,
    ProjectState,
    Prompts,
    RleMask,
    Status,
    StudioObject,
)

NOTE_SECONDS = 3.0
"""The frame that is looked at is written down so often at most."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the studio that projects use."""

    runner: Runner
    features: FeatureCache
    jobs: Jobs
    events: EventBus


class Project(ABC):
    """A video or a set of photos, its objects, what was said of them, and their masks.

    All of it is on disk before a call returns. Calls may come from any thread.

    Args:
        store: the project's folder; closed with the project.
        source: file or folder of the pictures.
        context: parts of the studio.
    """

    kind: str

    def __init__(self, store: ProjectStore, source: Path, context: Context) -> None:
        self.store, self.source, self.context = store, source, context
        self.name = store.folder.name
        self.folder = store.folder
        self.lock = threading.RLock()
        self._last_frame = store.record.last_frame
        self._noted = 0.0

    # ------------------------------------------------------------------ what a kind of project says for itself

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Photos, or frames of the video."""

    @property
    def fps(self) -> float | None:
        """Frames per second; None of photos."""
        return None

    @property
    def num_bytes(self) -> int:
        """Bytes of what is held in memory, beside features."""
        return 0

    @property
    def source_is_back(self) -> bool:
        """Whether what was gone when the project was opened is there again."""
        return False

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of a frame, upright."""

    @abstractmethod
    def frame_name(self, index: int) -> str:
        """What a frame is called."""

    @abstractmethod
    def picture(self, index: int) -> NDArray[np.uint8]:
        """A frame [h, w, 3] RGB, upright.

        Raises:
            StudioError: 404 there is none; 415 it cannot be decoded.
        """

    def small_picture(self, index: int) -> tuple[int, bytes] | None:
        """A small JPEG that is there already, and the frame that it shows, which is ``index`` or near it."""
        return None

    def picture_tag(self, index: int) -> str:
        """Changes when the picture of a frame may have changed."""
        path = self.source
        try:
            state = path.stat()
        except OSError:
            raise StudioError(404, f"the source of project {self.name} is gone") from None
        return f"{index}-{state.st_mtime_ns:x}-{state.st_size:x}"

    @abstractmethod
    def encoded(self, index: int) -> EncodedImages:
        """What the decoder needs of a frame; from the cache if it is there."""

    @abstractmethod
    def prefetch(self, index: int) -> None:
        """Have features of a frame computed, without waiting for them."""

    @abstractmethod
    def _answer(self, index: int, object_id: int, prompts: Prompts) -> FrameObject:
        """What prompts that are not empty give on a frame. Nothing is stored yet."""

    @abstractmethod
    def _preview(self, index: int, object_id: int | None, prompts: Prompts) -> Preview:
        """As :meth:`_answer`, leaving no trace."""

    @abstractmethod
    def annotated(self, *, only_done: bool = False) -> Iterator[AnnotatedImage]:
        """Frames that have masks, one after the other, as all formats take them; deleted objects are left out."""

    def _clear(self, index: int, object_id: int) -> None:
        """Everything that was said of an object on a frame is taken back."""
        return

    def _stored(self, index: int, item: FrameObject) -> None:
        """What was said on a frame is on disk."""
        return

    def _tracked(self, index: int) -> dict[int, FrameObject]:
        """Masks of a frame that come of tracking, by object."""
        return {}

    def _object_deleted(self, object_id: int) -> None:
        """An object was deleted (or was brought back: then it is said again when it is needed)."""
        return

    # ------------------------------------------------------------------ reading

    @property
    def objects(self) -> dict[int, StoredObject]:
        """Objects that are not deleted, by number."""
        return {number: item for number, item in self.store.record.objects.items() if not item.deleted}

    def state(self) -> ProjectState:
        """The project as the page shows it."""
        record, objects = self.store.record, self.objects
        height, width = self._size_or_nothing(0)
        statuses: Counter[Status] = Counter(record.statuses.get(frame, "todo") for frame in range(self.num_frames))
        return ProjectState(
            name=self.name,
            title=record.title,
            kind=record.kind,
            model=self.context.runner.name,
            num_frames=self.num_frames,
            width=width,
            height=height,
            fps=self.fps,
            objects=tuple(_public(item) for _, item in sorted(objects.items())),
            labels=tuple(dict.fromkeys(item.label for _, item in sorted(objects.items()))),
            last_frame=min(self._last_frame, self.num_frames - 1),
            statuses=dict(statuses),
            job=self.context.jobs.state(self.name),
        )

    def frame(self, index: int) -> FrameState:
        """What is known of a frame.

        Raises:
            StudioError: 404 there is no such frame; 415 its picture is damaged.
        """
        self.check_frame(index)
        height, width = self.size(index)
        with self.lock:
            found = {**self._tracked(index), **self.store.objects_on(index)}
            known = self.objects
        return FrameState(
            frame=index,
            name=self.frame_name(index),
            width=width,
            height=height,
            status=self.store.record.statuses.get(index, "todo"),
            objects=tuple(item for number, item in sorted(found.items()) if number in known),
        )

    def frames(self, start: int = 0, stop: int | None = None, status: Status | None = None) -> list[FrameSummary]:
        """Frames of ``start`` to before ``stop``, those of one status only if it is given."""
        last = self.num_frames if stop is None else min(stop, self.num_frames)
        statuses, marked, known = self.store.record.statuses, self.store.marked, self.objects
        found = []
        for index in range(start, last):
            its_status = statuses.get(index, "todo")
            if status is None or its_status == status:
                count = sum(has_mask and number in known for number, has_mask in marked.get(index, {}).items())
                found.append(FrameSummary(frame=index, name=self.frame_name(index), status=its_status, objects=count))
        return found

    def show(self, index: int) -> None:
        """Someone looks at a frame: its features are computed ahead, and the page opens here the next time."""
        self.check_frame(index)
        self._last_frame = index
        self._note_frame()
        self.prefetch(index)

    def check_frame(self, index: int) -> None:
        """Raises:
        StudioError: 404, there is no such frame.
        """
        if not 0 <= index < self.num_frames:
            raise StudioError(404, f"there is no frame {index}: there are {self.num_frames}, from 0")

    # ------------------------------------------------------------------ changing

    def set_prompts(self, index: int, object_id: int, prompts: Prompts) -> FrameObject:
        """Say all that there is to say of an object on a frame; nothing takes back what was said.

        Raises:
            StudioError: 404 no such frame or object, 422 what is wrong with the prompts, 507 the disk is full.
        """
        self.check_frame(index)
        with self.lock:
            self._object_at(object_id, index)
            stored = self.store.objects_on(index)
            if prompts.empty:
                if stored.pop(object_id, None) is not None:
                    self.store.put(index, stored)
                    self._clear(index, object_id)
                return self._tracked(index).get(object_id) or FrameObject(object_id=object_id)
            item = self._answer(index, object_id, prompts)
            self.store.put(index, {**stored, object_id: item})
            self._stored(index, item)
            return item

    def preview(self, index: int, prompts: Prompts, *, object_id: int | None = None) -> Preview:
        """The mask that ``prompts`` would give, beside what was said of the object on that frame.

        Raises:
            StudioError: 404 no such frame or object, 422 what is wrong with the prompts.
        """
        self.check_frame(index)
        if prompts.empty:
            raise StudioError(422, "prompts must hold a point, a box or a mask")
        if object_id is not None:
            self._object_at(object_id, index)
            said = self.store.objects_on(index).get(object_id)
            if said is not None and said.prompts is not None:
                before = said.prompts
                box = None if prompts.mask is not None else prompts.box or before.box
                mask = None if box is not None else prompts.mask or before.mask
                prompts = Prompts(points=(*before.points, *prompts.points)[:500], box=box, mask=mask)
        return self._preview(index, object_id, prompts)

    def add_object(self, new: NewObject) -> StudioObject:
        """A new object.

        Raises:
            StudioError: 404 no such frame, 422 a frame where there may be none or the other way round, 507.
        """
        with self.lock:
            if self.store.record.kind == "images":
                if new.frame is None:
                    raise StudioError(422, "frame must be given: an object of a photo belongs to that photo")
                self.check_frame(new.frame)
            elif new.frame is not None:
                raise StudioError(422, "frame must be left out: an object of a video is on all of its frames")
            return _public(self._add([new])[0])

    def change_object(self, object_id: int, change: ObjectChange) -> StudioObject:
        """Rename, recolour, hide, delete an object, or bring it back.

        Raises:
            StudioError: 404 there is no such object, 507 the disk is full.
        """
        with self.lock:
            known = self.store.record.objects.get(object_id)
            if known is None:
                raise StudioError(404, f"there is no object {object_id}")
            changed = known.model_copy(update=change.model_dump(exclude_none=True))
            self.store.replace(objects={**self.store.record.objects, object_id: changed})
            if changed.deleted != known.deleted:
                self._object_deleted(object_id)
            return _public(changed)

    def set_status(self, index: int, status: Status) -> FrameSummary:
        """Say how far a frame is.

        Raises:
            StudioError: 404 there is no such frame, 507 the disk is full.
        """
        self.check_frame(index)
        with self.lock:
            self.store.replace(statuses={**self.store.record.statuses, index: status}, last_frame=self._last_frame)
        return self.frames(index, index + 1)[0]

    def add_found(
        self, index: int, masks: Sequence[RleMask], *, label: str | None = None, scores: Sequence[float]
    ) -> list[FrameObject]:
        """New objects with these masks, as if they were drawn.

        Raises:
            StudioError: 404 there is no such frame, 507 the disk is full.
        """
        self.check_frame(index)
        with self.lock:
            frame = index if self.store.record.kind == "images" else None
            before = self.store.record
            objects = self._add([NewObject(label=label, frame=frame)] * len(masks))
            found = [
                frame_object(item.id, mask, prompts=Prompts(mask=mask), score=score, source="everything")
                for item, mask, score in zip(objects, masks, scores, strict=True)
            ]
            try:
                self.store.put(index, {**self.store.objects_on(index), **{item.object_id: item for item in found}})
            except StudioError:
                self.store.record = before  # objects without masks are nobody's wish; the next save says so on disk
                raise
            return found

    def close(self) -> None:
        """Let go of everything; what was done is on disk."""
        with self.lock:
            if self._last_frame != self.store.record.last_frame:
                self.store.replace(last_frame=self._last_frame)
            self.store.close()
        self.context.features.forget(self.name)

    # ------------------------------------------------------------------ small steps

    def _note_frame(self) -> None:
        """Have the frame that is looked at on disk now and then, for a start after a crash; nobody waits for it."""
        now = time.monotonic()
        if now - self._noted < NOTE_SECONDS or not self.lock.acquire(blocking=False):
            return
        try:
            self._noted = now
            if self._last_frame != self.store.record.last_frame:
                with suppress(StudioError):  # the disk is full
                    self.store.replace(last_frame=self._last_frame)
        finally:
            self.lock.release()

    def _add(self, wanted: Sequence[NewObject]) -> list[StoredObject]:
        objects = dict(self.store.record.objects)
        added = []
        for new in wanted:
            number = max(objects, default=0) + 1
            place = 1 + sum(item.frame == new.frame for item in objects.values())
            item = StoredObject(
                id=number,
                name=new.name or f"object {place}",
                label=new.label or "object",
                colour=new.colour or "#{:02x}{:02x}{:02x}".format(*object_colour(place)),
                frame=new.frame,
            )
            objects[number] = item
            added.append(item)
        if added:
            self.store.replace(objects=objects)
        return added

    def _object_at(self, object_id: int, index: int) -> StoredObject:
        item = self.objects.get(object_id)
        if item is None or item.frame not in (None, index):
            raise StudioError(404, f"there is no object {object_id} on frame {index}")
        return item

    def _size_or_nothing(self, index: int) -> tuple[int, int]:
        try:
            return self.size(index)
        except StudioError:  # the page says so where the frame is shown
            return 0, 0


def _public(item: StoredObject) -> StudioObject:
    return StudioObject(**item.model_dump(exclude={"deleted"}))
