"""Semi-supervised video object segmentation: the true mask of a clip's first frame is given, the rest is tracked.

The protocol of the DAVIS challenges: J and F of every object (:mod:`sam2.eval.vos_metrics`), averaged over the
annotated frames of a clip but its first, which was given, and its last, as the official toolkit does; then over
objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2.eval.datasets import IMAGE_SUFFIXES
from sam2.eval.vos_metrics import MaskQuality, mask_quality
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking import VideoSession

RESOLUTIONS = ("480p", "Full-Resolution")
VOID = 255
"""In label images with a palette: pixels that belong to nothing. In grey ones 255 is the object."""


@dataclass(frozen=True, slots=True)
class VosClip:
    """A clip on disk.

    Attributes:
        name: of its folder.
        frames: folder of its images.
        stems: file names of the images without suffixes, in order.
        annotations: label images by the frame's index; the first one is the prompt.
    """

    name: str
    frames: Path
    stems: tuple[str, ...]
    annotations: dict[int, Path]


@dataclass(frozen=True, slots=True)
class ClipScore:
    """One object of one clip: its means over the frames that count."""

    clip: str
    obj_id: int
    frames: int
    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.j + self.f) / 2


@dataclass(frozen=True, slots=True)
class VosScores:
    """Scores of a data set, an object a row. The means are over objects."""

    objects: tuple[ClipScore, ...]

    @property
    def j(self) -> float:
        """Mean J."""
        return float(np.mean([item.j for item in self.objects]))

    @property
    def f(self) -> float:
        """Mean F."""
        return float(np.mean([item.f for item in self.objects]))

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.j + self.f) / 2


Progress = Callable[[str, int, int], None]
"""Told after every frame: the clip, frames done in it, frames in all."""


def evaluate_vos(
    model: SAM2Base, root: str | Path, *, clips: Sequence[str] | None = None, progress: Progress | None = None
) -> VosScores:
    """Track through the clips of a DAVIS-layout folder and score every object.

    Args:
        model: put in evaluation mode and back.
        root: holds ``JPEGImages/480p/CLIP/*.jpg`` and ``Annotations/480p/CLIP/*.png`` (or without ``480p``).
        clips: names; all by default.

    Raises:
        FileNotFoundError: there is no such folder, or no clip with annotations in it.
        ValueError: a name in ``clips`` is not there, or a clip has nothing to be scored.
    """
    found = open_vos(root, clips=clips)
    training = model.training
    model.eval()
    try:
        scores = [score for clip in found for score in track_clip(model, clip, progress=progress)]
    finally:
        model.train(training)
    return VosScores(tuple(scores))


def open_vos(root: str | Path, *, clips: Sequence[str] | None = None) -> list[VosClip]:
    """The clips below ``root``; see :func:`evaluate_vos` for the layout and the errors."""
    images, masks = (_resolved(Path(root) / name) for name in ("JPEGImages", "Annotations"))
    there = {folder.name: folder for folder in sorted(masks.glob("*")) if (images / folder.name).is_dir()}
    if not there:
        raise FileNotFoundError(f"no clips in the layout of DAVIS in {root} (JPEGImages/480p, Annotations/480p)")
    missing = [name for name in clips or () if name not in there]
    if missing:
        raise ValueError(f"no clip {missing[0]!r} in {root}: there are {', '.join(there)}")
    return [_open_clip(images / name, there[name]) for name in (there if clips is None else clips)]


def track_clip(model: SAM2Base, clip: VosClip, *, progress: Progress | None = None) -> list[ClipScore]:
    """The scores of every object of ``clip`` that its first annotated frame shows."""
    first, *others = sorted(clip.annotations)
    labels = read_labels(clip.annotations[first])
    obj_ids = [int(value) for value in np.unique(labels) if value]
    if not obj_ids or len(others) < 2:
        raise ValueError(f"{clip.name}: needs an object in its first annotation and at least 3 annotated frames")
    counted = set(others[:-1])
    session = VideoSession(model, clip.frames)
    for obj_id in obj_ids:
        session.add_mask(first, obj_id, labels == obj_id)
    found: dict[int, list[MaskQuality]] = {obj_id: [] for obj_id in obj_ids}
    for done, result in enumerate(session.propagate(num_frames=others[-1] - first), start=1):
        if result.frame_idx in counted:
            labels = read_labels(clip.annotations[result.frame_idx])
            for obj_id in obj_ids:
                mask = result.mask(obj_id).cpu().numpy()
                found[obj_id].append(mask_quality(mask, labels == obj_id))
        if progress is not None:
            progress(clip.name, done, others[-1] - first)
    return [_mean(clip.name, obj_id, qualities) for obj_id, qualities in found.items()]


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A label image as [h, w] uint8: 0 for the background, an object's identifier elsewhere."""
    with Image.open(path) as image:
        palette = image.mode == "P"
        labels = np.array(image if palette else image.convert("L"))
    if palette:
        labels[labels == VOID] = 0
    return labels


def _resolved(folder: Path) -> Path:
    return next((folder / name for name in RESOLUTIONS if (folder / name).is_dir()), folder)


def _open_clip(frames: Path, annotations: Path) -> VosClip:
    stems = sorted(path.stem for path in frames.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    index = {stem: i for i, stem in enumerate(stems)}
    labels = {index[path.stem]: path for path in sorted(annotations.glob("*.png")) if path.stem in index}
    if not labels:
        raise FileNotFoundError(f"no label image in {annotations} belongs to an image in {frames}")
    return VosClip(frames.name, frames, tuple(stems), labels)


def _mean(clip: str, obj_id: int, qualities: list[MaskQuality]) -> ClipScore:
    j, f = (float(np.mean([getattr(item, name) for item in qualities])) for name in ("j", "f"))
    return ClipScore(clip, obj_id, len(qualities), j, f)
