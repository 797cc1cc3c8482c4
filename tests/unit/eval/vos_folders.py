"""Tiny benchmarks on disk, and a tracker that never loses what does not move."""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

SIZE = (48, 64)
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
Objects = dict[int, np.ndarray]


def square(x: int, y: int = 10, side: int = 12) -> np.ndarray:
    """A square on a frame of ``SIZE``, cut off at the edges."""
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, max(x, 0) : x + side] = True
    return mask


def write_frames(folder: Path, count: int, *, step: int = 1) -> None:
    """Black frames."""
    folder.mkdir(parents=True)
    for t in range(0, count * step, step):
        cv2.imwrite(str(folder / f"{t:05d}.jpg"), np.zeros((*SIZE, 3), np.uint8))


def write_labels(path: Path, objects: Objects, *, palette: bool = True) -> None:
    """A label image of objects by number; a later one lies over an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(SIZE, np.uint8)
    for number, mask in objects.items():
        labels[mask] = number
    picture = Image.fromarray(labels)
    if palette:
        picture.putpalette(PALETTE + [7] * 3 * 252 if 255 in objects else PALETTE)  # as long as it has to be
    picture.save(path)


def write_clip(
    root: Path, name: str, frames: list[Objects | None], *, inner: str = "480p", palette: bool = True
) -> None:
    """A clip of black frames, with a label image of every frame that is not None."""
    write_frames(root / "JPEGImages" / inner / name, len(frames))
    for t, objects in enumerate(frames):
        if objects is not None:
            write_labels(root / "Annotations" / inner / name / f"{t:05d}.png", objects, palette=palette)


def write_folders(root: Path, name: str, frames: list[Objects | None]) -> None:
    """A clip in the layout of SA-V: a folder of masks an object, of every frame that is not None."""
    write_frames(root / "JPEGImages_24fps" / name, len(frames))
    for t, objects in enumerate(frames):
        for number, mask in (objects or {}).items():
            path = root / "Annotations_6fps" / name / f"{number:03d}" / f"{t:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(path)


class CopyingSession:
    """Gives the prompted masks back from the frame of the prompt on; stands in for a video session."""

    asked: list[tuple[int, int]]
    """Frame and object of every prompt, of all sessions of a test; a fixture empties it."""

    def __init__(self, model: object, frames: Path | list[np.ndarray]) -> None:
        self.frames, self.prompts = frames, []

    def __enter__(self) -> "CopyingSession":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def add_mask(self, frame_idx: int, obj_id: int, mask: np.ndarray) -> None:
        self.prompts.append((frame_idx, obj_id, mask))
        CopyingSession.asked.append((frame_idx, obj_id))

    def propagate(self, *, num_frames: int | None = None):
        start = min(frame for frame, _, _ in self.prompts)
        num_frames = len(self.frames) - start if num_frames is None else num_frames
        obj_ids = list(dict.fromkeys(obj_id for _, obj_id, _ in self.prompts))
        logits = torch.full((len(obj_ids), 1, *SIZE), -10.0)
        for index in range(start, start + num_frames):
            for frame, obj_id, mask in self.prompts:
                if frame == index:
                    logits[obj_ids.index(obj_id), 0] = torch.from_numpy(mask).float() * 20 - 10
            yield Result(index, tuple(obj_ids), logits.clone())


class Result:
    """Of a frame."""

    def __init__(self, frame_idx: int, obj_ids: tuple[int, ...], logits: torch.Tensor) -> None:
        self.frame_idx, self.obj_ids, self.logits = frame_idx, obj_ids, logits

    def mask(self, obj_id: int) -> torch.Tensor:
        """[h, w]"""
        return self.logits[self.obj_ids.index(obj_id), 0] > 0
