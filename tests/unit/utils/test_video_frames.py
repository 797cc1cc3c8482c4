from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sam2.utils.misc import load_video_frames
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD, frame_to_pixels

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 30, 40, 3), dtype=np.uint8)


def by_hand(frame: np.ndarray, size: int) -> torch.Tensor:
    """The official folder route, said once more."""
    resized = np.asarray(Image.fromarray(frame).resize((size, size))) / 255.0  # PIL's default is bicubic
    return torch.from_numpy((resized - np.array(IMAGE_MEAN)) / np.array(IMAGE_STD)).permute(2, 0, 1).float()


def test_pixels_are_those_of_the_official_folder_route() -> None:
    pixels = frame_to_pixels(FRAMES[0], 64)

    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels, by_hand(FRAMES[0], 64), atol=1e-6)


def test_frames_read_like_the_official_tensor() -> None:
    frames, height, width = load_video_frames(FRAMES, 64, offload_video_to_cpu=True)

    assert (height, width) == (30, 40)
    assert (len(frames), frames.shape, frames.dtype) == (4, (4, 3, 64, 64), torch.float32)
    assert torch.equal(frames[-1], frames[3])
    assert torch.allclose(frames[1:3], torch.stack([by_hand(FRAMES[i], 64) for i in (1, 2)]), atol=1e-6)
    assert len(list(frames)) == 4
    assert frames[4:].shape == (0, 3, 64, 64)
    with pytest.raises(IndexError):
        frames[4]


def test_mean_and_deviation_may_be_given_and_cuda_is_not_needed(tmp_path: Path) -> None:
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")

    frames, *_ = load_video_frames(
        str(tmp_path), 32, False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), async_loading_frames=True
    )

    unit = np.asarray(Image.fromarray(FRAMES[2]).resize((32, 32))) / 255.0
    assert np.allclose(frames[2].cpu().permute(1, 2, 0).numpy(), unit, atol=1e-6)


def test_nothing_to_load() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        load_video_frames([], 64, True)
    with pytest.raises(FileNotFoundError):
        load_video_frames("nowhere.mp4", 64, True)
