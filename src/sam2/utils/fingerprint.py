"""A digest of a model's weights: what binds a file of features or of a session to the model that made it."""

import hashlib
import threading
import weakref

import numpy as np
import torch
from torch import Tensor, nn

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


def _fold(value: Tensor) -> bytes:
    """The bytes of ``value``, summed in lanes of 64 bits where there are many; the tail as it is."""
    raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    whole = len(raw) // (8 * _LANES) * 8 * _LANES
    tail = raw[whole:].tobytes()
    if not whole:
        return tail
    return np.add.reduce(raw[:whole].view(np.uint64).reshape(-1, _LANES), axis=0).tobytes() + tail
