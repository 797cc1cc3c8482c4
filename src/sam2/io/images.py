"""Any image a user may hold, as uint8 RGB [H, W, 3], by rules that are written down.

========================  ===============================================================================
bool                      false 0, true 255
uint8                     as it is
uint16                    0..65535 to 0..255 (rounded), also where the values happen to be small
other integers            as they are if all lie in 0..255
float                     0..1 to 0..255 (rounded); if the largest value is above 1, taken as 0..255
grey, grey + alpha        the grey in all three channels
RGBA, palette, CMYK ...   ``convert("RGB")``: alpha is dropped, not composited, as officially
========================  ===============================================================================

Whatever these rules refuse, ``scale="minmax"`` accepts: smallest value to 0, largest to 255. Files are turned upright
by their EXIF orientation; PIL images, arrays and tensors are taken as they are.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

ImageLike = str | Path | Image.Image | np.ndarray | Tensor
Scale = Literal["full", "minmax"]

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_CHANNELS = (1, 2, 3, 4)


def read_image(image: ImageLike, *, scale: Scale = "full") -> UInt8[np.ndarray, "h w 3"]:
    """The image as uint8 RGB.

    Args:
        image: a file, a PIL image, an array [H, W] or [H, W, C], or a tensor [H, W] or [C, H, W], C in 1..4
            (grey, grey + alpha, RGB, RGBA).
        scale: ``"full"`` for the fixed ranges above, ``"minmax"`` to stretch what is not 8-bit over its own range.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or no image; values are not finite or out of range; a side is 0;
            the shape is not one of those above.
        TypeError: ``image`` is something else.
    """
    if scale not in ("full", "minmax"):
        raise ValueError(f"scale must be 'full' or 'minmax', got {scale!r}")
    if isinstance(image, str | Path):
        return _read_file(Path(image), scale)
    if isinstance(image, Image.Image):
        try:
            return _from_pil(image, scale, "image")
        except (OSError, SyntaxError) as error:
            raise ValueError(f"image could not be decoded: {error}") from error
    if isinstance(image, np.ndarray):
        return _from_array(image, scale, "image")
    if isinstance(image, Tensor):
        return _from_array(_tensor_to_array(image), scale, "image")
    raise TypeError(f"image must be a path, a PIL image, an array or a tensor, got {type(image).__name__}")


def _read_file(path: Path, scale: Scale) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"no such image file: {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected an image file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        with Image.open(path) as image:
            image.load()
            return _from_pil(_upright(image), scale, str(path))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} has too many pixels: {error}; raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        ) from error
    except PermissionError:
        raise
    except (OSError, SyntaxError, EOFError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a malformed EXIF block raises anything; the picture itself is fine
        return image


def _from_pil(image: Image.Image, scale: Scale, name: str) -> np.ndarray:
    if 0 in image.size:
        raise ValueError(f"{name} has no pixels: width {image.size[0]}, height {image.size[1]}")
    if image.mode in _DEEP_MODES:
        deep = np.asarray(image)
        if image.mode == "I" and deep.min() >= 0 and deep.max() <= np.iinfo(np.uint16).max:
            deep = deep.astype(np.uint16)  # 16-bit grey files open in this 32-bit mode
        return _from_array(deep, scale, name)
    if "transparency" in image.info and image.mode != "RGBA":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about palettes with transparency
    return np.array(image.convert("RGB"))


def _tensor_to_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    if tensor.ndim == 3:
        if tensor.shape[0] not in _CHANNELS:
            raise ValueError(f"an image tensor must have shape [C, H, W] with C in 1..4, got {tuple(tensor.shape)}")
        tensor = tensor.permute(1, 2, 0)
    return tensor.numpy()


def _from_array(array: np.ndarray, scale: Scale, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _CHANNELS:
        hint = ": put the channels last" if array.ndim == 3 and array.shape[0] in _CHANNELS else ""
        raise ValueError(f"{name} must have shape [H, W] or [H, W, C] with C in 1..4, got {array.shape}{hint}")
    if 0 in array.shape:
        raise ValueError(f"{name} has no pixels: shape {array.shape}")
    colour = array[:, :, : 1 if array.shape[2] <= 2 else 3]
    eight_bit = _to_uint8(colour, scale, name)
    if eight_bit.shape[2] == 1:
        eight_bit = np.repeat(eight_bit, 3, axis=2)
    return np.ascontiguousarray(eight_bit)


def _to_uint8(array: np.ndarray, scale: Scale, name: str) -> np.ndarray:
    kind, dtype = array.dtype.kind, array.dtype
    if dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "uif":
        raise ValueError(f"{name} must hold bool, integer or float values, got {dtype}")
    low, high = array.min(), array.max()
    if kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name} holds NaN or infinite values")
    if scale == "minmax":
        span = max(float(high) - float(low), np.finfo(np.float64).tiny)
        return np.rint((array.astype(np.float64) - float(low)) / span * 255).astype(np.uint8)
    if dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if low < 0 or high > 255:
        wanted = "0..1 or 0..255" if kind == "f" else "0..255"
        raise ValueError(
            f"{name} of {dtype} must hold values in {wanted}, got {low:g}..{high:g}: "
            'scale it, or read it with read_image(..., scale="minmax")'
        )
    if kind == "f":
        return np.rint(array * (255.0 if high <= 1 else 1.0)).astype(np.uint8)
    return array.astype(np.uint8)
