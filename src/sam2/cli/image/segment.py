"""From a photo to the objects in it: those that prompts point at, or all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam2.cli.errors import say
from sam2.cli.image.asked import Asked
from sam2.cli.image.everything import everything_segmenter
from sam2.cli.image.found import Candidate, Found, Segmenter
from sam2.cli.masks import read_mask_file
from sam2.cli.prompts import ObjectPrompt, strays
from sam2.image import Prompts
from sam2.interop.annotations import DEFAULT_LABEL
from sam2.interop.detections import Detection, Detections
from sam2.interop.rle import encode_mask
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor


def make_segmenter(model: SAM2Base, asked: Asked, *, boxes: Detections | None = None, alone: bool) -> Segmenter:
    """What finds the objects that were asked for.

    Args:
        model: in evaluation mode.
        asked: what and how.
        boxes: where ``asked.boxes`` are given, what they hold.
        alone: whether there is one photo only, whose own progress is shown.

    Raises:
        ValueError: options that the model cannot use.
    """
    if asked.everything is not None:
        return everything_segmenter(model, asked.everything, asked, alone=alone)
    predictor = SAM2ImagePredictor(model, mask_threshold=asked.threshold)

    def segment(path: Path, image: np.ndarray) -> list[Found]:
        if boxes is not None:
            return _find_detected(predictor, path, image, boxes, asked)
        warn_of_strays(path, image, asked.prompts)
        found = find_prompted(predictor, path, image, asked.prompts, all_candidates=asked.all_candidates)
        return [Found(prompt, masks, asked.labels.of(prompt.object_id)) for prompt, masks in found]

    return segment


def _find_detected(
    predictor: SAM2ImagePredictor, path: Path, image: np.ndarray, boxes: Detections, asked: Asked
) -> list[Found]:
    height, width = image.shape[:2]
    detections: dict[int, Detection] = {}
    prompts: list[ObjectPrompt] = []
    for number, item in enumerate(boxes.for_image(path.as_posix(), width, height), start=1):
        x0, y0, x1, y1 = item.box  # detectors reach a little beyond the edges
        inside = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            say(f"warning: {path} is {width}x{height}: box {number} of {boxes.source} lies outside and is left out")
            continue
        detections[number] = item
        prompts.append(ObjectPrompt(number, box=inside))
    found = find_prompted(predictor, path, image, prompts, all_candidates=asked.all_candidates)
    return [
        Found(prompt, masks, _label_of(detections[prompt.object_id], asked), detections[prompt.object_id].score)
        for prompt, masks in found
    ]


def _label_of(detection: Detection, asked: Asked) -> str | None:
    """The detector's name, else the user's for all."""
    return asked.labels.rest if detection.label == DEFAULT_LABEL else detection.label


def warn_of_strays(path: Path, image: np.ndarray, prompts: Sequence[ObjectPrompt]) -> None:
    """Say which points and boxes lie outside ``image`` [h, w, 3]."""
    height, width = image.shape[:2]
    for prompt in prompts:
        for text in strays(prompt, width, height):
            say(f"warning: {path} is {width}x{height}: {text}")


def find_prompted(
    predictor: SAM2ImagePredictor,
    path: Path,
    image: np.ndarray,
    prompts: Sequence[ObjectPrompt],
    *,
    all_candidates: bool,
) -> list[tuple[ObjectPrompt, tuple[Candidate, ...]]]:
    """The masks of all objects of an image, best first, in as few passes as possible.

    One click is ambiguous, so the model proposes three masks for it and the best is taken, as when tracking; whatever
    says more gets the single mask that is made for it.

    Args:
        predictor: its model encodes the image.
        path: the file, for errors.
        image: [h, w, 3] uint8.
        prompts: one per object.
        all_candidates: keep all three masks of every object, best first.

    Raises:
        ValueError: a mask prompt is not of the photo's size.
        FileNotFoundError: there is no such mask file.
    """
    size = (image.shape[0], image.shape[1])
    wanted = [
        Prompts(
            points=prompt.points or None,
            labels=prompt.labels or None,
            boxes=prompt.box,
            masks=None if prompt.mask is None else read_mask_file(prompt.mask, size=size, owner=path),
        )
        for prompt in prompts
    ]
    if not wanted:
        return []
    encoded = predictor.encode(image)
    several = [all_candidates or prompt.is_single_click for prompt in prompts]
    found: dict[int, tuple[Candidate, ...]] = {}
    for multimask in (False, True):
        rows = [row for row in range(len(prompts)) if several[row] == multimask]
        results = predictor.decode_batch(encoded, [wanted[row] for row in rows], multimask=multimask)
        for row, result in zip(rows, results, strict=True):
            ious = result.ious[0].cpu().numpy()
            order = np.argsort(-ious, kind="stable")[: None if all_candidates else 1]
            masks = result.masks()[0].cpu().numpy()
            found[row] = tuple(Candidate(encode_mask(masks[i]), float(ious[i])) for i in order)
    return [(prompt, found[row]) for row, prompt in enumerate(prompts)]
