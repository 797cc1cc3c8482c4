"""The official ``load_video_frames``, without holding a video's worth of float32."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from sam2.io.frames import FrameSource, open_frames

from .transforms import IMAGE_MEAN, IMAGE_STD, unit_frame


class NormalisedFrames(Sequence[Tensor]):
    """Frames as the model reads them, [3, S, S] float32 each, made when they are asked for.

    Reads as the official tensor [T, 3, S, S] does: ``len``, ``shape``, an index, a slice (a tensor of those frames),
    iteration.

    Args:
        frames: where they come from.
        image_size: S.
        mean, std: of the three channels, for values in 0..1.
        device: where they are put.
    """

    def __init__(
        self,
        frames: FrameSource,
        image_size: int,
        *,
        mean: Sequence[float] = IMAGE_MEAN,
        std: Sequence[float] = IMAGE_STD,
        device: torch.device | str = "cpu",
    ) -> None:
        self.frames, self.image_size, self.device = frames, image_size, torch.device(device)
        self._mean, self._std = (torch.tensor(values).reshape(3, 1, 1) for values in (mean, std))

    def __len__(self) -> int:
        return self.frames.num_frames

    @property
    def shape(self) -> torch.Size:
        """[T, 3, S, S]."""
        return torch.Size((len(self), 3, self.image_size, self.image_size))

    @property
    def dtype(self) -> torch.dtype:
        """float32, as officially."""
        return torch.float32

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Tensor: ...
    def __getitem__(self, index: int | slice) -> Tensor:
        """Frame ``index`` [3, S, S] (from the end if below 0), or the frames of a slice [t, 3, S, S]."""
        if isinstance(index, slice):
            rows = [self[i] for i in range(*index.indices(len(self)))]
            return torch.stack(rows) if rows else torch.zeros(0, *self.shape[1:], device=self.device)
        image = self.frames[index + len(self) if index < 0 else index]
        return unit_frame(image, self.image_size).sub_(self._mean).div_(self._std).to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        for index in range(len(self)):
            yield self[index]


def load_video_frames(
    video_path: Any,
    image_size: int,
    offload_video_to_cpu: bool,
    img_mean: Sequence[float] = IMAGE_MEAN,
    img_std: Sequence[float] = IMAGE_STD,
    async_loading_frames: bool = False,
    compute_device: torch.device = torch.device("cuda"),  # noqa: B008  # the official default
) -> tuple[NormalisedFrames, int, int]:
    """Frames of a video as the model reads them, and the video's size.

    Args:
        video_path: anything that :func:`sam2.io.frames.open_frames` takes.
        image_size: side of the model's square input.
        offload_video_to_cpu: leave frames on the CPU instead of ``compute_device``.
        img_mean, img_std: of the channels.
        async_loading_frames: accepted as officially; frames are always decoded when they are asked for.
        compute_device: where frames are put; officially CUDA, and the CPU where there is none.

    Returns:
        (frames, height, width). ``frames`` reads like the official tensor [T, 3, S, S], frame by frame.

    Raises:
        ValueError: ``image_size`` is below 1, or the video holds no frame or cannot be decoded.
        FileNotFoundError: no such file or folder.
    """
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    device = torch.device("cpu") if offload_video_to_cpu else torch.device(compute_device)
    if device.type == "cuda" and not torch.cuda.is_available():
        device = torch.device("cpu")
    source = open_frames(video_path)
    frames = NormalisedFrames(source, image_size, mean=img_mean, std=img_std, device=device)
    return frames, source.height, source.width
