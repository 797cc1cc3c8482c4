"""What a training leaves on the disk: a state to resume from bit by bit, and checkpoints to use.

``last/state.pt`` holds everything a resumed training needs. ``checkpoint.pt``, ``best.pt`` and the numbered ones have
the official layout, and also say which configuration they are of, so that ``sam2.load`` needs no more than the file.
A file is written beside its place and moved there when it is complete: what was there before is replaced by a complete
file or not at all, whenever the process is killed and however full the disk is.
"""

import contextlib
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

STATE = Path("last") / "state.pt"
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
NUMBERED = "checkpoints"

_FORMAT = 1


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Put ``state`` (tensors and plain values) in the place of the last one; ``OSError`` where that cannot be."""
    write_whole(folder / STATE, {"format": _FORMAT, **state})


def has_state(folder: Path) -> bool:
    """Whether there is something to resume in ``folder``."""
    return (folder / STATE).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """What :func:`write_state` wrote, on the CPU.

    Raises:
        FileNotFoundError: nothing was saved in ``folder``.
        ValueError: the file is not one that this version wrote.
    """
    path = folder / STATE
    if not path.is_file():
        raise FileNotFoundError(f"nothing to resume: there is no {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling broken data fails in many ways
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(f"{path} was written by another version of sam2")
    return state


def write_checkpoint(
    path: Path, weights: Mapping[str, Tensor], *, notes: Mapping[str, Any], course: Mapping[str, Any]
) -> None:
    """Write weights in the official layout.

    Args:
        weights: every tensor of the model under its official name; written as float32.
        notes: what :func:`sam2.loading.weights.read_noted` gives to those who load the file: ``config``, a packaged
            name or a configuration tree, and ``image_size``.
        course: the official layout's other entries: ``epoch``, ``steps``, ``time_elapsed``, ``loss``,
            ``best_meter_values``.

    Raises:
        OSError: it cannot be written; what was at ``path`` before is still there.
    """
    model = {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in weights.items()}
    write_whole(path, {"model": model, **course, "sam2": dict(notes)})


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """``torch.save`` that leaves a complete file, the new one or the old one.

    Raises:
        OSError: no room, no permission, ...; the message names the file, and the old one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # PyTorch's writer of archives reports a full disk as a RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        kept = "; the one that was saved before is still there" if path.is_file() else ""
        raise OSError(f"{path} could not be saved{kept}: {_cause(error)}") from error


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global generator of this process: Python's, NumPy's, torch's, and that of ``device``."""
    name, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state[device.type] = getattr(torch, device.type).get_rng_state(*_index(device))
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Go back to what :func:`random_state` gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type != "cpu" and device.type in state:
        getattr(torch, device.type).set_rng_state(state[device.type], *_index(device))


def _index(device: torch.device) -> tuple[torch.device, ...]:
    """Which of several devices of a kind; there is one of Apple's, and its generator takes no argument for it."""
    return () if device.type == "mps" else (device,)


def _cause(error: BaseException) -> str:
    """The reason in words: PyTorch's writer hides the system's own error behind one of its archive."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return str(error).split("\n")[0] + " (is the disk full?)"
