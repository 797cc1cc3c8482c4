from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sam2.utils.misc import load_video_frames
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD, frame_to_pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (4, 30, 50, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    return tmp_path


def test_pixels_of_a_frame_are_those_of_the_official_folder_route() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)

    pixels = frame_to_pixels(frame, 64)

    resized = np.asarray(Image.fromarray(frame).resize((64, 64))) / 255.0  # PIL's default is bicubic
    expected = torch.from_numpy((resized - np.array(IMAGE_MEAN)) / np.array(IMAGE_STD)).permute(2, 0, 1).float()
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels, expected, atol=1e-6)


def test_frames_read_like_the_official_tensor(folder: Path) -> None:
    frames, height, width = load_video_frames(str(folder), 32, False, compute_device=torch.device("cpu"))

    assert (height, width, len(frames)) == (30, 50, 4)
    assert frames.shape == (4, 3, 32, 32)
    assert frames.dtype == torch.float32
    assert frames.device == torch.device("cpu")
    expected = torch.stack([frame_to_pixels(frames.frames[i], 32) for i in range(4)])
    assert torch.equal(torch.stack(list(frames)), expected)
    assert torch.equal(frames[2], expected[2])
    assert torch.equal(frames[-1], expected[3])
    assert torch.equal(frames[1:3], expected[1:3])
    assert frames[4:].shape == (0, 3, 32, 32)
    for index in (4, -5):
        with pytest.raises(IndexError):
            frames[index]


def test_mean_and_deviation_may_be_given(folder: Path) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)

    frames, _, _ = load_video_frames(folder, 16, True, mean, std, True)

    resized = np.asarray(Image.open(folder / "1.png").resize((16, 16), Image.Resampling.BICUBIC)) / 255.0
    expected = (resized - np.array(mean)) / np.array(std)
    assert np.abs(frames[1].numpy() - expected.transpose(2, 0, 1)).max() < 1e-6


def test_without_cuda_the_official_default_gives_the_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    frames, _, _ = load_video_frames(folder, 16, False)

    assert frames[0].device.type == "cpu"


def test_bad_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
        load_video_frames(tmp_path / "nowhere.mp4", 16, True)
    with pytest.raises(ValueError, match="at least one frame"):
        load_video_frames([], 16, True)
    with pytest.raises(ValueError, match="image_size must be at least 1 pixel, got 0"):
        load_video_frames(np.zeros((1, 4, 4, 3), np.uint8), 0, True)
