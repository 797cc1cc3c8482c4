"""Data sets of every layout, made of a few small pictures with known masks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.formats import open_writers
from sam2.io.palette import write_palette_png
from sam2.io.video_writer import VideoWriter

HEIGHT, WIDTH = 72, 96
Mask = np.ndarray


def disks(seed: int, *, count: int = 2) -> list[Mask]:
    """Disks [h, w] bool side by side."""
    rng = np.random.default_rng(seed)
    masks = []
    for place in range(count):
        x = (place + 0.5) * WIDTH / count + rng.uniform(-4, 4)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (round(x), round(HEIGHT / 2 + rng.uniform(-9, 9))), int(rng.integers(8, 14)), (1,), -1)
        masks.append(mask > 0)
    return masks


def photo(seed: int, masks: Sequence[Mask] = ()) -> np.ndarray:
    """Noise, with the objects in bright colours."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for mask in masks:
        image[mask] = rng.integers(150, 255, 3)
    return image


def numbered(masks: Sequence[Mask], *, first: int = 1, dtype: type = np.uint8) -> np.ndarray:
    """A label map: ``first`` for the first mask, the next number for the next."""
    labels = np.zeros((HEIGHT, WIDTH), dtype)
    for number, mask in enumerate(masks, start=first):
        labels[mask] = number
    return labels


def save(path: Path, array: np.ndarray) -> Path:
    """An array as a picture; the folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **({"quality": 95} if path.suffix in (".jpg", ".webp") else {}))
    return path


@dataclass(frozen=True)
class MadeSet:
    """A data set on disk, and what is in it: masks by object, by frame, by record."""

    path: Path
    truth: Mapping[str, Mapping[int, Mapping[int, Mask]]]


def stills(folder: Path, format: str, *, names: Sequence[str] = ("park one.png", "street/b.jpg")) -> MadeSet:
    """Pictures annotated by the writer of ``format``: two objects each."""
    images, truth = [], {}
    for seed, name in enumerate(names):
        masks = disks(seed)
        save(folder / "images" / name, photo(seed, masks))
        objects = tuple(
            ObjectAnnotation.from_mask(mask, label=label) for mask, label in zip(masks, ("cat", "dog"), strict=True)
        )
        images.append(AnnotatedImage(name, WIDTH, HEIGHT, objects))
        truth[name] = {0: dict(enumerate(masks, start=1))}
    writer = open_writers([format], folder)
    for image in images:
        writer.add(image)
    writer.close()
    return MadeSet(folder, truth)


def moving(frames: int, *, seed: int = 0) -> list[dict[int, Mask]]:
    """Masks by object and frame: object 1 moves, object 2 comes after the first third and goes before the last."""
    found = []
    for t in range(frames):
        masks = {}
        for number, y in ((1, 20), (2, 52)):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(mask, (16 + (t * 5 + seed * 7) % 64, y), 9, (1,), -1)
            if number == 1 or frames // 3 <= t < frames - frames // 3:
                masks[number] = mask > 0
        found.append(masks)
    return found


def save_frames(folder: Path, truth: Sequence[Mapping[int, Mask]], *, suffix: str = ".jpg", step: int = 1) -> Path:
    """The frames of a video as files that are called by their numbers."""
    for t, masks in enumerate(truth):
        if t % step == 0:
            save(folder / f"{t:05d}{suffix}", photo(t, list(masks.values())))
    return folder


def save_video(path: Path, truth: Sequence[Mapping[int, Mask]]) -> Path:
    """The frames of a video as an mp4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=24) as writer:
        for t, masks in enumerate(truth):
            writer.write(photo(t, list(masks.values())))
    return path


def save_labels(path: Path, masks: Mapping[int, Mask]) -> None:
    """A palette PNG: the number of its object a pixel."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, mask in masks.items():
        labels[mask] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    write_palette_png(path, labels)


def davis(
    folder: Path, *, resolution: str = "480p", every: int = 1, videos: Sequence[str] = ("bear", "car 2")
) -> MadeSet:
    """The layout of DAVIS: palette PNGs, for some of the frames."""
    truth = {}
    for seed, name in enumerate(videos):
        frames = moving(6, seed=seed)
        save_frames(folder / "JPEGImages" / resolution / name, frames)
        truth[name] = {t: masks for t, masks in enumerate(frames) if t % every == 0}
        for t, masks in truth[name].items():
            save_labels(folder / "Annotations" / resolution / name / f"{t:05d}.png", masks)
    return MadeSet(folder, truth)


def sav(folder: Path, *, name: str = "sav_000001", frames: int = 13) -> MadeSet:
    """A video of SA-V and its file of masks, at every fourth frame."""
    truth = moving(frames)
    save_video(folder / f"{name}.mp4", truth)
    info = VideoInfo(name, WIDTH, HEIGHT, frames, 24.0)
    writer = open_writers(["sav"], folder / "written")
    for t in range(0, frames, 4):
        objects = tuple(ObjectAnnotation.from_mask(mask, track_id=number) for number, mask in truth[t].items())
        writer.add(AnnotatedImage(f"{name}/{t}.jpg", WIDTH, HEIGHT, objects, info, t))
    writer.close()
    written = folder / "written" / "sav" / f"{name}_manual.json"
    content = json.loads(written.read_text())
    official = {key: value for key, value in content.items() if key not in ("masklet_frame_index", "masklet_label")}
    (folder / f"{name}_manual.json").write_text(json.dumps(official))
    written.unlink()
    return MadeSet(folder, {name: {t: truth[t] for t in range(0, frames, 4)}})


def cut(path: Path, share: float = 0.5) -> Path:
    """Keep only the beginning of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
