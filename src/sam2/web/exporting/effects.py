"""Pictures and films with effects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage
from sam2.io.video_writer import VideoWriter
from sam2.viz import Effect, apply_effect, make_effect
from sam2.web.exporting.choices import ending
from sam2.web.projects.project import Project

USUAL_RATE = 25.0


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
        for name in effects:
            path = folder / f"{project.name}_{name}{ending(name, 'video')}"
            effect = make_effect(name)
            self._films.append((effect, VideoWriter(path, fps=project.fps or USUAL_RATE, alpha=effect.alpha)))

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


def write_photo(project: Project, frame: int, annotated: AnnotatedImage, effects: Sequence[str], folder: Path) -> None:
    """A photo with each of the effects, in a folder an effect."""
    image = project.picture(frame)
    masks, ids = masks_of(annotated)
    for name in effects:
        place = folder / name
        place.mkdir(exist_ok=True)
        picture = apply_effect(name, image, masks, ids=ids)
        path = place / f"{Path(annotated.name).stem}{ending(name, 'images')}"
        if path.suffix == ".jpg":
            Image.fromarray(picture).save(path, quality=92)
        else:
            Image.fromarray(picture).save(path)


def masks_of(annotated: AnnotatedImage | None) -> tuple[list[np.ndarray], list[int]]:
    """Masks [h, w] bool of the objects, and numbers that choose their colours."""
    objects = () if annotated is None else annotated.objects
    ids = [place if item.track_id is None else item.track_id for place, item in enumerate(objects, start=1)]
    return [item.mask() for item in objects], ids
