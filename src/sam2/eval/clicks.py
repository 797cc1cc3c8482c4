"""The click protocol: how good a mask is after a box, after one click, after five.

A simulated user clicks in the middle of the largest error, as in the literature on interactive segmentation (RITM,
arXiv 2102.06583). The first click comes with three candidates, of which the best by predicted IoU counts; later ones
correct it, with its logits as mask prompt.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam2.eval.datasets import ClickExample
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import LOW_RES_LIMIT, ImageFeatures, PromptBatch
from sam2.utils.transforms import SAM2Transforms


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """IoU of one object: with its tight box as prompt, and after each click."""

    name: str
    box: float
    clicks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClickScores:
    """Scores of a data set, an object a row. The means are over objects."""

    objects: tuple[ObjectScore, ...]

    @property
    def box(self) -> float:
        """Mean IoU with the box as prompt."""
        return float(np.mean([item.box for item in self.objects]))

    @property
    def clicks(self) -> tuple[float, ...]:
        """Mean IoU after one, two, ... clicks."""
        return tuple(float(value) for value in np.mean([item.clicks for item in self.objects], axis=0))

    def clicks_needed(self, iou: float, *, limit: int | None = None) -> float:
        """NoC: mean number of clicks until ``iou`` is reached; objects that never reach it count the most clicks."""
        limit = limit or len(self.objects[0].clicks)
        needed = [next((i + 1 for i, v in enumerate(o.clicks[:limit]) if v >= iou), limit) for o in self.objects]
        return float(np.mean(needed))


def evaluate_clicks(model: SAM2Base, examples: Iterable[ClickExample], *, clicks: int = 5) -> ClickScores:
    """Run the protocol on ``examples``; the model is put in evaluation mode and back.

    Raises ``ValueError`` when there are no examples, when a mask is empty, or when ``clicks`` is less than 1.
    """
    if clicks < 1:
        raise ValueError(f"clicks must be at least 1, got {clicks}")
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            scores = tuple(evaluate_example(model, example, clicks=clicks) for example in examples)
    finally:
        model.train(was_training)
    if not scores:
        raise ValueError("no examples to evaluate on")
    return ClickScores(scores)


def evaluate_example(model: SAM2Base, example: ClickExample, *, clicks: int = 5) -> ObjectScore:
    """The protocol on one object (expects evaluation mode, and no gradients to be recorded)."""
    if not example.mask.any():
        raise ValueError(f"the mask of {example.name!r} is empty")
    session = _Prompted(model, example.image)
    by_box, _ = session.predict(box=tight_box(example.mask))
    shown = np.zeros_like(example.mask)
    points: list[tuple[int, int]] = []
    labels: list[int] = []
    logits: Tensor | None = None
    scores = []
    for _ in range(clicks):
        x, y, label = next_click(example.mask, shown, example.ignore)
        points.append((x, y))
        labels.append(label)
        shown, logits = session.predict(points=points, labels=labels, logits=logits)
        scores.append(iou(shown, example.mask, example.ignore))
    return ObjectScore(example.name, iou(by_box, example.mask, example.ignore), tuple(scores))


def iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], ignore: NDArray[np.bool_] | None = None) -> float:
    """Intersection over union outside ``ignore``; 1 for two empty masks."""
    if ignore is not None:
        predicted, truth = predicted & ~ignore, truth & ~ignore
    either = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / either if either else 1.0


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last column and row of a mask that is not empty: (x0, y0, x1, y1), in pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def next_click(
    truth: NDArray[np.bool_], shown: NDArray[np.bool_], ignore: NDArray[np.bool_] | None = None
) -> tuple[int, int, int]:
    """The middle of the largest error as (x, y, label): the pixel of either kind of error furthest from its border."""
    missed, extra = truth & ~shown, shown & ~truth
    if ignore is not None:
        missed, extra = missed & ~ignore, extra & ~ignore
    depths = [_depth(missed), _depth(extra)]
    label = 1 if depths[0].max() >= depths[1].max() else 0
    depth = depths[0] if label else depths[1]
    y, x = divmod(int(depth.argmax()), truth.shape[1])
    return x, y, label


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the border of the region; the image's border is one."""
    padded = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1], np.float32)


class _Prompted:
    """One encoded photo that is prompted again and again."""

    def __init__(self, model: SAM2Base, image: NDArray[np.uint8]) -> None:
        self.model = model
        self.height, self.width = image.shape[:2]
        encoded = model.encode_image(pixels_of(image, model.image_size, model.device))
        self.features = ImageFeatures(model.condition_on_nothing(encoded.embed), encoded.high_res, encoded.position)

    def predict(
        self,
        *,
        points: list[tuple[int, int]] | None = None,
        labels: list[int] | None = None,
        box: tuple[int, int, int, int] | None = None,
        logits: Tensor | None = None,
    ) -> tuple[NDArray[np.bool_], Tensor]:
        """Mask [h, w] and its low-res logits [1, 1, 4h', 4w'], for clicks or a box in pixels of the photo."""
        places = [box[:2], box[2:]] if box is not None else list(points or [])
        kinds = [2, 3] if box is not None else list(labels or [])
        scale = torch.tensor([self.model.image_size / self.width, self.model.image_size / self.height])
        coords = torch.tensor(places, dtype=torch.float32)[None] * scale
        prompts = PromptBatch(
            coords.to(self.model.device),
            torch.tensor([kinds], dtype=torch.int32, device=self.model.device),
            None if logits is None else logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT),
        )
        multimask = len(kinds) == 1
        found = self.model.answer_prompts(self.features.embed, self.features.high_res, prompts, multimask=multimask)
        best = int(found.ious[0].argmax())
        low_res = found.logits[:, best : best + 1]
        full = F.interpolate(low_res, size=(self.height, self.width), mode="bilinear", align_corners=False)
        return (full[0, 0] > 0).cpu().numpy(), low_res


def pixels_of(image: NDArray[np.uint8], size: int, device: torch.device | str = "cpu") -> Tensor:
    """[h, w, 3] uint8 RGB to the network's input [1, 3, size, size]: squashed (bilinear, antialiased), normalised."""
    return SAM2Transforms(size, mask_threshold=0.0)(image)[None].to(device)
