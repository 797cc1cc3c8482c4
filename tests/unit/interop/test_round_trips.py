"""What is written in a format is read again: masks, classes, numbers of objects and frames, as far as it holds them."""

import gc
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, blob, iou, masked, save_pictures

from sam2.interop.annotations import AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.formats import FORMATS, open_writers, read_annotations

LABELS = ("person", "car, red", 'Ä <tree> & "more"')
NAMES = ("straße/eins zwei.jpg", "empty.png", "a#1 & b.jpg")
FRAMES = (0, 1, 2, 6, 7)
NO_SCORES = {"davis", "sav", "yolo", "yolo-boxes"}
NO_VIDEOS = {"yolo", "yolo-boxes"}
NO_RATE = {"yolo", "yolo-boxes"}

stills_formats = pytest.mark.parametrize("name", [known.name for known in FORMATS.values() if known.images])
all_formats = pytest.mark.parametrize("name", list(FORMATS))


def thirds(seed: int) -> list[np.ndarray]:
    """Three masks beside each other, with parts and holes."""
    column = np.arange(WIDTH) * 3 // WIDTH
    return [blob(3 * seed + number, share=0.5) & (column == number) for number in range(3)]


def stills() -> list[AnnotatedImage]:
    pictures = []
    for seed, name in enumerate(NAMES):
        masks = [] if name.startswith("empty") else thirds(seed)
        objects = [
            masked(mask, label=label, score=score)
            for mask, label, score in zip(masks, LABELS, (0.5, None, 0.25), strict=False)
        ]
        pictures.append(AnnotatedImage(name, WIDTH, HEIGHT, tuple(objects)))
    return pictures


def frames() -> list[AnnotatedImage]:
    """Objects 0, 5 and 300 of a video: they go and come back, and frame 6 is empty."""
    video = VideoInfo("holiday clip.mp4", WIDTH, HEIGHT, 10, 12.5)
    found = []
    for frame in FRAMES:
        named = zip(thirds(10 + frame), LABELS, (0, 5, 300), (0.5, 0.75, 1.0), strict=True)
        objects = [
            masked(mask, label=label, track_id=track, score=score)
            for number, (mask, label, track, score) in enumerate(named)
            if frame != 6 and (frame + number) % 3 != 1
        ]
        found.append(AnnotatedImage(f"holiday clip/{frame:05d}.jpg", WIDTH, HEIGHT, tuple(objects), video, frame))
    return found


def there_and_back(name: str, folder: Path, images: Iterable[AnnotatedImage]) -> Annotations:
    listed = list(images)
    pictures = save_pictures(folder / "pictures", *(image.name for image in listed))
    writer = open_writers(name, folder / "out", labels=LABELS)
    for image in listed:
        writer.add(image)
    written = writer.close()
    assert all(path.exists() for path in written)
    assert not [path.name for path in (folder / "out").rglob(".*")]
    return read_annotations(written[0], images=pictures)


def assert_same_objects(name: str, found: AnnotatedImage, expected: AnnotatedImage) -> None:
    assert found.size == expected.size
    by_label = {item.label: item for item in found.objects}
    assert by_label.keys() == {item.label for item in expected.objects}
    assert len(found.objects) == len(expected.objects)
    for known in expected.objects:
        item = by_label[known.label]
        assert_same_area(FORMATS[name].masks, item, known)
        assert item.score == (None if name in NO_SCORES else known.score)
        if expected.video is None or name not in NO_VIDEOS:
            assert item.track_id == known.track_id


def assert_same_area(masks: str, item: ObjectAnnotation, known: ObjectAnnotation) -> None:
    if masks == "boxes":
        assert item.rle is None
        assert item.box == pytest.approx(known.box, abs=0.01)
    elif masks == "exact":
        assert np.array_equal(item.mask(), known.mask())
    else:
        assert known.area >= 200
        assert iou(item.mask(), known.mask()) >= 0.99


@stills_formats
def test_pictures(tmp_path, name) -> None:
    found = there_and_back(name, tmp_path, stills())

    by_name = {image.name: image for image in found}
    assert by_name.keys() == set(NAMES)
    assert not found.videos
    for known in stills():
        assert_same_objects(name, by_name[known.name], known)


@all_formats
def test_videos(tmp_path, name) -> None:
    found = there_and_back(name, tmp_path, frames())

    if name in NO_VIDEOS:
        assert [image.name for image in found] == [image.name for image in frames()]
    else:
        assert [image.frame for image in found] == list(FRAMES)
        (video,) = found.videos
        rate = None if name in NO_RATE else 12.5
        assert (video.name, video.width, video.height) == ("holiday clip.mp4", WIDTH, HEIGHT)
        assert (video.num_frames, video.fps) == (10, rate)
    for image, known in zip(found, frames(), strict=True):
        assert_same_objects(name, image, known)


@all_formats
def test_two_videos_stay_apart(tmp_path, name) -> None:
    first = frames()
    info = replace(first[0].video, name="other.mov", num_frames=3, fps=None)
    second = [replace(image, name=f"other/{image.frame:05d}.jpg", video=info) for image in first[:2]]
    writer = open_writers(name, tmp_path / "out")
    for image in [*first, *second]:
        writer.add(image)
    written = writer.close()
    pictures = save_pictures(tmp_path / "pictures", *(image.name for image in [*first, *second]))

    read = [read_annotations(path, images=pictures) for path in written if not path.name.endswith("_config.xml")]
    found = [image for part in read for image in part]

    assert len(found) == len(first) + len(second)
    if name not in NO_VIDEOS:
        assert {video.name for part in read for video in part.videos} == {"holiday clip.mp4", "other.mov"}
    for image, known in zip(found, [*first, *second], strict=True):
        assert_same_objects(name, image, known)


@all_formats
def test_nothing_is_left_of_what_is_discarded(tmp_path, name) -> None:
    writer = open_writers(name, tmp_path)
    for image in frames():
        writer.add(image)

    writer.discard()

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@all_formats
def test_what_was_there_before_survives_a_discard(tmp_path, name) -> None:
    writer = open_writers(name, tmp_path)
    for image in frames():
        writer.add(image)
    writer.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    writer = open_writers(name, tmp_path)
    for image in frames()[:2]:
        writer.add(image.with_objects(()))
    writer.discard()

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@all_formats
def test_memory_does_not_grow_with_the_frames(tmp_path, name) -> None:
    # identical frames, and quickly written: what a writer keeps of each is all that can grow
    video = VideoInfo("long.mp4", WIDTH, HEIGHT, 2000, 25.0)
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[10:30, 20:50] = True
    objects = (masked(square, label="car", track_id=5, score=0.5),)
    writer = open_writers(name, tmp_path)

    def add(numbers: range) -> int:
        for number in numbers:
            writer.add(AnnotatedImage(f"long/{number:05d}.jpg", WIDTH, HEIGHT, objects, video, number))
        gc.collect()  # what Python keeps of freed tuples for new ones, too
        # what the package has asked for, however deep below, and not what pytest does meanwhile
        own = tracemalloc.Filter(True, "*/sam2/interop/*", all_frames=True)
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([own]).traces)

    tracemalloc.start(4)
    try:
        early = add(range(30))
        late = add(range(30, 180))
    finally:
        tracemalloc.stop()
        writer.discard()

    assert (late - early) / 150 < 200, "bytes a frame"
