"""What ``sam2 image`` is asked for, as one record. Light: it is made before anything heavy is imported."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sam2.cli.formats import DATA_SETS
from sam2.cli.labels import Labels
from sam2.cli.prompts import ObjectPrompt

OWN_FORMATS = ("png", "json", "sheet")
FORMATS = (*OWN_FORMATS, *DATA_SETS)
SCALES = ("full", "minmax")


@dataclass(frozen=True, slots=True)
class Grid:
    """How everything in a photo is looked for; what is None is left to the model.

    Attributes:
        points_per_side: of the grid of clicks that is laid over the photo.
        iou_threshold: masks with a lower predicted IoU are left out.
        stability_threshold: masks that change more than this between cutoffs are left out.
        min_area: masks, islands and holes with fewer pixels are left out.
        max_masks: how many are kept, the best by predicted IoU; None keeps all.
    """

    points_per_side: int | None = None
    iou_threshold: float | None = None
    stability_threshold: float | None = None
    min_area: int | None = None
    max_masks: int | None = None

    def __post_init__(self) -> None:
        for option, value, least, most in (
            ("--points-per-side", self.points_per_side, 1, 256),
            ("--min-area", self.min_area, 0, None),
            ("--max-masks", self.max_masks, 1, None),
            ("--iou-threshold", self.iou_threshold, 0, 1),
            ("--stability-threshold", self.stability_threshold, 0, 1),
        ):
            if value is not None and not (least <= value and (most is None or value <= most)):
                limits = f"at least {least}" if most is None else f"in {least}..{most}"
                raise ValueError(f"{option} must be {limits}, got {value:g}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What holds for all photos of a call.

    Attributes:
        output: the folder of the results.
        model: its name, as it is written into the JSON.
        device, dtype: for the model.
        prompts: what was typed of objects.
        boxes: the file or folder with a detector's boxes.
        everything: how to look for everything, or None.
        labels: names of classes.
        formats: of ``FORMATS``.
        effects: pictures to make besides.
        overlay: whether to draw masks over the photo.
        all_candidates: whether to write all three masks that the model proposes for an object, ranked.
        threshold: logits above it are inside.
        scale: how pixel values of 16-bit and float images are read, see :func:`sam2.io.images.read_image`.
        typed: values of options as they were typed, by their names: what a run that goes on must have in common.
    """

    output: Path
    model: str
    device: str | None
    dtype: str
    prompts: tuple[ObjectPrompt, ...]
    boxes: Path | None
    everything: Grid | None
    labels: Labels
    formats: tuple[str, ...]
    effects: tuple[str, ...]
    overlay: bool
    all_candidates: bool
    threshold: float
    scale: str
    typed: Mapping[str, Any]

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The formats that hold all photos, or that other tools have defined."""
        return tuple(name for name in self.formats if name in DATA_SETS)

    @property
    def settled(self) -> dict[str, Any]:
        """By the names of options, what a run that goes on must have in common with its beginning, as JSON has it."""
        return {
            "--model": self.model,
            **self.typed,
            "--everything": None if self.everything is None else asdict(self.everything),
            "--boxes": None if self.boxes is None else self.boxes.name,
            "--format": list(self.formats),
            "--effect": list(self.effects),
            "--overlay": self.overlay,
            "--multimask": self.all_candidates,
            "--threshold": self.threshold,
            "--scale": self.scale,
        }
