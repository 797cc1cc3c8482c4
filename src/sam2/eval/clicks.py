"""The click protocol: how good a mask is after a box, after one click, after five.

A simulated user clicks in the middle of the largest error, as in the literature on interactive segmentation (RITM,
arXiv 2102.06583). The first click comes with three candidates, of which the best by predicted IoU counts; later ones
correct it, with its logits as mask prompt (SAM, arXiv 2304.02643).
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickProtocol:
    """How the simulated user clicks, and which mask counts. ``SAM`` and ``RITM`` are the two of the literature.

    Attributes:
        candidates: the first click gives three masks, of which the best by predicted IoU counts; else it gives one.
        oracle: of the three masks, the one with the best true IoU counts.
        repeat: a pixel may be clicked on again.
    """

    candidates: bool = True
    oracle: bool = False
    repeat: bool = True

    def __post_init__(self) -> None:
        if self.oracle and not self.candidates:
            raise ValueError("oracle chooses among three masks: it needs candidates")


SAM = ClickProtocol()
"""Of SAM (arXiv 2304.02643): the first click gives three masks."""

RITM = ClickProtocol(candidates=False, repeat=False)
"""Of RITM (arXiv 2102.06583): one mask a click, and no pixel is clicked on twice."""

PROTOCOLS = {"sam": SAM, "ritm": RITM}


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """IoU of one object: with its tight box as prompt, and after each click."""

    name: str
    box: float
    clicks: tuple[float, ...]

    def clicks_needed(self, iou: float) -> int | None:
        """How many clicks it takes to reach ``iou``; None where it is never reached."""
        return next((number for number, value in enumerate(self.clicks, start=1) if value >= iou), None)


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
    model: SAM2Base, examples: Iterable[ClickExample], *, clicks: int = 5, protocol: ClickProtocol = SAM
) -> ClickScores:
    """Run the protocol on ``examples``; the model is put in evaluation mode and back.

    Raises ``ValueError`` when there are no examples, when a mask is empty, or when ``clicks`` is less than 1.
    """
    if clicks < 1:
        raise ValueError(f"clicks must be at least 1, got {clicks}")
    was_training = model.training
    model.eval()
    try:
        scores = tuple(evaluate_picture(model, examples, clicks=clicks, protocol=protocol))
    finally:
        model.train(was_training)
    if not scores:
        raise ValueError("no examples to evaluate on")
    return ClickScores(scores)


def evaluate_example(
    model: SAM2Base, example: ClickExample, *, clicks: int = 5, protocol: ClickProtocol = SAM
) -> ObjectScore:
    """The protocol on one object (expects evaluation mode)."""
    return evaluate_picture(model, [example], clicks=clicks, protocol=protocol)[0]


@torch.inference_mode()
def evaluate_picture(
    model: SAM2Base,
    examples: Iterable[ClickExample],
    *,
    clicks: int = 5,
    protocol: ClickProtocol = SAM,
    cost: Cost | None = None,
) -> list[ObjectScore]:
    """The protocol on one object after the other (expects evaluation mode).

    A picture that comes several times in a row (the same array) is encoded once.

    Args:
        cost: is added to.

    Raises ``ValueError`` where a mask is empty, or all of it is to be ignored.
    """
    scores: list[ObjectScore] = []
    session: _Prompted | None = None
    for example in examples:
        if not _counted(example.mask, example.ignore).any():
            raise ValueError(f"the mask of {example.name!r} is empty")
        if session is None or session.image is not example.image:
            session = _Prompted(model, example.image, cost or Cost())
        scores.append(_score(session, example, clicks, protocol))
    return scores


def _score(session: "_Prompted", example: ClickExample, clicks: int, protocol: ClickProtocol) -> ObjectScore:
    by_box = session.predict(_Prompts.of_box(tight_box(example.mask)), multimask=False)[0]
    shown, clicked = np.zeros_like(example.mask), np.zeros_like(example.mask)
    prompts = _Prompts()
    scores: list[float] = []
    for number in range(clicks):
        if not _counted(shown != example.mask, example.ignore).any():
            scores.append(scores[-1])  # nothing is wrong any more: the user is done
            continue
        x, y, label = next_click(example.mask, shown, example.ignore, clicked=None if protocol.repeat else clicked)
        clicked[y, x] = True
        prompts = prompts.and_click(x, y, label)
        answers = session.predict(prompts, multimask=protocol.candidates and number == 0, oracle=protocol.oracle)
        if len(answers) > 1:
            answers.sort(key=lambda answer: -iou(answer.mask, example.mask, example.ignore))
        shown = answers[0].mask
        prompts = replace(prompts, logits=answers[0].logits)
        scores.append(iou(shown, example.mask, example.ignore))
    return ObjectScore(example.name, iou(by_box.mask, example.mask, example.ignore), tuple(scores))


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


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A mask [h, w], and the low-res logits [1, 1, h', w'] that it comes from."""

    mask: NDArray[np.bool_]
    logits: Tensor


class _Prompted:
    """One encoded photo that is prompted again and again."""

    def __init__(self, model: SAM2Base, image: NDArray[np.uint8], cost: Cost) -> None:
        self.model, self.image, self.cost = model, image, cost
        began = time.perf_counter()
        encoded = model.encode_image(pixels_of(image, model.image_size, model.device))
        self.features = ImageFeatures(model.condition_on_nothing(encoded.embed), encoded.high_res, encoded.position)
        _settle(model.device)
        cost.pictures += 1
        cost.encoding += time.perf_counter() - began

    def predict(self, prompts: _Prompts, *, multimask: bool, oracle: bool = False) -> list[_Answer]:
        """The answer that the model thinks best; for an oracle all there are, that one first."""
        began = time.perf_counter()
        height, width = self.image.shape[:2]
        scale = torch.tensor([self.model.image_size / width, self.model.image_size / height])
        coords = torch.tensor(prompts.points, dtype=torch.float32)[None] * scale
        logits = prompts.logits
        asked = PromptBatch(
            coords.to(self.model.device),
            torch.tensor([prompts.labels], dtype=torch.int32, device=self.model.device),
            None if logits is None else logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT),
        )
        found = self.model.answer_prompts(self.features.embed, self.features.high_res, asked, multimask=multimask)
        order = found.ious[0].argsort(descending=True).tolist()
        answers: list[_Answer] = []
        for number in order if oracle else [int(found.ious[0].argmax())]:
            low_res = found.logits[:, number : number + 1]
            full = F.interpolate(low_res, size=(height, width), mode="bilinear", align_corners=False)
            answers.append(_Answer((full[0, 0] > 0).cpu().numpy(), low_res))
        self.cost.prompts += 1
        self.cost.prompting += time.perf_counter() - began
        return answers


def _settle(device: torch.device) -> None:
    """Wait until the GPU is done, so that what comes next is not charged for it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pixels_of(image: NDArray[np.uint8], size: int, device: torch.device | str = "cpu") -> Tensor:
    """[h, w, 3] uint8 RGB to the network's input [1, 3, size, size]: squashed (bilinear, antialiased), normalised."""
    return SAM2Transforms(size, mask_threshold=0.0)(image)[None].to(device)
