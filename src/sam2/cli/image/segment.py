"""From a photo to the objects in it: those that prompts point at, or all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sam2.cli.errors import say
from sam2.cli.image.asked import Asked, Grid
from sam2.cli.image.found import Candidate, Found
from sam2.cli.masks import read_mask_file
from sam2.cli.prompts import ObjectPrompt, strays
from sam2.image import Prompts
from sam2.interop.rle import encode_mask
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor

Segmenter = Callable[[Path, np.ndarray], list[Found]]
"""Takes a photo's file and its pixels [h, w, 3] uint8."""


def make_segmenter(model: SAM2Base, asked: Asked) -> Segmenter:
    """What finds the objects that were asked for."""
    if asked.everything is not None:
        return _everything(model, asked.everything, asked)
    predictor = SAM2ImagePredictor(model, mask_threshold=asked.threshold)

    def segment(path: Path, image: np.ndarray) -> list[Found]:
        found = find_prompted(predictor, path, image, asked.prompts, all_candidates=asked.all_candidates)
        return [Found(item.prompt, item.candidates, asked.labels.of(item.object_id)) for item in found]

    return segment


def _everything(model: SAM2Base, grid: Grid, asked: Asked) -> Segmenter:
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    generator = SAM2AutomaticMaskGenerator(
        model,
        points_per_side=grid.points_per_side,
        pred_iou_thresh=grid.iou_threshold,
        stability_score_thresh=grid.stability_threshold,
        mask_threshold=asked.threshold,
    )

    def segment(path: Path, image: np.ndarray) -> list[Found]:
        proposals = [item for item in generator.propose(image) if item.area >= max(1, grid.min_area)]
        proposals.sort(key=lambda item: -item.predicted_iou)
        return [
            Found(
                ObjectPrompt(number, (item.point,), (1,)),
                (Candidate(item.rle, item.predicted_iou),),
                asked.labels.rest,
                stability=item.stability_score,
            )
            for number, item in enumerate(proposals[: grid.max_masks], start=1)
        ]

    return segment


def find_prompted(
    predictor: SAM2ImagePredictor,
    path: Path,
    image: np.ndarray,
    prompts: Sequence[ObjectPrompt],
    *,
    all_candidates: bool,
) -> list[Found]:
    """All objects of an image in as few passes as possible.

    One click is ambiguous, so the model proposes three masks for it and the best is taken, as when tracking; whatever
    says more gets the single mask that is made for it.

    Args:
        predictor: its model encodes the image.
        path: the file, for errors and warnings.
        image: [h, w, 3] uint8.
        prompts: one per object.
        all_candidates: keep all three masks of every object, best first.

    Raises:
        ValueError: a mask prompt is not of the photo's size.
        FileNotFoundError: there is no such mask file.
    """
    height, width = image.shape[:2]
    for prompt in prompts:
        for text in strays(prompt, width, height):
            say(f"warning: {path} is {width}x{height}: {text}")
    wanted = [
        Prompts(
            points=prompt.points or None,
            labels=prompt.labels or None,
            boxes=prompt.box,
            masks=None if prompt.mask is None else read_mask_file(prompt.mask, size=(height, width), owner=path),
        )
        for prompt in prompts
    ]
    if not wanted:
        return []
    encoded = predictor.encode(image)
    several = [all_candidates or prompt.is_single_click for prompt in prompts]
    found: dict[int, Found] = {}
    for multimask in (False, True):
        rows = [row for row in range(len(prompts)) if several[row] == multimask]
        results = predictor.decode_batch(encoded, [wanted[row] for row in rows], multimask=multimask)
        for row, result in zip(rows, results, strict=True):
            ious = result.ious[0].cpu().numpy()
            order = np.argsort(-ious, kind="stable")[: None if all_candidates else 1]
            masks = result.masks()[0].cpu().numpy()
            candidates = tuple(Candidate(encode_mask(masks[i]), float(ious[i])) for i in order)
            found[row] = Found(prompts[row], candidates)
    return [found[row] for row in range(len(prompts))]
