"""What ``sam2 video`` is asked for, as one record. Light: it is made before anything heavy is imported."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sam2.cli.formats import DATA_SETS as PHOTO_DATA_SETS
from sam2.cli.formats import EFFECTS as PHOTO_EFFECTS
from sam2.cli.labels import Labels, parse_labels
from sam2.cli.video.legs import Span
from sam2.cli.video.prompts import VideoPrompt

OWN_FORMATS = ("overlay", "masks", "json", "cutout", "cutout-png", "sheet", "timeline")
DATA_SETS = (*PHOTO_DATA_SETS, "sav")
"""Formats of :mod:`sam2.interop` that hold videos."""
FORMATS = (*OWN_FORMATS, *DATA_SETS)
EFFECTS = (*PHOTO_EFFECTS, "trail")
"""Effects of :mod:`sam2.viz` that films are made with."""


@dataclass(frozen=True, slots=True)
class Search:
    """How everything in a video is looked for, by the names that ``VideoMaskGenerator`` takes.

    Attributes:
        points_per_side: of the grid of clicks that is laid over a frame.
        keyframe_every: frames from one search to the next.
        max_objects: followed at a time.
    """

    points_per_side: int = 16
    keyframe_every: int = 10
    max_objects: int = 50

    def __post_init__(self) -> None:
        for option, value, most in (
            ("--points-per-side", self.points_per_side, 256),
            ("--every", self.keyframe_every, None),
            ("--max-objects", self.max_objects, None),
        ):
            if value < 1 or (most is not None and value > most):
                limits = "at least 1" if most is None else f"in 1..{most}"
                raise ValueError(f"{option} must be {limits}, got {value}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says.

    Attributes:
        clip: the video.
        output: the folder of the results.
        prompts: what was said of objects.
        search: how to look for everything, or None.
        span: which frames.
        formats: of ``FORMATS``.
        effects: of ``EFFECTS``.
        labels: the values of ``--label``.
        model: its name.
        fps: of written videos; None for the clip's own.
        explicit: names of options that were typed rather than left at their defaults.
    """

    clip: Path
    output: Path
    prompts: Sequence[VideoPrompt]
    search: Search | None
    span: Span
    formats: tuple[str, ...]
    effects: tuple[str, ...]
    labels: tuple[str, ...]
    model: str
    fps: float | None
    explicit: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (self.formats or self.effects):
            raise ValueError("nothing to write: --format is empty")
        if self.fps is not None and not 0 < self.fps < 1000:
            raise ValueError(f"--fps must be above 0 and below 1000, got {self.fps:g}")
        if self.search is not None and self.span.direction != "forward":
            raise ValueError(f"--everything goes forward, got --{self.span.direction}")
        for number, name in self.names.by_id.items() if self.search is not None else ():
            raise ValueError(
                f"--label {number}={name}: with --everything objects have no numbers yet, give a NAME only"
            )
        if self.prompts:
            self.names.check({prompt.object_id for prompt in self.prompts})

    @property
    def names(self) -> Labels:
        """Names of classes."""
        return parse_labels(self.labels)

    @property
    def stem(self) -> str:
        """What the names of results begin with."""
        resolved = self.clip.resolve()
        return resolved.name if resolved.is_dir() else resolved.stem

    @property
    def settled(self) -> dict[str, Any]:
        """What a run that goes on must have in common with its beginning, by the names of options."""
        return {
            "model": self.model,
            "everything": None if self.search is None else asdict(self.search),
            "direction": self.span.direction,
            "start": self.span.start,
            "end": self.span.end,
            "formats": list(self.formats),
            "effects": list(self.effects),
            "labels": list(self.labels),
            "fps": self.fps,
        }
