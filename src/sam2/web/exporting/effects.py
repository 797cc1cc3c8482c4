"""Pictures and films with effects."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage
from sam2.io.video_writer import VideoWriter
from sam2.viz import Effect, apply_effect, make_effect
from sam2.web.exporting.choices import ending
from sam2.web.media.uploads import free_name, stem_of
from sam2.web.projects.project import Project

USUAL_RATE = 25.0
_SLOWEST, _FASTEST = 0.05, 500.0
"""Frames a second that films can have; some files say what cannot be."""


class Films:
    """The frames of a video with effects, each a film.

    Args:
        project: of a video.
        effects: names of effects.
        folder: where the films go.
    """

    def __init__(self, project: Project, effects: Sequence[str], folder: Path) -> None:
        self.project = project
        self._films: list[tuple[Effect, VideoWriter]] = []
        rate = min(max(project.fps or USUAL_RATE, _SLOWEST), _FASTEST)
        for name in effects:
            path = folder / f"{project.name}_{name}{ending(name, 'video')}"
            effect = make_effect(name)
            self._films.append((effect, VideoWriter(path, fps=rate, alpha=effect.alpha)))

    def write(self, frame: int, annotated: AnnotatedImage | None) -> None:
        """Add a frame; one without objects is shown as it is, or as nothing where only the object is shown."""
        image = self.project.picture(frame)
        masks, ids = masks_of(annotated)
        for effect, writer in self._films:
            writer.write(effect(image, masks, ids))

    def close(self) -> None:
        """Finish the files."""
        for _, writer in self._films:
            writer.close()

    def discard(self) -> None:
        """Let go of the files, which are thrown away with their folder; does nothing after ``close``."""
        for _, writer in self._films:
            with suppress(OSError):  # a full disk: the first error is the one to be told
                writer.close()


class Photos:
    """Photos with effects, each effect in a folder of its own.

    Args:
        project: of photos.
        effects: names of effects.
        folder: where the folders go.
    """

    def __init__(self, project: Project, effects: Sequence[str], folder: Path) -> None:
        self.project, self.effects, self.folder = project, effects, folder
        self._stems: set[str] = set()

    def write(self, frame: int, annotated: AnnotatedImage) -> None:
        """Add a photo. It keeps its name, but for the ending; another one of that name gets a number."""
        image = self.project.picture(frame)
        masks, ids = masks_of(annotated)
        free = free_name(annotated.name, self._stems)
        self._stems.add(stem_of(free))
        for effect in self.effects:
            place = self.folder / effect
            place.mkdir(exist_ok=True)
            path = place / f"{Path(free).stem}{ending(effect, 'images')}"
            quality = {"quality": 92} if path.suffix == ".jpg" else {}
            Image.fromarray(apply_effect(effect, image, masks, ids=ids)).save(path, None, **quality)


def masks_of(annotated: AnnotatedImage | None) -> tuple[list[np.ndarray], list[int]]:
    """Masks [h, w] bool of the objects, and numbers that choose their colours."""
    objects = () if annotated is None else annotated.objects
    ids = [place if item.track_id is None else item.track_id for place, item in enumerate(objects, start=1)]
    return [item.mask() for item in objects], ids
