"""A set of photos: each is a frame, with objects of its own."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sam2.image import EncodedImages, encode
from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.pictures import picture_size
from sam2.io.listed import images_in
from sam2.web.engine.prompts import answer, frame_object, preview
from sam2.web.errors import StudioError
from sam2.web.media.kinds import can_be_told, read_photo
from sam2.web.projects.project import Context, Project
from sam2.web.projects.store import ProjectStore, StoredObject
from sam2.web.schemas import FrameObject, Preview, Prompts

T = TypeVar("T")

DECODED = 3
"""Photos that are kept decoded: the one that is shown, and those beside it."""


class ImageProject(Project):
    """Photos of a folder, or a single one.

    Frames are told by the names of their files: photos that are added to the folder later come last, and what was said
    of one that is gone stays.

    Args:
        store: the project's folder.
        source: a folder of photos, or one photo.
        context: parts of the studio.
    """

    kind = "images"

    def __init__(self, store: ProjectStore, source: Path, context: Context) -> None:
        super().__init__(store, source, context)
        names = join_names(store.record.names, photo_names(source))
        if names != store.record.names:
            store.replace(names=names, num_frames=len(names))
        self._sizes: dict[int, tuple[int, int]] = {}
        self._decoded: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        # Not the project's lock: the runner may need a photo while a click, which holds that one, waits for the runner.
        self._decoded_lock = threading.Lock()

    @property
    def num_frames(self) -> int:
        """Photos, those that are gone included."""
        return len(self.store.record.names)

    @property
    def num_bytes(self) -> int:
        """Photos that are kept decoded."""
        with self._decoded_lock:
            return sum(photo.nbytes for photo in self._decoded.values())

    def path(self, index: int) -> Path:
        """The file of a photo."""
        self.check_frame(index)
        return self.source / self.store.record.names[index] if self.source.is_dir() else self.source

    def frame_name(self, index: int) -> str:
        """The name of the file."""
        return self.store.record.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), from the head of the file."""
        found = self._sizes.get(index)
        if found is None:
            found = self._sizes[index] = self._read(index, lambda path: picture_size(path))
        return found

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The photo [h, w, 3] RGB, upright."""
        self.check_frame(index)
        with self._decoded_lock:
            found = self._decoded.get(index)
        if found is None:
            found = self._read(index, read_photo)
            with self._decoded_lock:
                self._decoded[index] = found
                while len(self._decoded) > DECODED:
                    self._decoded.popitem(last=False)
        return found

    def picture_tag(self, index: int) -> str:
        """Changes with the file."""
        state = self._read(index, lambda path: path.stat())
        return f"{index}-{state.st_mtime_ns:x}-{state.st_size:x}"

    def encoded(self, index: int) -> EncodedImages:
        """By the route of images; decoding the file is not the runner's affair."""
        features, key = self.context.features, (self.name, index)
        image = None if key in features else self.picture(index)

        def make() -> EncodedImages:
            runner = self.context.runner
            return encode(runner.model, [self.picture(index) if image is None else image], runner.transforms)

        return features.get(key, make)

    def prefetch(self, index: int) -> None:
        """Have the photo encoded when there is time."""
        if (self.name, index) in self.context.features:
            return
        image, runner = self.picture(index), self.context.runner
        self.context.features.prefetch((self.name, index), lambda: encode(runner.model, [image], runner.transforms))

    def annotated(self, *, only_done: bool = False) -> Iterator[AnnotatedImage]:
        """Photos that have masks, in order."""
        for index in sorted(self.store.marked):
            if only_done and self.store.record.statuses.get(index) != "done":
                continue
            known = self.objects
            items = [item for number, item in sorted(self.store.objects_on(index).items()) if number in known]
            found = tuple(_annotation(item, known[item.object_id]) for item in items if item.area)
            if not found:
                continue
            mask = next(item.mask for item in items if item.mask is not None)  # the photo itself may be gone by now
            yield AnnotatedImage(self.frame_name(index), mask.size[1], mask.size[0], found)

    def _answer(self, index: int, object_id: int, prompts: Prompts) -> FrameObject:
        mask, score = answer(prompts, self.encoded(index), self.context.runner)
        return frame_object(object_id, mask, prompts=prompts, score=score, source="prompts")

    def _preview(self, index: int, object_id: int | None, prompts: Prompts) -> Preview:
        return preview(prompts, self.encoded(index), self.context.runner)

    def _read(self, index: int, read: Callable[[Path], T]) -> T:
        path = self.path(index)
        try:
            return read(path)
        except FileNotFoundError:
            raise StudioError(404, f"photo {self.frame_name(index)} is gone from its folder") from None
        except (ValueError, OSError, MemoryError):
            raise StudioError(415, f"photo {self.frame_name(index)} is damaged or no picture") from None


def photo_names(source: Path) -> list[str]:
    """Names of the photos of a folder in natural order, or of the one photo; nothing if the source is gone."""
    if source.is_dir():
        return [path.name for path in images_in(source) if can_be_told(path.name)]
    return [source.name] if source.exists() else []


def join_names(former: Sequence[str], present: Sequence[str]) -> list[str]:
    """``former`` names keep their numbers, new ones come last."""
    known = set(former)
    return [*former, *(name for name in present if name not in known)]


def _annotation(item: FrameObject, known: StoredObject) -> ObjectAnnotation:
    assert item.mask is not None  # it has an area
    drawn = item.prompts is not None and item.prompts.mask is not None and item.source == "prompts"
    return ObjectAnnotation.from_rle(
        {"size": list(item.mask.size), "counts": item.mask.counts},
        label=known.label,
        score=None if drawn else item.score,
        attributes={"name": known.name},
    )
