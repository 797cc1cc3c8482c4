"""What ``--point``, ``--box``, ``--mask`` and ``--prompts`` say of a video: one record per object and frame.

``[N@]FRAME:value``: object 1 where no N is named, frame 0 where no FRAME is. Everything said of one object on one frame
belongs together. A prompts file says the same as JSON, and is what ``sam2 video`` writes under ``"prompts"``.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam2.cli.prompts import (
    REVERSED_BOX,
    Box,
    ObjectPrompt,
    box_record,
    parse_box,
    parse_point,
    point_records,
    split_name,
)

_FIELDS = {"object", "frame", "points", "box", "mask"}


@dataclass(frozen=True, slots=True)
class VideoPrompt(ObjectPrompt):
    """What is said about one object on one frame.

    Attributes:
        frame: index of the frame, from 0.
        rle: a mask as COCO's run-length encoding, in place of a file.
    """

    frame: int = 0
    rle: Mapping[str, Any] | None = None

    @property
    def place(self) -> str:
        """``object 2 on frame 30``, for messages."""
        return f"object {self.object_id} on frame {self.frame}"


def parse_video_prompts(points: Sequence[str], boxes: Sequence[str], masks: Sequence[str]) -> list[VideoPrompt]:
    """The prompts that the options give, by frame and object.

    Raises:
        ValueError: a value cannot be read, or an object has two boxes or masks on one frame.
    """
    found: list[VideoPrompt] = []
    for text in points:
        object_id, frame, value = _split("--point", text)
        x, y, label = parse_point(text, value)
        found.append(VideoPrompt(object_id, ((x, y),), (label,), frame=frame))
    for text in boxes:
        object_id, frame, value = _split("--box", text)
        found.append(VideoPrompt(object_id, box=parse_box(text, value), frame=frame))
    for text in masks:
        object_id, frame, value = _split("--mask", text)
        if not value:
            raise ValueError(f"--mask {text}: expected a file")
        found.append(VideoPrompt(object_id, mask=Path(value), frame=frame))
    return merge(found)


def _split(option: str, text: str) -> tuple[int, int, str]:
    """Object, frame and value of ``[N@][FRAME:]value``."""
    name, rest = split_name(option, text)
    frame, colon, value = rest.partition(":")
    frame = frame.strip()
    if not colon or (option == "--mask" and not re.fullmatch(r"[+-]?\d+", frame)):
        return name or 1, 0, rest  # a colon may be part of a file's name
    if not re.fullmatch(r"\d{1,9}", frame):
        raise ValueError(f"{option} {text}: the frame before : must be a whole number from 0, got {frame!r}")
    return name or 1, int(frame), value


def merge(prompts: Iterable[VideoPrompt]) -> list[VideoPrompt]:
    """One record per object and frame, in the order of frames, then objects.

    Raises:
        ValueError: an object has two boxes or two masks on one frame.
    """
    found: dict[tuple[int, int], VideoPrompt] = {}
    for prompt in prompts:
        place = (prompt.frame, prompt.object_id)
        found[place] = _joined(found[place], prompt) if place in found else prompt
    return [found[place] for place in sorted(found)]


def _joined(first: VideoPrompt, second: VideoPrompt) -> VideoPrompt:
    if first.box is not None and second.box is not None:
        raise ValueError(f"{first.place} has two boxes: name another object, as in 2@{first.frame}:x0,y0,x1,y1")
    if (first.mask or first.rle) and (second.mask or second.rle):
        raise ValueError(f"{first.place} has two masks")
    return VideoPrompt(
        first.object_id,
        first.points + second.points,
        first.labels + second.labels,
        first.box if second.box is None else second.box,
        first.mask or second.mask,
        first.frame,
        first.rle or second.rle,
    )


def read_prompts_file(path: Path) -> list[VideoPrompt]:
    """The prompts in a JSON file: a list of records, or an object that has one as ``"prompts"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or a record is not as docs/cli.md describes it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--prompts {path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad JSON, or not UTF-8
        raise ValueError(f"--prompts {path} is no JSON: {error}") from None
    records = content.get("prompts") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise ValueError(f'--prompts {path}: expected a list of prompts, or an object with one as "prompts"')
    return prompts_of(records, name=f"--prompts {path}", folder=path.parent)


def prompts_of(records: Sequence[Any], *, name: str, folder: Path) -> list[VideoPrompt]:
    """Prompts from their records; files of masks are looked for in ``folder``."""
    found = []
    for number, record in enumerate(records):
        try:
            found.append(_from_record(record, folder))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: prompt {number}: {error}") from None
    return merge(found)


def _from_record(record: Any, folder: Path) -> VideoPrompt:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {record!r}")
    unknown = sorted(set(record) - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}: there are {', '.join(sorted(_FIELDS))}")
    object_id = _whole(record, "object", default=1, least=1)
    frame = _whole(record, "frame", default=0, least=0)
    points, labels = _points(record.get("points") or [])
    box = _box(record.get("box"))
    mask = record.get("mask")
    if mask is not None and not (isinstance(mask, str) and mask) and not (isinstance(mask, dict) and "counts" in mask):
        raise ValueError('"mask" must be the name of a file or a run-length encoding {"size": ..., "counts": ...}')
    if not points and box is None and mask is None:
        raise ValueError("says nothing: give points, box or mask")
    file = folder / mask if isinstance(mask, str) else None
    return VideoPrompt(object_id, points, labels, box, file, frame, mask if isinstance(mask, dict) else None)


def _whole(record: Mapping[str, Any], name: str, *, default: int, least: int) -> int:
    value = record.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f'"{name}" must be a whole number from {least}, got {value!r}')
    return value


def _points(values: Any) -> tuple[tuple[tuple[float, float], ...], tuple[int, ...]]:
    points, labels = [], []
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, list) or len(value) not in (2, 3):
            raise ValueError(f'"points" must be a list of [x, y] or [x, y, label], got {value!r}')
        label = value[2] if len(value) == 3 else 1
        if isinstance(label, bool) or label not in (0, 1):
            raise ValueError(f"label must be 1 (object) or 0 (background), got {label!r}")
        points.append((_number(value[0]), _number(value[1])))
        labels.append(int(label))
    return tuple(points), tuple(labels)


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f'"box" must be [x0, y0, x1, y1], got {value!r}')
    x0, y0, x1, y1 = (_number(part) for part in value)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f'"box" {value}: {REVERSED_BOX}')
    return x0, y0, x1, y1


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"coordinates must be finite numbers, got {value!r}")
    return float(value)


def prompt_records(prompts: Iterable[VideoPrompt]) -> list[dict[str, Any]]:
    """The prompts as JSON has them, to be read by :func:`prompts_of` again. Masks must have been read."""
    return [
        {
            "object": prompt.object_id,
            "frame": prompt.frame,
            "points": point_records(prompt),
            "box": box_record(prompt),
            "mask": None if prompt.rle is None else dict(prompt.rle),
        }
        for prompt in prompts
    ]
