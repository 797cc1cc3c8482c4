"""What ``--point``, ``--box`` and ``--mask`` say, as one record per object.

``x,y[,label]`` and ``x0,y0,x1,y1`` in pixels of the image. ``N@`` before a value names the object it belongs to.
Without a name, points belong to object 1, and the n-th box (or mask) to object n.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Box = tuple[float, float, float, float]

REVERSED_BOX = "x0,y0 must be left of and above x1,y1 (corners, not width and height)"


@dataclass(frozen=True, slots=True)
class ObjectPrompt:
    """All that is said about one object.

    Attributes:
        object_id: positive.
        points: (x, y) in pixels.
        labels: one per point, 1 on the object, 0 on the background.
        box: (x0, y0, x1, y1) in pixels, x0 < x1 and y0 < y1, or None.
        mask: a mask file of the image's size, or None.
    """

    object_id: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    mask: Path | None = None

    @property
    def is_single_click(self) -> bool:
        """Whether all that is known is one click, which may mean a part, a thing or a group."""
        return len(self.points) == 1 and self.box is None and self.mask is None


@dataclass(slots=True)
class _Draft:
    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: Box | None = None
    mask: Path | None = None


def parse_prompts(points: Sequence[str], boxes: Sequence[str], masks: Sequence[str]) -> list[ObjectPrompt]:
    """The objects that the options speak of, in the order of their ids.

    Raises:
        ValueError: nothing given, a value cannot be read, or it is unclear which object something belongs to.
    """
    if not (points or boxes or masks):
        raise ValueError("nothing to segment: give --point x,y[,label], --box x0,y0,x1,y1 or --mask FILE")
    drafts: dict[int, _Draft] = {}
    unnamed = sum(split_name("--box", text)[0] is None for text in boxes)
    unnamed_masks = sum(split_name("--mask", text)[0] is None for text in masks)
    several = "boxes" if unnamed > 1 else "masks" if unnamed_masks > 1 else None

    for text in points:
        name, value = split_name("--point", text)
        if name is None and several:
            raise ValueError(
                f"--point {text}: there are several {several}, say which object the point belongs to, as in "
                f"--point 2@{value}"
            )
        x, y, label = parse_point(text, value)
        draft = drafts.setdefault(name or 1, _Draft())
        draft.points.append((x, y))
        draft.labels.append(label)
    for object_id, text, value in _numbered("--box", boxes):
        draft = drafts.setdefault(object_id, _Draft())
        if draft.box is not None:
            raise ValueError(f"--box {text}: object {object_id} has two boxes; name another one, as in --box 9@{value}")
        draft.box = parse_box(text, value)
    for object_id, text, value in _numbered("--mask", masks):
        draft = drafts.setdefault(object_id, _Draft())
        if draft.mask is not None:
            raise ValueError(f"--mask {text}: object {object_id} has two masks")
        if not value:
            raise ValueError(f"--mask {text}: expected a file")
        draft.mask = Path(value)
    return [
        ObjectPrompt(object_id, tuple(draft.points), tuple(draft.labels), draft.box, draft.mask)
        for object_id, draft in sorted(drafts.items())
    ]


def _numbered(option: str, texts: Sequence[str]) -> list[tuple[int, str, str]]:
    """(object id, text as given, value) of each: those without a name count from 1."""
    numbered = []
    count = 0
    for text in texts:
        name, value = split_name(option, text)
        if name is None:
            count += 1
        numbered.append((name or count, text, value))
    return numbered


def split_name(option: str, text: str) -> tuple[int | None, str]:
    """The object id in ``N@value`` (None without one) and the value."""
    name, at, value = text.partition("@")
    if not at or (option == "--mask" and not re.fullmatch(r"[+-]?\d+", name.strip())):
        return None, text  # file names may hold an @
    if not re.fullmatch(r"\d{1,9}", name.strip()) or int(name) < 1:
        raise ValueError(f"{option} {text}: the object id before @ must be a positive whole number, got {name!r}")
    return int(name), value


def parse_point(text: str, value: str) -> tuple[float, float, int]:
    """x, y and label of ``x,y[,label]``; ``text`` is what was typed, for the error."""
    parts = value.split(",")
    if len(parts) not in (2, 3):
        raise ValueError(f"--point {text}: expected x,y or x,y,label, got {len(parts)} value(s)")
    x, y = (_parse_number("--point", text, part) for part in parts[:2])
    label = parts[2].strip() if len(parts) == 3 else "1"
    if label not in ("0", "1"):
        raise ValueError(f"--point {text}: label must be 1 (object) or 0 (background), got {label!r}")
    return x, y, int(label)


def parse_box(text: str, value: str) -> Box:
    """The corners in ``x0,y0,x1,y1``; ``text`` is what was typed, for the error."""
    parts = value.split(",")
    if len(parts) != 4:
        raise ValueError(f"--box {text}: expected x0,y0,x1,y1, got {len(parts)} value(s)")
    x0, y0, x1, y1 = (_parse_number("--box", text, part) for part in parts)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"--box {text}: {REVERSED_BOX}")
    return x0, y0, x1, y1


def _parse_number(option: str, text: str, part: str) -> float:
    try:
        number = float(part)
    except ValueError:
        raise ValueError(f"{option} {text}: {part.strip()!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{option} {text}: coordinates must be finite, got {part.strip()!r}")
    return number


def strays(prompt: ObjectPrompt, width: int, height: int) -> list[str]:
    """What lies outside a picture of this size, in words: such points and boxes are accepted, but seldom meant."""
    corners = [prompt.box[:2], prompt.box[2:]] if prompt.box is not None else []
    found = []
    for what, places, right, bottom in (
        ("point", prompt.points, width - 1, height - 1),
        ("box corner", corners, width, height),
    ):
        for x, y in places:
            if not (0 <= x <= right and 0 <= y <= bottom):
                found.append(f"{what} {x:g},{y:g} of object {prompt.object_id} lies outside")
    return found


def plain(number: float) -> float | int:
    """Whole numbers as people wrote them, without a ``.0``."""
    return int(number) if float(number).is_integer() else number


def point_records(prompt: ObjectPrompt) -> list[list[float | int]]:
    """The points as JSON has them: [x, y, label] each."""
    return [[*map(plain, point), label] for point, label in zip(prompt.points, prompt.labels, strict=True)]


def box_record(prompt: ObjectPrompt) -> list[float | int] | None:
    """The box as JSON has it."""
    return None if prompt.box is None else [plain(value) for value in prompt.box]
