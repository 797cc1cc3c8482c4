"""What was found in a photo: objects with masks as run-length encodings, so that hundreds of them take little room."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam2.cli.prompts import ObjectPrompt, box_record, point_records
from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, ObjectAnnotation
from sam2.interop.rle import Rle, decode_mask, mask_area, mask_edges


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mask.

    Attributes:
        rle: of the photo's size.
        iou: as the model predicts it.
    """

    rle: Rle
    iou: float

    @property
    def area(self) -> int:
        """Pixels."""
        return mask_area(self.rle)

    def mask(self) -> np.ndarray:
        """[h, w] bool, decoded anew at each call."""
        return decode_mask(self.rle)

    def record(self, file: str | None) -> dict[str, Any]:
        """The JSON of the mask; ``file`` is the PNG that holds it."""
        x0, y0, x1, y1 = mask_edges(self.rle)
        return {
            "mask": file,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": self.area,
            "predicted_iou": round(self.iou, 6),
            "segmentation": self.rle,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """One object.

    Attributes:
        prompt: what was asked.
        candidates: its masks, best first.
        label: the name of its class.
        score: a detector's, or None.
        stability: how little the mask depends on the cutoff, where that was measured.
    """

    prompt: ObjectPrompt
    candidates: tuple[Candidate, ...]
    label: str | None = None
    score: float | None = None
    stability: float | None = None

    @property
    def object_id(self) -> int:
        """Its number in the photo."""
        return self.prompt.object_id

    @property
    def best(self) -> Candidate:
        """The first candidate."""
        return self.candidates[0]

    def describe(self) -> str:
        """One line about the best mask."""
        height, width = self.best.rle["size"]
        area = self.best.area
        name = f"object {self.object_id}" + ("" if self.label is None else f" ({self.label})")
        return f"{name}: {area} pixels ({100 * area / (height * width):.1f} %), predicted IoU {self.best.iou:.2f}"

    def record(self, files: Sequence[str | None], *, with_candidates: bool) -> dict[str, Any]:
        """The JSON of the object, as docs/cli.md describes it; ``files`` are the PNGs of its masks."""
        candidates = [candidate.record(file) for candidate, file in zip(self.candidates, files, strict=True)]
        prompts = {
            "points": point_records(self.prompt),
            "box": box_record(self.prompt),
            "mask": str(self.prompt.mask) if self.prompt.mask is not None else None,
        }
        record = {"id": self.object_id, "label": self.label or DEFAULT_LABEL, "prompts": prompts, **candidates[0]}
        for name, value in (("stability_score", self.stability), ("score", self.score)):
            if value is not None:
                record[name] = round(value, 6)
        return {**record, "candidates": candidates} if with_candidates else record

    def row(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        attributes = {"predicted_iou": self.best.iou, "stability_score": self.stability}
        return {
            "label": self.label or DEFAULT_LABEL,
            "score": self.best.iou if self.score is None else self.score,
            "attributes": {name: round(value, 6) for name, value in attributes.items() if value is not None},
            "segmentation": self.best.rle,
        }


Segmenter = Callable[[Path, np.ndarray], list[Found]]
"""Takes a photo's file and its pixels [h, w, 3] uint8, gives the objects in it."""


def annotated(name: str, row: dict[str, Any]) -> AnnotatedImage:
    """A photo as all formats take it, from its row of the journal."""
    objects = [
        ObjectAnnotation.from_rle(
            item["segmentation"],
            label=item["label"],
            score=min(1.0, max(0.0, item["score"])),
            attributes=item["attributes"],
        )
        for item in row["objects"]
    ]
    return AnnotatedImage(name, row["width"], row["height"], tuple(objects))
