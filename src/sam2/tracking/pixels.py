"""Frames as the model's normalised pixels, and back: what the official dict calls ``images``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2.io.source import FrameSource
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD

if TYPE_CHECKING:
    from sam2.tracking.state import SessionState


class FramePixels:
    """The frames of a session as a tensor [T, 3, S, S] float32 would give them, each decoded when it is indexed.

    A torch function that it is passed to (``torch.cat``, ``torch.stack``, ...) gets the whole tensor: 12.6 MB a frame
    at 1024 px.
    """

    dtype = torch.float32

    def __init__(self, session: "SessionState", *, on_device: bool = True) -> None:
        self._session = session
        self.device = session.model.device if on_device else torch.device("cpu")

    @property
    def shape(self) -> torch.Size:
        """[T, 3, S, S]"""
        side = self._session.model.image_size
        return torch.Size((len(self), 3, side, side))

    def __len__(self) -> int:
        return self._session.num_frames

    def __getitem__(self, index: Any) -> Tensor:
        """One frame [3, S, S] by its index (negative from the end), or [n, 3, S, S] by a slice or a list."""
        if isinstance(index, slice):
            return self._stacked(range(len(self))[index])
        if isinstance(index, Tensor | np.ndarray | list | tuple):
            return torch.stack([self[int(i)] for i in torch.as_tensor(index).flatten()])
        frame: int = range(len(self))[int(index)]
        source = self._session.frames
        if source is None:
            raise RuntimeError("the frames of a stream are not kept")
        return self._session.features.pixels(source[frame]).to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """All frames as a tensor, moved or cast."""
        return self[:].to(*args, **kwargs)

    def _stacked(self, frames: Sequence[int]) -> Tensor:
        if not len(frames):
            return torch.zeros(0, *self.shape[1:], device=self.device)
        return torch.stack([self[i] for i in frames])

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named: dict[str, Any] = kwargs or {}
        return func(*_as_tensors(args), **{name: _as_tensors(value) for name, value in named.items()})


class PixelFrames(FrameSource):
    """Frames that a caller has made itself: normalised pixels [T, 3, S, S], or a sequence of [3, S, S].

    Shown to the session as bytes [S, S, 3]. That is exact for pixels that come of bytes at this size, as the official
    loaders make them.
    """

    def __init__(self, images: Sequence[Tensor] | Tensor) -> None:
        self._images = images
        self.num_frames = len(images)
        self.height, self.width = images[0].shape[-2:]

    @staticmethod
    def of(images: Any, image_size: int) -> "PixelFrames | None":
        """A source if ``images`` are normalised pixels; None if they are something else, to be opened as a video.

        Raises:
            ValueError: pixels of another size than the model's, or none.
        """
        if not hasattr(images, "__len__") or not hasattr(images, "__getitem__") or isinstance(images, str | bytes):
            return None
        if not len(images):
            raise ValueError("images must hold at least one frame, got none")
        try:
            first = images[0]
        except KeyError:
            return None
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return None
        if first.shape != (3, image_size, image_size):
            raise ValueError(
                f"images must be normalised pixels [T, 3, {image_size}, {image_size}], got frames {list(first.shape)}"
            )
        return PixelFrames(images)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        pixels = self._images[index].detach().cpu().float()
        mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
        unit = pixels * std + mean
        return unit.mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _as_tensors(value: Any) -> Any:
    if isinstance(value, FramePixels):
        return value[:]
    if isinstance(value, list | tuple):
        return [_as_tensors(item) for item in cast("Sequence[Any]", value)]
    return value
