import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sam2.io.frames import FrameSource, open_frames, stream_frames


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)


def write_folder(folder: Path, array: np.ndarray, names: list[str]) -> Path:
    folder.mkdir()
    for name, image in zip(names, array, strict=True):
        Image.fromarray(image).save(folder / name)
    return folder


def test_array_tensor_list_and_iterator_give_the_same_frames(array: np.ndarray) -> None:
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)

    for source in (array, tensor, list(array), [Image.fromarray(x) for x in array], iter(array)):
        frames = open_frames(source)

        assert (frames.num_frames, frames.height, frames.width, frames.fps) == (5, 12, 16, None)
        assert len(frames) == 5
        assert all(np.array_equal(frames[i], array[i]) for i in range(5))


def test_folder_is_read_in_natural_order(tmp_path: Path, array: np.ndarray) -> None:
    names = ["frame_1.png", "frame_2.PNG", "frame_10.bmp", "frame_11.tif", "frame_100.png"]
    folder = write_folder(tmp_path / "clip", array, names)
    (folder / "notes.txt").write_text("no image")

    frames = open_frames(folder)

    assert frames.num_frames == 5
    assert all(np.array_equal(frames[i], array[i]) for i in range(5))


@pytest.mark.parametrize("name", ["00001.jpg", "00001.jpeg", "00001.webp"])
def test_lossy_images_are_read_too(tmp_path: Path, array: np.ndarray, name: str) -> None:
    frames = open_frames(str(write_folder(tmp_path / "clip", array[:1], [name])))

    assert frames[0].shape == (12, 16, 3)


def test_a_single_image_is_a_video_of_one_frame(tmp_path: Path, array: np.ndarray) -> None:
    Image.fromarray(array[0]).save(tmp_path / "one.png")

    frames = open_frames(tmp_path / "one.png")

    assert frames.num_frames == 1
    assert np.array_equal(frames[0], array[0])


def test_a_source_stays_what_it_is(array: np.ndarray) -> None:
    frames = open_frames(array)

    assert open_frames(frames) is frames
    with frames as same:
        assert same is frames


@pytest.mark.parametrize(("span", "expected"), [((1, 4, 1), [1, 2, 3]), ((3, -1, -1), [3, 2, 1, 0]), ((2, 2, 1), [])])
def test_read_goes_either_way(array: np.ndarray, span: tuple[int, int, int], expected: list[int]) -> None:
    got = list(open_frames(array).read(*span))

    assert [index for index, _ in got] == expected
    assert all(np.array_equal(frame, array[index]) for index, frame in got)


def test_read_checks_its_range(array: np.ndarray) -> None:
    frames = open_frames(array)

    with pytest.raises(IndexError, match=r"frame 5 is not in 0\.\.4"):
        frames.read(0, 6)
    with pytest.raises(ValueError, match="step must be 1 or -1, got 2"):
        frames.read(0, 4, 2)
    for index in (-1, 5):
        with pytest.raises(IndexError, match="is not in"):
            frames[index]


class Slow(FrameSource):
    """Counts how far reading has run ahead."""

    num_frames, height, width = 1000, 2, 2

    def __init__(self, *, bad: int = -1) -> None:
        self.decoded, self.bad = 0, bad

    def _decode(self, index: int) -> np.ndarray:
        if index == self.bad:
            raise ValueError("this one is broken")
        self.decoded += 1
        return np.zeros((2, 2, 3), np.uint8)


def test_reading_ahead_is_bounded_and_ends_with_the_generator() -> None:
    source = Slow()
    reader = source.read(0, 1000)
    next(reader)
    time.sleep(0.2)

    assert 1 < source.decoded < 12
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "sam2-read-ahead"]


def test_an_error_comes_where_its_frame_would_have_come() -> None:
    reader = Slow(bad=2).read(0, 10)

    assert [next(reader)[0], next(reader)[0]] == [0, 1]
    with pytest.raises(ValueError, match="this one is broken"):
        next(reader)


def test_streams_keep_nothing_and_take_iterators_as_they_go(array: np.ndarray) -> None:
    taken = []

    def camera():
        for image in array:
            taken.append(1)
            yield image

    stream = stream_frames(camera())

    assert np.array_equal(next(stream), array[0])
    assert len(taken) == 1
    assert sum(1 for _ in stream_frames(array)) == 5


def test_bad_sources_are_named(tmp_path: Path, array: np.ndarray) -> None:
    (tmp_path / "empty").mkdir()
    other = [*array, array[0][:6]]

    with pytest.raises(ValueError, match="holds no image"):
        open_frames(tmp_path / "empty")
    with pytest.raises(ValueError, match="at least one frame"):
        open_frames([])
    with pytest.raises(ValueError, match="at least one frame"):
        open_frames(iter([]))
    with pytest.raises(ValueError, match=r"\[T, H, W, 3\], got \(12, 16, 3\)"):
        open_frames(array[0])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
        open_frames(tmp_path / "nowhere.mp4")
    with pytest.raises(TypeError, match="got float"):
        open_frames(1.5)
    with pytest.raises(ValueError, match="frame 5 has 16 x 6 pixels, the first frame 16 x 12"):
        open_frames(other)[5]


def test_a_folder_with_images_of_two_sizes_names_the_file(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_folder(tmp_path / "clip", array[:2], ["1.png", "2.png"])
    Image.fromarray(array[0][:6]).save(folder / "3.png")

    with pytest.raises(ValueError, match=r"3\.png has 16 x 6 pixels"):
        open_frames(folder)


def test_a_broken_image_in_a_folder_is_named(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_folder(tmp_path / "clip", array[:2], ["1.png", "2.png"])
    (folder / "3.png").write_bytes(b"no image")

    with pytest.raises(ValueError, match=r"3\.png is not an image"):
        open_frames(folder)


def test_hidden_files_and_masks_beside_photos_are_left_out(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_folder(tmp_path / "clip", array[:4], ["00000.jpg", "00001.jpg", "00001.png", "00002.png"])
    (folder / "._00000.jpg").write_bytes(b"left by a Mac")

    frames = open_frames(folder)

    assert [path.name for path in frames.paths] == ["00000.jpg", "00001.jpg", "00002.png"]


def test_photos_on_their_side_have_the_size_they_are_shown_with(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_folder(tmp_path / "clip", array[:1], ["1.png"])
    turned = Image.fromarray(np.rot90(array[1], -1).copy())
    exif = Image.Exif()
    exif[0x0112] = 8  # turn it left to show it
    turned.save(folder / "2.png", exif=exif)

    frames = open_frames(folder)

    assert np.array_equal(frames[1], array[1])


def test_natural_order_of_odd_names(tmp_path: Path, array: np.ndarray) -> None:
    names = ["10.png", "9.png", "a\u00b2.png", "A1.png", "b.png"]
    folder = write_folder(tmp_path / "clip", array, names)

    assert [path.name for path in open_frames(folder).paths] == ["9.png", "10.png", "A1.png", "a\u00b2.png", "b.png"]


def test_pages_of_one_file_are_frames(tmp_path: Path, array: np.ndarray) -> None:
    pages = [Image.fromarray(image) for image in array]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])

    frames = open_frames(tmp_path / "stack.tif")

    assert (frames.num_frames, frames.height, frames.width) == (5, 12, 16)
    assert all(np.array_equal(image, array[i]) for i, image in frames.read(4, -1, -1))
    assert np.array_equal(frames[2], array[2])


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_floats_are_scaled_by_the_whole_video(array: np.ndarray, kind) -> None:
    array[2] = array[2] > 200  # a dark frame: no value above 1
    layout = array if kind is np.asarray else np.ascontiguousarray(array.transpose(0, 3, 1, 2))

    for values in (layout.astype(np.float32), layout.astype(np.float32) / 255):
        frames = open_frames(kind(values))

        assert all(np.array_equal(frames[i], array[i]) for i in range(5))


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")

    with pytest.raises(OSError, match="cannot open camera 99"):
        next(stream_frames(99))
