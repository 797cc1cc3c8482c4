"""Pictures and films with effects."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage
from sam2.io.video_writer import VideoWriter
from sam2.viz import Effect, make_effect
from sam2.viz.palette import Colour, object_colour
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
        masks, ids, colours = looks_of(self.project, frame, annotated)
        for effect, writer in self._films:
            writer.write(effect(image, masks, ids, colours=colours))

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
        masks, ids, colours = looks_of(self.project, frame, annotated)
        free = free_name(annotated.name, self._stems)
        self._stems.add(stem_of(free))
        for effect in self.effects:
            place = self.folder / effect
            place.mkdir(exist_ok=True)
            path = place / f"{Path(free).stem}{ending(effect, 'images')}"
            quality = {"quality": 92} if path.suffix == ".jpg" else {}
            Image.fromarray(make_effect(effect)(image, masks, ids, colours=colours)).save(path, None, **quality)


def looks_of(
    project: Project, frame: int, annotated: AnnotatedImage | None
) -> tuple[list[np.ndarray], list[int], list[Colour]]:
    """Masks [h, w] bool of the objects of a frame, numbers that are written on them, and their colours."""
    objects = () if annotated is None else annotated.objects
    ids = [place if item.track_id is None else item.track_id for place, item in enumerate(objects, start=1)]
    known = project.objects
    if project.kind == "video":
        chosen = [known[number].colour if number in known else None for number in ids]
    else:
        here = sorted(project.store.objects_on(frame).items())
        chosen = [known[number].colour for number, item in here if number in known and item.area]
        chosen = chosen if len(chosen) == len(ids) else [None] * len(ids)  # someone works on it at this moment
    colours = [object_colour(n) if c is None else _rgb(c) for n, c in zip(ids, chosen, strict=True)]
    return [item.mask() for item in objects], ids, colours


def _rgb(colour: str) -> Colour:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
