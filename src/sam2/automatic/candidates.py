"""Masks on their way through the filters: what a grid of clicks gives on one crop."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sam2.automatic.measure import Levels, measure
from sam2.automatic.settings import AutomaticSettings, PointGrid
from sam2.image import EncodedImages, ImagePrompts, decode
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import LOW_RES_LIMIT, PromptBatch
from sam2.utils.transforms import SAM2Transforms

_LOGITS_AT_ONCE = 512 * 1024 * 1024
"""Bytes of logits that pile up on an accelerator before their filter makes the CPU wait for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """n masks of one crop.

    Attributes:
        logits: [n, h, w] float32, low resolution.
        ious: [n] float32, predicted.
        points: [n, 2] float32, the click (x, y) in pixels of the crop.
        stability: [n] float32.
        boxes: [n, 4] int32 (x0, y0, x1, y1) in pixels of the crop, both ends inside.
    """

    logits: Float[Tensor, "n h w"]
    ious: Float[Tensor, " n"]
    points: Float[Tensor, "n 2"]
    stability: Float[Tensor, " n"]
    boxes: Int[Tensor, "n 4"]

    def __len__(self) -> int:
        return len(self.ious)

    def take(self, rows: Tensor) -> "Candidates":
        """The rows that ``rows`` (bool, or indices in the wanted order) selects."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def join(parts: list["Candidates"]) -> "Candidates":
        """All rows of ``parts``, of which there is at least one."""
        return Candidates(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Candidates)))


@dataclass(frozen=True, slots=True, eq=False)
class Prober:
    """Clicks on an encoded crop, by the settings of a call."""

    model: SAM2Base
    transforms: SAM2Transforms
    settings: AutomaticSettings

    def probe(self, encoded: EncodedImages, grid: PointGrid, advance: Callable[[int], None]) -> Candidates:
        """All masks of the clicks ``grid`` ([p, 2] in 0..1) that are sure and stable enough.

        Args:
            encoded: the crop, alone.
            grid: where to click.
            advance: told the number of clicks that have been dealt with, now and then.
        """
        height, width = encoded.sizes[0]
        points = torch.from_numpy(grid * (width, height)).float().to(encoded.embed.device)
        found = []
        for part in points.split(self._clicks_at_once(encoded)):
            found.append(self._filter(self._decode(encoded, part), encoded.sizes[0]))
            advance(len(part))
        return Candidates.join(found)

    def _clicks_at_once(self, encoded: EncodedImages) -> int:
        """How many clicks to decode between two filters; those of an accelerator make the CPU wait for it."""
        batch = self.settings.points_per_batch
        if encoded.embed.device.type == "cpu":
            return batch
        of_one_click = (encoded.image_size // 4) ** 2 * 4 * (3 if self.settings.multimask_output else 1)
        return max(1, _LOGITS_AT_ONCE // (of_one_click * batch)) * batch

    def _decode(self, encoded: EncodedImages, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [n, h, w], IoUs [n] and clicks [n, 2] of all masks that clicks [p, 2] give."""
        parts = []
        for batch in points.split(self.settings.points_per_batch):
            judged = not self.settings.use_m2m  # refining, a poor mask may become a good one
            logits, ious = self._ask(encoded, batch, None, multimask=self.settings.multimask_output, judged=judged)
            rows = batch.repeat_interleave(logits.shape[1], dim=0)
            logits, ious = logits.flatten(0, 1), ious.flatten()
            if self.settings.use_m2m:
                logits, ious = self._refine(encoded, rows, logits)
            parts.append((logits, ious, rows))
        logits, ious, rows = (torch.cat([part[column] for part in parts]) for column in range(3))
        return logits, ious, rows

    def _refine(self, encoded: EncodedImages, points: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Each mask once more through the model, with its click and itself as prompts."""
        prompts = logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT)[:, None]
        batches = zip(
            *(x.split(self.settings.points_per_batch) for x in (points, prompts)),
            strict=True,
        )
        answers = [self._ask(encoded, part, masks, multimask=False, judged=True) for part, masks in batches]
        return torch.cat([refined for refined, _ in answers])[:, 0], torch.cat([iou for _, iou in answers])[:, 0]

    def _ask(
        self, encoded: EncodedImages, points: Tensor, masks: Tensor | None, *, multimask: bool, judged: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits [n, m, h, w] and IoUs [n, m] for a click (and a mask) each.

        What is ``judged`` and will not pass is not even drawn, where asking for IoUs does not wait for a device.
        """
        least = self.settings.pred_iou_thresh
        min_iou = least if judged and least > 0 and points.device.type == "cpu" else None
        coords = self.transforms.transform_coords(points, normalize=True, orig_hw=encoded.sizes[0])
        labels = torch.ones(len(points), 1, dtype=torch.int32, device=points.device)
        request = ImagePrompts(0, PromptBatch(coords[:, None], labels, masks))
        (result,) = decode(self.model, encoded, [request], self.transforms, multimask=multimask, min_iou=min_iou)
        return result.logits, result.ious

    def _filter(self, found: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]) -> Candidates:
        """What is sure enough is measured; what is not is never enlarged."""
        settings = self.settings
        logits, ious, points = found
        if settings.pred_iou_thresh > 0:
            rows = (ious > settings.pred_iou_thresh).nonzero().flatten()
            logits, ious, points = logits[rows], ious[rows], points[rows]
        levels = Levels(settings.mask_threshold, settings.stability_score_offset)
        stability, boxes = measure(logits, size, levels)
        candidates = Candidates(logits, ious, points, stability, boxes)
        keep = boxes[:, 2] >= 0  # an empty mask is no mask, whatever is asked of stability
        if settings.stability_score_thresh > 0:
            keep &= stability >= settings.stability_score_thresh
        return candidates.take(keep.nonzero().flatten())
