"""Pictures and frames with objects of every kind, for the tests of formats."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation, VideoInfo

HEIGHT, WIDTH = 90, 120


def blob(seed: int, *, share: float = 0.3, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A mask of several parts, most often with holes."""
    noise = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return smooth > np.quantile(smooth, 1 - share)


def ring() -> np.ndarray:
    """One part with two holes in it."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (60, 45), 35, (1,), -1)
    cv2.circle(mask, (52, 40), 10, (0,), -1)
    cv2.circle(mask, (75, 52), 6, (0,), -1)
    return mask > 0


def dot(x: int = 30, y: int = 20) -> np.ndarray:
    """A single pixel."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y, x] = True
    return mask


def masked(mask: np.ndarray, **fields: object) -> ObjectAnnotation:
    """An object with this mask."""
    return ObjectAnnotation.from_mask(mask, **fields)


def still(name: str = "street/one.jpg") -> AnnotatedImage:
    """A picture with masks of all kinds and an object without."""
    objects = (
        masked(ring(), label="car", score=0.75, attributes={"predicted_iou": 0.875}),
        masked(blob(1), label="tree"),
        masked(dot(), label="car"),
        ObjectAnnotation((10.5, 20.0, 40.25, 31.0), label="sign, or not", score=0.5),
    )
    return AnnotatedImage(name, WIDTH, HEIGHT, objects)


def frames(name: str = "clip.mp4", *, first: int = 0, count: int = 3) -> list[AnnotatedImage]:
    """Frames of a video: two objects with ids, one of which comes late; no object in the last one."""
    video = VideoInfo(name, WIDTH, HEIGHT, 250, 12.5)
    found = []
    for frame in range(first, first + count):
        objects = [masked(blob(frame), label="dog", track_id=7)]
        if frame > first:
            objects.append(masked(ring(), label="car", track_id=2, score=0.25))
        objects = [] if frame == first + count - 1 else objects
        found.append(AnnotatedImage(f"{name}/{frame:05d}.jpg", WIDTH, HEIGHT, tuple(objects), video, frame))
    return found


def save_pictures(folder: Path, *names: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Black pictures of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)
    return folder


def write(writer, *images: AnnotatedImage) -> list[Path]:
    """Feed a writer and close it."""
    for image in images:
        writer.add(image)
    return writer.close()


def assert_same_objects(found: AnnotatedImage, expected: AnnotatedImage, *, least_iou: float = 1.0) -> None:
    """The same objects in the same order, with all that is known of them."""
    assert (found.name, found.size) == (expected.name, expected.size)
    assert len(found.objects) == len(expected.objects)
    for item, known in zip(found.objects, expected.objects, strict=True):
        assert (item.label, item.track_id, item.score) == (known.label, known.track_id, known.score)
        assert dict(item.attributes) == dict(known.attributes)
        assert (item.rle is None) == (known.rle is None)
        if known.rle is None:
            assert np.allclose(item.box, known.box, atol=1e-3)
        else:
            assert iou(item.mask(), known.mask()) >= least_iou


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks."""
    return (first & second).sum() / max(1, (first | second).sum())
