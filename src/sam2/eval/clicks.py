"""The click protocol: how good a mask is after a box, after one click, after five.

A simulated user clicks in the middle of the largest error, as in the literature on interactive segmentation (RITM,
arXiv 2102.06583). The first click comes with three candidates, of which the best by predicted IoU counts; later ones
correct it, with its logits as mask prompt (SAM, arXiv 2304.02643).
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

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

User = Literal["sam", "ritm"]
USERS: tuple[User, ...] = ("sam", "ritm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickProtocol:
    """Who clicks, how often, and which of the first click's masks counts.

    Attributes:
        user: "sam" and "ritm" both click in the middle of the largest error, the pixel furthest from its border. "ritm"
            never clicks on a pixel twice, and takes an error of the background where two are equally deep; this is the
            clicker of RITM.
        clicks: how many.
        oracle: of the first click's three masks, the one with the best true IoU counts, not the best by predicted IoU.
    """

    user: User = "sam"
    clicks: int = 5
    oracle: bool = False

    def __post_init__(self) -> None:
        if self.user not in USERS:
            raise ValueError(f"user must be one of {', '.join(USERS)}; got {self.user!r}")
        if self.clicks < 1:
            raise ValueError(f"clicks must be at least 1, got {self.clicks}")


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

    def failures(self, iou: float) -> int:
        """How many objects never reach ``iou``."""
        return sum(max(item.clicks) < iou for item in self.objects)


@dataclass(slots=True)
class Cost:
    """What the model's part of a run has taken: seconds, and how often it was asked."""

    pictures: int = 0
    encoding: float = 0.0
    prompts: int = 0
    prompting: float = 0.0


def evaluate_clicks(
    model: SAM2Base, examples: Iterable[ClickExample], *, clicks: int = 5, protocol: ClickProtocol | None = None
) -> ClickScores:
    """Run the protocol on ``examples``; the model is put in evaluation mode and back.

    Args:
        clicks: how many, unless ``protocol`` says it.

    Raises ``ValueError`` when there are no examples, when a mask is empty, or when ``clicks`` is less than 1.
    """
    protocol = protocol or ClickProtocol(clicks=clicks)
    evaluator = ClickEvaluator(model, protocol)
    was_training = model.training
    model.eval()
    try:
        scores = tuple(evaluator.score(example) for example in examples)
    finally:
        model.train(was_training)
    if not scores:
        raise ValueError("no examples to evaluate on")
    return ClickScores(scores)


def evaluate_example(model: SAM2Base, example: ClickExample, *, clicks: int = 5) -> ObjectScore:
    """The protocol on one object (expects evaluation mode)."""
    return ClickEvaluator(model, ClickProtocol(clicks=clicks)).score(example)


@dataclass(slots=True)
class ClickEvaluator:
    """Scores objects one by one; a picture that comes several times in a row is encoded once.

    Attributes:
        model: in evaluation mode.
        protocol: who clicks.
        cost: what it has taken so far.
    """

    model: SAM2Base
    protocol: ClickProtocol
    cost: Cost = field(default_factory=Cost)
    _image: NDArray[np.uint8] | None = None
    _prompted: "_Prompted | None" = None

    @torch.inference_mode()
    def score(self, example: ClickExample) -> ObjectScore:
        """The scores of one object.

        Raises ``ValueError`` where its mask is empty.
        """
        if not example.mask.any():
            raise ValueError(f"the mask of {example.name!r} is empty")
        session = self._open(example.image)
        by_box, _ = session.predict(box=tight_box(example.mask), truth=example)
        shown = np.zeros_like(example.mask)
        points: list[tuple[int, int]] = []
        labels: list[int] = []
        logits: Tensor | None = None
        scores: list[float] = []
        for _ in range(self.protocol.clicks):
            click = self._click(example, shown, points)
            if click is None:
                scores.append(scores[-1])
                continue
            points.append(click[:2])
            labels.append(click[2])
            shown, logits = session.predict(points=points, labels=labels, logits=logits, truth=example)
            scores.append(iou(shown, example.mask, example.ignore))
        return ObjectScore(example.name, iou(by_box, example.mask, example.ignore), tuple(scores))

    def _click(
        self, example: ClickExample, shown: NDArray[np.bool_], points: list[tuple[int, int]]
    ) -> tuple[int, int, int] | None:
        """The next click, None where there is no error left."""
        wrong = example.mask != shown
        if not (wrong if example.ignore is None else wrong & ~example.ignore).any():
            return None
        if self.protocol.user == "sam":
            return next_click(example.mask, shown, example.ignore)
        return ritm_click(example.mask, shown, example.ignore, clicked=points)

    def _open(self, image: NDArray[np.uint8]) -> "_Prompted":
        if self._prompted is None or self._image is not image:
            self._image, self._prompted = image, _Prompted(self, image)
        return self._prompted


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
    truth: NDArray[np.bool_],
    shown: NDArray[np.bool_],
    ignore: NDArray[np.bool_] | None = None,
    *,
    clicked: NDArray[np.bool_] | None = None,
) -> tuple[int, int, int]:
    """The middle of the largest error as (x, y, label): the pixel of either kind of error furthest from its border.

    Where both kinds reach equally deep, what is too much is clicked on, as RITM and SAM 2 do.

    Args:
        truth, shown: [h, w].
        ignore: [h, w], pixels that count neither way.
        clicked: [h, w], pixels that are not clicked on again; they are part of the errors they lie in.
    """
    missed, extra = (_depth(_counted(error, ignore)) for error in (truth & ~shown, shown & ~truth))
    if clicked is not None:
        missed, extra = np.where(clicked, 0, missed), np.where(clicked, 0, extra)
    label = int(missed.max() > extra.max())
    depth = missed if label else extra
    y, x = divmod(int(depth.argmax()), truth.shape[1])
    return x, y, label


def _counted(mask: NDArray[np.bool_], ignore: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return mask if ignore is None else mask & ~ignore


def ritm_click(
    truth: NDArray[np.bool_],
    shown: NDArray[np.bool_],
    ignore: NDArray[np.bool_] | None = None,
    *,
    clicked: Iterable[tuple[int, int]] = (),
) -> tuple[int, int, int]:
    """As :func:`next_click`, but never on a pixel of ``clicked``, and on the background where both errors are equal."""
    missed, extra = truth & ~shown, shown & ~truth
    if ignore is not None:
        missed, extra = missed & ~ignore, extra & ~ignore
    depths = [_depth(extra), _depth(missed)]
    for x, y in clicked:
        for depth in depths:
            depth[y, x] = 0
    label = int(depths[1].max() > depths[0].max())
    y, x = divmod(int(depths[label].argmax()), truth.shape[1])
    return x, y, label


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the border of the region; the image's border is one."""
    padded = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1], np.float32)


@dataclass(frozen=True, slots=True)
class _Prompts:
    """Points in pixels of the photo with their labels (2 and 3: corners of a box), and low-res logits [1, 1, h, w]."""

    points: tuple[tuple[int, int], ...] = ()
    labels: tuple[int, ...] = ()
    logits: Tensor | None = None

    @staticmethod
    def of_box(box: tuple[int, int, int, int]) -> "_Prompts":
        return _Prompts((box[:2], box[2:]), (2, 3))

    def and_click(self, x: int, y: int, label: int) -> "_Prompts":
        return _Prompts((*self.points, (x, y)), (*self.labels, label), self.logits)


class _Prompted:
    """One encoded photo that is prompted again and again."""

    def __init__(self, evaluator: ClickEvaluator, image: NDArray[np.uint8]) -> None:
        self.model, self.cost = evaluator.model, evaluator.cost
        self.oracle = evaluator.protocol.oracle
        self.height, self.width = image.shape[:2]
        began = time.perf_counter()
        encoded = self.model.encode_image(pixels_of(image, self.model.image_size, self.model.device))
        embed = self.model.condition_on_nothing(encoded.embed)
        self.features = ImageFeatures(embed, encoded.high_res, encoded.position)
        _settle(self.model.device)
        self.cost.pictures += 1
        self.cost.encoding += time.perf_counter() - began

    def predict(
        self,
        *,
        truth: ClickExample,
        points: list[tuple[int, int]] | None = None,
        labels: list[int] | None = None,
        box: tuple[int, int, int, int] | None = None,
        logits: Tensor | None = None,
    ) -> tuple[NDArray[np.bool_], Tensor]:
        """Mask [h, w] and its low-res logits [1, 1, 4h', 4w'], for clicks or a box in pixels of the photo.

        ``truth`` is looked at by an oracle only.
        """
        began = time.perf_counter()
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
        found = self.model.decode_masks(self.features.embed, self.features.high_res, prompts, multimask=multimask)
        best = int(found.ious[0].argmax())
        if multimask and self.oracle:
            masks = [self._full(found.logits[:, number : number + 1]) for number in range(found.logits.shape[1])]
            best = int(np.argmax([iou(mask, truth.mask, truth.ignore) for mask in masks]))
        low_res = found.logits[:, best : best + 1]
        mask = self._full(low_res)
        self.cost.prompts += 1
        self.cost.prompting += time.perf_counter() - began
        return mask, low_res

    def _full(self, low_res: Tensor) -> NDArray[np.bool_]:
        full = F.interpolate(low_res, size=(self.height, self.width), mode="bilinear", align_corners=False)
        return (full[0, 0] > 0).cpu().numpy()


def _settle(device: torch.device) -> None:
    """Wait until the GPU is done, so that what comes next is not charged for it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pixels_of(image: NDArray[np.uint8], size: int, device: torch.device | str = "cpu") -> Tensor:
    """[h, w, 3] uint8 RGB to the network's input [1, 3, size, size]: squashed (bilinear, antialiased), normalised."""
    return SAM2Transforms(size, mask_threshold=0.0)(image)[None].to(device)
