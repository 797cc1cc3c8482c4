"""Small checks of what callers give, with messages that name it."""

import operator
from typing import Any


def check_frame(frame_idx: Any, num_frames: int, *, name: str = "frame_idx") -> int:
    """An index in 0..``num_frames - 1``, else ``ValueError``."""
    index = _integer(frame_idx, name)
    if not 0 <= index < num_frames:
        allowed = f"0..{num_frames - 1}" if num_frames else "nothing: there is no frame yet"
        raise ValueError(f"{name} must be in {allowed}, got {index}")
    return index


def check_obj_id(obj_id: Any) -> int:
    """An object's identifier: any integer."""
    return _integer(obj_id, "obj_id")


def check_count(value: Any, name: str) -> int | None:
    """A number of frames, at least 1, or None for all."""
    if value is None:
        return None
    count = _integer(value, name)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    return count


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
