"""Encode images, decode prompts: pure functions of a model, so that one model may serve many threads."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sam2.io.images import ImageLike, Scale, read_image
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import LOW_RES_LIMIT, MaskCandidates, PromptBatch
from sam2.utils.transforms import SAM2Transforms

MAX_ROWS, MAX_ROWS_CPU = 64, 16
"""Objects decoded at once at 1024 px: bounds memory where there are hundreds; a CPU gains nothing beyond a few."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImages:
    """What the decoder needs of b images; nothing in it changes when it is used.

    Attributes:
        embed: [b, C, S/16, S/16], the no-memory embedding added.
        high_res: ([b, C/8, S/4, S/4], [b, C/4, S/8, S/8]).
        sizes: (height, width) of each image.
    """

    embed: Float[Tensor, "b c h w"]
    high_res: tuple[Tensor, Tensor]
    sizes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        maps = (self.embed, *self.high_res)
        if len(maps) != 3 or any(x.ndim != 4 for x in maps):
            raise ValueError(f"EncodedImages needs three maps of 4 dimensions, got {[tuple(x.shape) for x in maps]}")
        if any(len(x) != len(self.sizes) for x in maps):
            raise ValueError(f"EncodedImages has {len(self.sizes)} sizes for {[len(x) for x in maps]} rows of features")
        side = self.embed.shape[-1]
        if any(x.shape[-1] != side * scale for x, scale in zip(self.high_res, (4, 2), strict=True)):
            raise ValueError(f"EncodedImages has maps that do not fit: {[tuple(x.shape) for x in maps]}")

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> "EncodedImages":
        """Image ``index`` alone."""
        index = range(len(self))[index]
        fine, middle = self.high_res
        rows = slice(index, index + 1)
        return EncodedImages(self.embed[rows], (fine[rows], middle[rows]), self.sizes[rows])

    @property
    def image_size(self) -> int:
        """Side in pixels of the model's input that these features were made from."""
        return 16 * self.embed.shape[-1]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "EncodedImages":
        """The same features elsewhere."""
        fine, middle = (x.to(device, dtype) for x in self.high_res)
        return EncodedImages(self.embed.to(device, dtype), (fine, middle), self.sizes)


@dataclass(frozen=True, slots=True)
class ImagePrompts:
    """Prompts in the model's frame, and which of the encoded images they are about."""

    image: int
    prompts: PromptBatch


@dataclass(frozen=True, slots=True, eq=False)
class MaskResult:
    """Masks of n objects in one image, m candidates each, before they are brought to the size of the image.

    Attributes:
        logits: [n, m, S/4, S/4] float32.
        ious: [n, m] float32, predicted IoU of each candidate.
        object_scores: [n] float32, > 0 where the decoder thinks that the object is there (images are not gated by it).
        size: (height, width) of the image.
        transforms: how masks are cleaned and enlarged.
    """

    logits: Float[Tensor, "n m h w"]
    ious: Float[Tensor, "n m"]
    object_scores: Float[Tensor, " n"]
    size: tuple[int, int]
    transforms: SAM2Transforms = field(repr=False)

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def low_res(self) -> Float[Tensor, "n m h w"]:
        """Logits clamped to +-32, to be fed back as a mask prompt."""
        return self.logits.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT)

    def full_logits(self) -> Float[Tensor, "n m H W"]:
        """Logits at the size of the image, holes and sprinkles treated."""
        return self.transforms.postprocess_masks(self.logits, self.size)

    def masks(self) -> Bool[Tensor, "n m H W"]:
        """Masks at the size of the image."""
        return self.full_logits() > self.transforms.mask_threshold

    def best(self) -> "MaskResult":
        """The candidate with the highest predicted IoU of each object (m = 1)."""
        row = torch.arange(len(self), device=self.ious.device)
        top = self.ious.argmax(1) if len(self) else row
        logits, ious = self.logits[row, top][:, None], self.ious[row, top][:, None]
        return MaskResult(logits, ious, self.object_scores, self.size, self.transforms)


def encode(
    model: SAM2Base, images: Sequence[ImageLike], transforms: SAM2Transforms, *, scale: Scale = "full"
) -> EncodedImages:
    """Encode images of any sizes in one pass.

    Args:
        model: in evaluation mode.
        images: see :func:`sam2.io.images.read_image`.
        transforms: of the model's input size.
        scale: how images of more than 8 bits are scaled.

    Raises:
        ValueError: there are no images, or one of them cannot be used.
    """
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    arrays = [read_image(image, scale=scale) for image in images]
    sizes = tuple((array.shape[0], array.shape[1]) for array in arrays)
    # on CUDA a picture is uploaded in 8 bits and resized there; other accelerators lack the antialiased kernel
    place = model.device if torch.device(model.device).type == "cuda" else torch.device("cpu")
    # what is read-only (a picture behind np.asarray, a memory map) is copied: torch warns of sharing it
    tensors = [torch.from_numpy(np.require(array, requirements="W")).to(place).permute(2, 0, 1) for array in arrays]
    features = model.encode_image(transforms.forward_batch(tensors).to(model.device))
    fine, middle = (one_layout(x) for x in features.high_res)
    return EncodedImages(one_layout(model.condition_on_nothing(features.embed)), (fine, middle), sizes)


def decode(
    model: SAM2Base,
    encoded: EncodedImages,
    requests: Sequence[ImagePrompts],
    transforms: SAM2Transforms,
    *,
    multimask: bool = True,
    min_iou: float | None = None,
) -> list[MaskResult]:
    """Decode prompts about any of the encoded images, in as few passes as possible.

    Objects share a pass if they have the same number of points and all or none of them a mask: padding a shorter
    prompt would change its result.

    Args:
        model: the one that encoded.
        encoded: b images.
        requests: prompts, each about one image.
        transforms: of the model's input size.
        multimask: three candidates per object, or one.
        min_iou: where given, objects without a candidate that is predicted to be better need not be drawn: their
            logits are then -1024.

    Returns:
        One result per request, in order.
    """
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        groups[request.prompts.num_points, request.prompts.masks is not None].append(index)
    results: dict[int, MaskResult] = {}
    for indices in groups.values():
        batch = _stack([requests[i].prompts for i in indices])
        counts = [len(requests[i].prompts) for i in indices]
        owners = torch.repeat_interleave(torch.tensor([requests[i].image for i in indices]), torch.tensor(counts))
        logits, ious, scores = _decode_rows(model, encoded, owners, batch, multimask=multimask, min_iou=min_iou)
        parts = zip(indices, logits.split(counts), ious.split(counts), scores.split(counts), strict=True)
        for index, mask, iou, score in parts:
            results[index] = MaskResult(mask, iou, score, encoded.sizes[requests[index].image], transforms)
    return [results[index] for index in range(len(requests))]


def one_layout(x: Tensor) -> Tensor:
    """``x`` [b, c, h, w] with channels last in memory, as the decoder reads it; kernels round by layout."""
    return x.contiguous(memory_format=torch.channels_last)


def rows_at_once(image_size: int, device: torch.device) -> int:
    """How many objects to decode in one pass, by the size of the maps that each needs."""
    most = MAX_ROWS_CPU if torch.device(device).type == "cpu" else MAX_ROWS
    return min(MAX_ROWS, max(1, int(most * (1024 / image_size) ** 2)))


def _stack(batches: list[PromptBatch]) -> PromptBatch:
    """Prompts of equal length, one after the other."""

    def joined(name: str) -> Tensor | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else torch.cat(parts)

    return batches[0] if len(batches) == 1 else PromptBatch(joined("points"), joined("labels"), joined("masks"))


def _decode_rows(
    model: SAM2Base,
    encoded: EncodedImages,
    owners: Tensor,
    prompts: PromptBatch,
    *,
    multimask: bool,
    min_iou: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, IoUs and object scores of all rows, row i is about image ``owners[i]``."""
    if not len(prompts):
        candidates, side = 3 if multimask else 1, encoded.image_size // 4
        empty = torch.zeros(0, candidates, side, side, device=model.device)
        return empty, empty[:, :, 0, 0], empty[:, 0, 0, 0]
    chunks: list[MaskCandidates] = []
    step = rows_at_once(encoded.image_size, model.device)
    for start in range(0, len(prompts), step):
        rows = slice(start, start + step)
        images, first = owners[rows], int(owners[start])
        of_one = bool((images == first).all())
        chosen = slice(first, first + 1) if of_one else images.to(encoded.embed.device)
        embed, fine, middle = (x[chosen] for x in (encoded.embed, *encoded.high_res))
        part = PromptBatch(*(None if x is None else x[rows] for x in (prompts.points, prompts.labels, prompts.masks)))
        chunks.append(model.answer_prompts(embed, (fine, middle), part, multimask=multimask, min_iou=min_iou))
    logits, ious, scores = (torch.cat([getattr(c, n) for c in chunks]) for n in ("logits", "ious", "object_score"))
    return logits.float(), ious.float(), scores[:, 0].float()
