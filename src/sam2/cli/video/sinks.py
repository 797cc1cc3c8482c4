"""The pictures that ``sam2 video`` makes, frame by frame in ascending order, in constant memory."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from sam2.cli.errors import OutputError, say
from sam2.cli.labels import Labels
from sam2.cli.outputs import jpeg_bytes, write_whole
from sam2.cli.video.asked import EFFECTS
from sam2.cli.video.prompts import VideoPrompt
from sam2.io.palette import write_palette_png, write_rgba_png
from sam2.io.video_writer import VideoWriter
from sam2.viz import DrawnPrompts, Effect, apply_effect, contact_sheet, draw_overlay, make_effect

SHEET_CELLS = 12
MAX_LABEL = 255
"""Object ids that fit into a palette PNG."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame and what was found in it.

    Attributes:
        frame: index.
        image: [h, w, 3] uint8 RGB.
        ids: n object ids.
        masks: n masks [h, w] bool.
    """

    frame: int
    image: np.ndarray
    ids: Sequence[int]
    masks: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Job:
    """What the sinks of a run need to know.

    Attributes:
        output: folder of the results.
        work: folder for files that are still being written.
        stem: what names of results begin with.
        fps: frames per second of written videos.
        names: what the file of each frame is called; empty where frames have no files of their own.
        prompts: all of them; none where everything is looked for.
        frames: the frames that the run goes through, ascending.
        labels: names of classes.
    """

    output: Path
    work: Path
    stem: str
    fps: float
    names: Sequence[str]
    prompts: Sequence[VideoPrompt]
    frames: Sequence[int]
    labels: Labels = field(default_factory=Labels)

    @property
    def several(self) -> bool:
        """Whether there may be more than one object."""
        return len({prompt.object_id for prompt in self.prompts}) != 1

    def draw(self, shown: Shown) -> np.ndarray:
        """The overlay of a frame."""
        return draw(shown, self.prompts, show_ids=self.several)

    def picture(self, folder: Path, frame: int) -> Path:
        """The PNG of a frame in ``folder``."""
        return folder / f"{Path(self.names[frame]).stem if self.names else f'{frame:05d}'}.png"


class Sink(Protocol):
    """Takes frames in ascending order. ``close`` gives the file its name; ``discard`` leaves nothing half-written."""

    def write(self, shown: Shown) -> None:
        """Take the next frame."""
        ...

    def close(self) -> list[Path]:
        """Finish; returns what was written (files or folders)."""
        ...

    def discard(self) -> None:
        """Stop without a result. Does nothing after ``close``."""
        ...


def make_sinks(formats: Sequence[str], effects: Sequence[str], job: Job) -> list[Sink]:
    """The sinks of those ``formats`` that are pictures, and of ``effects``."""
    kinds: dict[str, Callable[[Job], Sink]] = {
        "overlay": _Overlay,
        "masks": _PaletteMasks,
        "cutout-png": _CutoutPictures,
        "sheet": _Sheet,
    }
    sinks = [kinds[name](job) for name in kinds if name in formats]
    films = [name for name in EFFECTS if name in effects or (name == "cutout" and name in formats)]
    return sinks + [_EffectFilm(job, name) for name in films]


def draw(shown: Shown, prompts: Sequence[VideoPrompt], *, show_ids: bool) -> np.ndarray:
    """The frame with tints, outlines, the prompts that are about it, and ids if asked for."""
    said = {prompt.object_id: prompt for prompt in prompts if prompt.frame == shown.frame}
    drawn = [
        DrawnPrompts(said[obj_id].points, said[obj_id].labels, said[obj_id].box) if obj_id in said else DrawnPrompts()
        for obj_id in shown.ids
    ]
    # dimmed backgrounds would flicker where objects come and go
    return draw_overlay(shown.image, shown.masks, ids=shown.ids, prompts=drawn, dim=0.0, show_ids=show_ids)


def label_image(shown: Shown) -> np.ndarray:
    """[h, w] uint8, each pixel its object's id, 0 for none and for ids above 255. Smaller objects are on top."""
    labels = np.zeros(shown.image.shape[:2], np.uint8)
    order = sorted(range(len(shown.ids)), key=lambda row: -int(shown.masks[row].sum()))
    for row in order:
        if shown.ids[row] <= MAX_LABEL:
            labels[shown.masks[row]] = shown.ids[row]
    return labels


class _Film:
    """A video that grows in the work folder and is moved to its place when it is done."""

    def __init__(self, job: Job, name: str, *, alpha: bool = False) -> None:
        self._draft = job.work / name
        self._path = job.output / f"{job.stem}_{name}"
        self._fps, self._alpha = job.fps, alpha
        self._writer: VideoWriter | None = None

    def write(self, picture: np.ndarray) -> None:
        """Add [h, w, 3 or 4] uint8."""
        writer = self._writer or VideoWriter(self._draft, fps=self._fps, alpha=self._alpha)
        self._writer = writer
        try:
            writer.write(picture)
        except OSError as error:
            raise _cannot(self._path, error) from error

    def close(self) -> list[Path]:
        """Finish the file; nothing if no frame came."""
        if self._writer is None:
            return []
        writer, self._writer = self._writer, None
        try:
            writer.close()
            os.replace(self._draft, self._path)
        except OSError as error:
            raise _cannot(self._path, error) from error
        return [self._path]

    def discard(self) -> None:
        """Drop what there is."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError, ValueError):  # the disk may be full: it is thrown away in any case
                writer.close()
            self._draft.unlink(missing_ok=True)


class _Overlay:
    def __init__(self, job: Job) -> None:
        self._film, self._job = _Film(job, "overlay.mp4"), job
        self.close, self.discard = self._film.close, self._film.discard

    def write(self, shown: Shown) -> None:
        self._film.write(self._job.draw(shown))


class _EffectFilm:
    def __init__(self, job: Job, name: str) -> None:
        self._effect: Effect = make_effect(name)
        alpha = self._effect.alpha
        self._film = _Film(job, f"{name}.{'webm' if alpha else 'mp4'}", alpha=alpha)
        self.close, self.discard = self._film.close, self._film.discard

    def write(self, shown: Shown) -> None:
        self._film.write(self._effect(shown.image, shown.masks, shown.ids))


class _Pictures:
    """A folder with a PNG for every frame; each is whole or not there, so that nothing has to be discarded."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        self._made = False

    def path_of(self, frame: int) -> Path:
        """The file of a frame, its folder made."""
        if not self._made:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _cannot(self._folder, error) from error
            self._made = True
        return self._job.picture(self._folder, frame)

    def close(self) -> list[Path]:
        return [self._folder] if self._made else []

    def discard(self) -> None:
        """Nothing is half-written."""


class _PaletteMasks(_Pictures):
    def __init__(self, job: Job) -> None:
        super().__init__(job, job.output / "masks" / job.stem)
        self._warned = False

    def write(self, shown: Shown) -> None:
        path = self.path_of(shown.frame)
        if not self._warned and max(shown.ids, default=0) > MAX_LABEL:
            say(f"warning: {self._folder}: from object {MAX_LABEL + 1} on none is drawn: PNGs hold no larger numbers")
            self._warned = True
        try:
            write_palette_png(path, label_image(shown))
        except OSError as error:
            raise _cannot(path, error) from error


class _CutoutPictures(_Pictures):
    def __init__(self, job: Job) -> None:
        super().__init__(job, job.output / f"{job.stem}_cutout")

    def write(self, shown: Shown) -> None:
        path = self.path_of(shown.frame)
        try:
            write_rgba_png(path, apply_effect("cutout", shown.image, shown.masks))
        except OSError as error:
            raise _cannot(path, error) from error


class _Sheet:
    """A few frames, evenly spread over the run, on one page."""

    def __init__(self, job: Job) -> None:
        spread = np.linspace(0, len(job.frames) - 1, min(SHEET_CELLS, len(job.frames)))
        self._chosen = {job.frames[round(place)] for place in spread}
        self._path, self._job = job.output / f"{job.stem}_sheet.jpg", job
        self._cells: list[np.ndarray] = []
        self._captions: list[str] = []

    def write(self, shown: Shown) -> None:
        if shown.frame in self._chosen:
            picture = self._job.draw(shown)
            scale = min(1.0, 480 / max(picture.shape[:2]))
            self._cells.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
            self._captions.append(f"frame {shown.frame}")

    def close(self) -> list[Path]:
        if not self._cells:
            return []
        write_whole(self._path, jpeg_bytes(contact_sheet(self._cells, captions=self._captions, cell=400)))
        return [self._path]

    def discard(self) -> None:
        self._cells, self._captions = [], []


def _cannot(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}")
