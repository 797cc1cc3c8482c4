"""Looking at a data set before training on it: what there is, what is odd about it, and what cannot be read."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.readers.base import Counts, FoundObject, Record
from sam2.train.data.readers.label_images import Reading
from sam2.train.data.sources import BadSampleError, Records
from sam2.viz import draw_overlay

LOOKED_AT = 200
"""Records that are read where not all are."""

FRAMES_LOOKED_AT = 3
"""Labelled frames of a video that are read where not all are."""

SIDES = (8, 16, 32, 64, 128, 256, 512)
"""Bounds of the histogram of objects: the side of a square of an object's area, in pixels."""

_TINY, _NEARLY_ALL, _OVERLAP = 16, 0.95, 0.01
_DARK = 32
_CARD = 640


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record, or a frame of it, that cannot be used, and why; the cause names the file."""

    name: str
    cause: str
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame with its masks drawn over it, made smaller: [h, w, 3] uint8, and what it shows."""

    caption: str
    picture: NDArray[np.uint8]


@dataclass(slots=True)
class DataReport:
    """What was seen of a source.

    Attributes:
        format, title: of the source.
        masks: how pictures of masks were understood; empty where masks are no pictures.
        stills, videos: how many records there are.
        looked_at: how many of them were read.
        frames, labelled: of what was looked at: all frames, and those that have masks.
        read: labelled frames that were decoded.
        objects: different objects in them: of a video each once.
        masks_seen: masks with pixels.
        odd: what is odd, how often and where first: empty frames and masks, tiny, overlapping and huge masks.
        classes: objects by class, most frequent first; those without a class are not counted.
        sizes: (height, width) of each record that was read.
        areas: pixels of each mask.
        notes: what was left out on opening.
        bad: what could not be read.
    """

    format: str
    title: str
    masks: str = ""
    stills: int = 0
    videos: int = 0
    looked_at: int = 0
    frames: int = 0
    labelled: int = 0
    read: int = 0
    objects: int = 0
    masks_seen: int = 0
    odd: Counts = field(default_factory=Counts)
    classes: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    bad: list[Unreadable] = field(default_factory=list)

    @property
    def histogram(self) -> list[int]:
        """Masks by the side of a square of their area: below ``SIDES[0]``, between each two, above the last."""
        sides = np.sqrt(np.asarray(self.areas, np.float64))
        return np.bincount(np.searchsorted(SIDES, sides, side="right"), minlength=len(SIDES) + 1).tolist()

    @property
    def warnings(self) -> list[str]:
        """What is odd, in sentences."""
        found = [*self.notes, *self.odd.sentences()]
        if not self.labelled:
            found.append("0 annotated frames")
        elif self.read and not self.masks_seen:
            found.append("no mask has a pixel")
        return found


def check_records(
    records: Records,
    *,
    title: str,
    everything: bool = False,
    samples: int = 12,
    advance: Callable[[], None] = lambda: None,
) -> tuple[DataReport, list[Drawn]]:
    """Read the records of a source, pictures too, and say what is there.

    Args:
        title: what to call it.
        everything: read every labelled frame of every record; else of ``LOOKED_AT`` records spread over all, and of
            videos the first, the last and a middle one.
        samples: how many frames to draw, spread over what is read; fewer where there are fewer.
        advance: called after each record.

    Returns:
        The report, and the drawn frames.
    """
    report = DataReport(records.format, title, notes=records.notes)
    report.masks = _described(getattr(records, "_reading", None))
    report.stills, report.videos = (0, len(records)) if records.videos else (len(records), 0)
    places = range(len(records)) if everything else spread(len(records), LOOKED_AT)
    drawing = _Drawing(samples, len(places))
    for place in places:
        record = records[place]
        assert isinstance(record, Record)
        report.looked_at += 1
        drawing.begin_record()
        _look_at(record, report, drawing, everything=everything)
        advance()
    return report, drawing.drawn


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``range(count)``, spread evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, most).tolist()})


def _described(reading: object) -> str:
    if not isinstance(reading, Reading):
        return ""
    kinds = {"binary": "black and white", "numbers": "a number an object or class", "colours": "a colour an object"}
    said = kinds[reading.kind]
    if reading.components:
        said += ", each connected part an object"
    return said + (f"; {', '.join(map(str, reading.ignore))} is ignored" if reading.ignore else "")


class _Drawing:
    """Which of the frames that are read are drawn: as many a record as it takes, spread over the records."""

    def __init__(self, samples: int, records: int) -> None:
        self.drawn: list[Drawn] = []
        self._samples, self._records = samples, max(records, 1)
        self._begun = 0

    def begin_record(self) -> None:
        """The frames that come are of the next record."""
        self._begun += 1

    def frames(self, count: int) -> set[int]:
        """Which of ``count`` frames of this record ought to be drawn; what unreadable records owe is added."""
        due = math.ceil(self._samples * self._begun / self._records) - len(self.drawn)
        return set(spread(count, due)) if due > 0 else set()

    def add(self, record: Record, index: int, image: NDArray[np.uint8], found: Sequence[FoundObject]) -> None:
        """Draw a frame."""
        where = record.name if record.num_frames == 1 else f"{record.name} {index}"
        count = f"{len(found)} object{'' if len(found) == 1 else 's'}"
        names = [label for label, _ in Counter(item.label for item in found if item.label).most_common(3)]
        scale = min(1.0, _CARD / max(image.shape[:2]))
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        masks = [
            cv2.resize(item.decode().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for item in found
        ]
        picture = draw_overlay(small, masks, show_ids=False)
        self.drawn.append(Drawn(f"{count}{': ' if names else ''}{', '.join(names)} - {where}", picture))


def _look_at(record: Record, report: DataReport, drawing: _Drawing, *, everything: bool) -> None:
    try:
        frames, labelled = record.num_frames, record.labelled
    except BadSampleError as error:
        report.bad.append(Unreadable(record.name, str(error)))
        return
    report.frames += frames
    report.labelled += len(labelled)
    chosen = labelled if everything else tuple(labelled[place] for place in spread(len(labelled), FRAMES_LOOKED_AT))
    to_draw = drawing.frames(len(chosen))
    seen: dict[int, bool] = {}
    labels: dict[int, str | None] = {}
    first_size: tuple[int, int] | None = None
    for place, index in enumerate(chosen):
        try:
            found, image = record.found(index), record.image(index)
        except BadSampleError as error:
            report.bad.append(Unreadable(record.name, str(error), index if frames > 1 else None))
            continue
        first_size = first_size or image.shape[:2]
        where = record.name if frames == 1 else f"{record.name} {index}"
        if image.max() < _DARK:
            report.odd.add("pictures that are nearly black (16 bits? scale says how to read them)", where)
        _count_frame(report, found, image.shape[:2], where=where, still=frames == 1)
        for item in found:
            seen[item.number] = seen.get(item.number, False) or item.area > 0
            labels[item.number] = item.label
        if place in to_draw:
            drawing.add(record, index, image, [item for item in found if item.area])
    if first_size is not None:
        report.sizes.append(first_size)
    report.objects += sum(seen.values())
    for number in [number for number, visible in seen.items() if not visible and frames > 1]:
        report.odd.add("objects in none of the frames that were read", f"{record.name} object {number}")
    report.classes.update(label for number, label in labels.items() if label is not None and seen[number])


def _count_frame(
    report: DataReport, found: Sequence[FoundObject], size: tuple[int, ...], *, where: str, still: bool
) -> None:
    visible = [item for item in found if item.area]
    report.read += 1
    report.masks_seen += len(visible)
    report.areas += [item.area for item in visible]
    pixels = size[0] * size[1]
    odd = (
        ("annotated frames without objects", int(not visible)),
        ("empty masks", len(found) - len(visible) if still else 0),
        (f"masks of fewer than {_TINY} pixels", sum(item.area < _TINY for item in visible)),
        (f"masks of more than {_NEARLY_ALL:.0%} of their picture", sum(i.area > _NEARLY_ALL * pixels for i in visible)),
        (f"frames where masks overlap by more than {_OVERLAP:.0%}", int(_overlap(visible, size))),
    )
    for what, count in odd:
        for _ in range(count):
            report.odd.add(what, where)


def _overlap(found: Sequence[FoundObject], size: tuple[int, ...]) -> bool:
    """Whether more than a hundredth of an object is part of another too."""
    if sum(item.area for item in found) <= _OVERLAP or len(found) < 2:
        return False
    covered = np.zeros(size[:2], np.uint16)
    for item in found:
        covered += item.decode()
    shared = covered > 1
    if not shared.any():
        return False
    return any(np.count_nonzero(shared & item.decode()) > _OVERLAP * item.area for item in found)


def to_json(report: DataReport) -> dict[str, Any]:
    """The report as plain values, for a file."""
    bounds = [0, *SIDES]
    return {
        "title": report.title,
        "format": report.format,
        "masks": report.masks,
        "stills": report.stills,
        "videos": report.videos,
        "looked_at": report.looked_at,
        "frames": report.frames,
        "annotated_frames": report.labelled,
        "frames_read": report.read,
        "objects": report.objects,
        "masks_seen": report.masks_seen,
        "classes": dict(report.classes.most_common()),
        "size": _sizes(report.sizes),
        "objects_by_side": {str(bound): count for bound, count in zip(bounds, report.histogram, strict=True)},
        "warnings": report.warnings,
        "bad": [{"name": bad.name, "frame": bad.frame, "cause": bad.cause} for bad in report.bad],
    }


def _sizes(sizes: Sequence[tuple[int, int]]) -> Mapping[str, list[int]] | None:
    """Width and height of the smallest, the middle and the largest picture by number of pixels."""
    if not sizes:
        return None
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    chosen = {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}
    return {name: [size[1], size[0]] for name, size in chosen.items()}


def to_lines(report: DataReport, *, most: int = 20) -> Iterator[str]:
    """The report for people: at most ``most`` of the unreadable records and of the classes."""
    yield f"{report.title}: {report.format}" + (f" (masks: {report.masks})" if report.masks else "")
    counted = (("still", report.stills), ("video", report.videos))
    kinds = [f"{count:,} {kind}{'' if count == 1 else 's'}" for kind, count in counted if count]
    total = report.stills + report.videos
    partly = f", {report.looked_at:,} of them read" if report.looked_at < total else ""
    yield _row("records", " and ".join(kinds) + partly)
    if report.videos:
        yield _row("frames", f"{report.frames:,}, {report.labelled:,} annotated, {report.read:,} read")
    if report.read:
        mean = report.masks_seen / report.read
        yield _row("objects", f"{report.objects:,}; {report.masks_seen:,} masks, {mean:.1f} a frame")
    if report.classes:
        shown = [f"{label} ({count:,})" for label, count in report.classes.most_common(most)]
        more = f" and {len(report.classes) - most} more" if len(report.classes) > most else ""
        yield _row("classes", f"{len(report.classes)}: {', '.join(shown)}{more}")
    if sizes := _sizes(report.sizes):
        yield _row("size", ", ".join(f"{name} {w} x {h}" for name, (w, h) in sizes.items()))
    if report.areas:
        yield from _bars(report.histogram)
    for sentence in report.warnings:
        yield _row("warning", sentence)
    for bad in report.bad[:most]:
        yield _row("bad", bad.cause)
    if len(report.bad) > most:
        yield _row("", f"and {len(report.bad) - most:,} more")
    yield _row("verdict", f"{len(report.bad):,} bad" if report.bad else "nothing bad")


def _bars(counts: Sequence[int]) -> Iterator[str]:
    """The histogram of objects, a bar a line."""
    bounds = [0, *SIDES, None]
    for place, count in enumerate(counts):
        low, high = bounds[place], bounds[place + 1]
        title = f"{low}+" if high is None else f"{low}-{high}"
        bar = "#" * math.ceil(40 * count / max(counts)) if count else ""
        yield _row("mask side" if not place else "", f"{title:>8} px {count:>8,}  {bar}".rstrip())


def _row(title: str, text: str) -> str:
    return f"  {title:<10} {text}"
