"""Image features on disk: safetensors, bound to the weights that made them."""

import hashlib
import json
import os
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sam2.image.core import EncodedImages, one_layout
from sam2.modeling.sam2_base import SAM2Base

FORMAT = "sam2-image-features-1"
_NAMES = ("embed", "high_res_0", "high_res_1")
_LANES = 4096

_hashes: "weakref.WeakKeyDictionary[nn.Module, tuple[tuple, str]]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def model_hash(model: nn.Module) -> str:
    """A digest of every name, shape, dtype and value of the state dict, 32 hexadecimal digits.

    It tells models apart, it does not resist an attacker: each tensor is folded into 32 KB of 64-bit sums first, which
    runs at the speed of memory. The digest is kept until a weight changes.
    """
    tensors = model.state_dict()
    key = tuple((x.data_ptr(), 0 if x.is_inference() else x._version, x.dtype, x.device) for x in tensors.values())
    with _lock:
        kept = _hashes.get(model)
    if kept is not None and kept[0] == key:
        return kept[1]
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}:{tuple(value.shape)}:{value.dtype};".encode())
        digest.update(_fold(value))
    result = digest.hexdigest()[:32]
    with _lock:
        _hashes[model] = (key, result)
    return result


def save_encoded(path: str | Path, encoded: EncodedImages, model: SAM2Base) -> None:
    """Write features to a safetensors file; an existing file is replaced only when the new one is complete.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "model": model.config.name,
        "model_hash": model_hash(model),
        "image_size": str(encoded.image_size),
        "sizes": json.dumps(encoded.sizes),
        "dtype": str(encoded.embed.dtype).removeprefix("torch."),
    }
    maps = (encoded.embed, *encoded.high_res)
    tensors = {name: x.detach().cpu().clone().contiguous() for name, x in zip(_NAMES, maps, strict=True)}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, name, metadata)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_encoded(path: str | Path, model: SAM2Base) -> EncodedImages:
    """Read features that ``model`` made, onto its device.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one of image features, is damaged, or comes of other weights or another size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such features file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_origin(path, metadata, model)
            embed, fine, middle = (one_layout(file.get_tensor(name).to(model.device)) for name in _NAMES)
            sizes = tuple((int(h), int(w)) for h, w in json.loads(metadata["sizes"]))
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a complete file of image features: {error}") from error
    return EncodedImages(embed, (fine, middle), sizes)


def _check_origin(path: Path, metadata: dict[str, str], model: SAM2Base) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} holds no image features of this package (format {metadata.get('format')!r})")
    made_by, size = metadata.get("model", "an unknown model"), metadata.get("image_size")
    if size != str(model.image_size):
        raise ValueError(
            f"{path} was made by {made_by} at image_size {size}, this is {model.config.name} at {model.image_size}"
        )
    if metadata.get("model_hash") != model_hash(model):
        raise ValueError(
            f"{path} was made by {made_by} with weights {metadata.get('model_hash', '')[:8]} "
            f"({metadata.get('dtype')} features), this is {model.config.name} with weights {model_hash(model)[:8]}"
        )


def _fold(value: Tensor) -> bytes:
    """The bytes of ``value``, summed in lanes of 64 bits where there are many; the tail as it is."""
    raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    whole = len(raw) // (8 * _LANES) * 8 * _LANES
    tail = raw[whole:].tobytes()
    if not whole:
        return tail
    return np.add.reduce(raw[:whole].view(np.uint64).reshape(-1, _LANES), axis=0).tobytes() + tail
