"""Frames of a session and what the image encoder makes of them, once a frame whatever the number of objects."""

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2.io.frames import FrameSource
from sam2.io.images import ImageLike, read_image
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.utils.transforms import frame_to_pixels


class FrameFeatures:
    """Features by frame index, the last few kept.

    Args:
        source: where frames are read again; None in a stream, where they are put in.
        keep: how many frames' features are kept; officially one.
    """

    def __init__(self, model: SAM2Base, source: FrameSource | None, *, keep: int = 1) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 frame, got {keep}")
        self.model, self.source, self.keep = model, source, keep
        self._cache: OrderedDict[int, ImageFeatures] = OrderedDict()

    def __contains__(self, frame: int) -> bool:
        return frame in self._cache

    @property
    def frames(self) -> list[int]:
        """Frames whose features are kept, the one used last at the end."""
        return list(self._cache)

    @torch.inference_mode()
    def get(self, frame: int, image: NDArray[np.uint8] | None = None) -> ImageFeatures:
        """Features [1, ...] of a frame; ``image`` is its picture where the caller has it.

        Raises:
            RuntimeError: a stream has gone on, and the frame cannot be had again.
        """
        found = self._cache.get(frame)
        if found is not None:
            self._cache.move_to_end(frame)
            return found
        if image is None:
            if self.source is None:
                raise RuntimeError(
                    f"frame {frame} of this stream is gone: prompts are taken for the last {self.keep} frame(s)"
                )
            image = self.source[frame]
        self.put(frame, self.model.encode_image(self.pixels(image)[None]))
        return self._cache[frame]

    def put(self, frame: int, features: ImageFeatures) -> None:
        """Keep features that were made elsewhere (several videos are encoded in one batch)."""
        self._cache[frame] = features
        while len(self._cache) > self.keep:
            self._cache.popitem(last=False)

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """A picture [H, W, 3] as the model's input [3, S, S]."""
        return frame_to_pixels(image, self.model.image_size).to(self.model.device)

    def clear(self) -> None:
        """Keep nothing."""
        self._cache.clear()


def as_frame(image: ImageLike) -> NDArray[np.uint8]:
    """One frame of a stream (array [H, W, 3], tensor [3, H, W], PIL image, path) as uint8 RGB [H, W, 3]."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
    return read_image(image)
