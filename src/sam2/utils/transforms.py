"""From an image to the model's pixels, from prompts to the model's coordinates, from low-resolution logits to masks.

The image route of the official package resizes the float image in [0, 1] to a square, bilinear with antialiasing,
without keeping the aspect ratio. This is that resizer; the video route has another.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from .masks import clean_logits, resize_masks

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class SAM2Transforms(nn.Module):
    """The transforms of the image predictor.

    Args:
        resolution: side of the model's square input in pixels.
        mask_threshold: logits above this are foreground.
        max_hole_area: fill holes of at most this many pixels of the low-resolution mask; 0 leaves them.
        max_sprinkle_area: remove islands of at most this many pixels of the low-resolution mask; 0 leaves them.
    """

    def __init__(
        self, resolution: int, mask_threshold: float, max_hole_area: float = 0.0, max_sprinkle_area: float = 0.0
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.mask_threshold = mask_threshold
        self.max_hole_area = max_hole_area
        self.max_sprinkle_area = max_sprinkle_area
        self.mean = list(IMAGE_MEAN)
        self.std = list(IMAGE_STD)

    def forward(self, x: np.ndarray | Image.Image | Tensor) -> Float[Tensor, "3 S S"]:
        """One image as normalised pixels, float32.

        Args:
            x: RGB; an array [H, W, 3] or a PIL image, or a tensor [3, H, W]. uint8 is 0..255, float 0..1.

        Raises:
            ValueError: the image does not have three channels or is empty.
        """
        unit = self.to_unit_tensor(x)
        side = self.resolution
        resized = F.interpolate(unit[None], (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
        mean = torch.tensor(self.mean, device=resized.device)[:, None, None]
        std = torch.tensor(self.std, device=resized.device)[:, None, None]
        return resized.sub_(mean).div_(std)

    def forward_batch(self, img_list: list) -> Float[Tensor, "b 3 S S"]:
        """Images of any sizes, each as by calling the transform, stacked."""
        return torch.stack([self(image) for image in img_list])

    def transform_coords(
        self, coords: Float[Tensor, "... 2"], normalize: bool = False, orig_hw: tuple[int, int] | None = None
    ) -> Float[Tensor, "... 2"]:
        """Points (x, y) in pixels of the model's input.

        Args:
            coords: points in 0..1, or in pixels of the image if ``normalize``.
            orig_hw: (height, width) of the image, needed with ``normalize``.

        Raises:
            ValueError: ``normalize`` without ``orig_hw``.
        """
        if normalize:
            if orig_hw is None:
                raise ValueError("orig_hw must be given with normalize=True, got None")
            height, width = orig_hw
            coords = torch.stack((coords[..., 0] / width, coords[..., 1] / height), -1)
        return coords * self.resolution

    def transform_boxes(
        self, boxes: Float[Tensor, "..."], normalize: bool = False, orig_hw: tuple[int, int] | None = None
    ) -> Float[Tensor, "n 2 2"]:
        """Boxes [n, 4] as (x0, y0, x1, y1) to their two corners in pixels of the model's input."""
        return self.transform_coords(boxes.reshape(-1, 2, 2), normalize, orig_hw)

    def postprocess_masks(self, masks: Float[Tensor, "n m h w"], orig_hw: tuple[int, int]) -> Float[Tensor, "n m H W"]:
        """Low-resolution logits as float32 logits of the image, holes and sprinkles treated before upsampling.

        The areas of holes and sprinkles are pixels of the low-resolution mask, as officially.
        """
        cleaned = clean_logits(
            masks.float(),
            self.mask_threshold,
            max_hole_area=self.max_hole_area,
            max_sprinkle_area=self.max_sprinkle_area,
        )
        return resize_masks(cleaned, orig_hw)

    def to_unit_tensor(self, x: np.ndarray | Image.Image | Tensor) -> Float[Tensor, "3 H W"]:
        """The image as float32 [3, H, W]: uint8 is divided by 255, float is taken as it is."""
        if isinstance(x, Image.Image):
            x = np.array(x.convert("RGB"))
        if isinstance(x, np.ndarray):
            if x.ndim != 3 or x.shape[2] != 3:
                raise ValueError(f"an image array must have shape [H, W, 3], got {x.shape}")
            x = torch.from_numpy(np.require(x, requirements=["C", "W"])).permute(2, 0, 1)
        if x.ndim != 3 or x.shape[0] != 3 or 0 in x.shape:
            raise ValueError(f"an image tensor must have shape [3, H, W], got {tuple(x.shape)}")
        unit = x.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        return unit.div_(255) if x.dtype == torch.uint8 else unit


def frame_to_pixels(frame: np.ndarray, size: int) -> Float[Tensor, "3 S S"]:
    """One video frame [H, W, 3] uint8 as normalised pixels, by the official folder route; see :func:`unit_frame`."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return unit_frame(frame, size).sub_(mean).div_(std)


def unit_frame(frame: np.ndarray, size: int) -> Float[Tensor, "3 S S"]:
    """One video frame [H, W, 3] uint8 in 0..1 at ``size`` x ``size``: resized by PIL, bicubic, on bytes.

    Officially so for folders of images; the aspect ratio is not kept.
    """
    picture = Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
