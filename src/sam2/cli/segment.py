"""One image from file to results: what ``sam2 image`` does for each of its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam2.cli.errors import say
from sam2.cli.masks import read_mask_file, tight_box
from sam2.cli.outputs import jpeg_bytes, json_bytes, png_bytes, write_whole
from sam2.cli.prompts import ObjectPrompt, box_record, point_records, strays
from sam2.image import Prompts
from sam2.interop.rle import encode_mask
from sam2.io.images import Scale, read_image
from sam2.sam2_image_predictor import SAM2ImagePredictor
from sam2.viz import DrawnPrompts, draw_overlay


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all images of a call.

    Attributes:
        model: its name, as it is written into the JSON.
        output: the folder of the results.
        formats: of ``png`` (masks) and ``json``.
        overlay: whether to draw the picture.
        all_candidates: whether to write all three masks that the model proposes for an object, ranked.
        scale: how pixel values of 16-bit and float images are read, see :func:`sam2.io.images.read_image`.
    """

    model: str
    output: Path
    formats: frozenset[str]
    overlay: bool
    all_candidates: bool
    scale: Scale


@dataclass(frozen=True, slots=True)
class Found:
    """What the model says of one object, best mask first.

    Attributes:
        prompt: what was asked.
        masks: [m, h, w] bool.
        ious: [m] predicted IoU of each.
    """

    prompt: ObjectPrompt
    masks: np.ndarray
    ious: np.ndarray

    def describe(self) -> str:
        """One line about the best mask."""
        area = int(self.masks[0].sum())
        share = 100 * area / self.masks[0].size
        return f"object {self.prompt.object_id}: {area} pixels ({share:.1f} %), predicted IoU {self.ious[0]:.2f}"


def segment_file(
    predictor: SAM2ImagePredictor, path: Path, stem: str, prompts: Sequence[ObjectPrompt], settings: Settings
) -> list[Found]:
    """Segment the objects in one file and write what was asked for; files begin with ``stem``.

    Raises:
        ValueError: the file is no image, or a mask prompt is not of its size.
        FileNotFoundError: there is no such file.
        OutputError: results cannot be written.
    """
    image = read_image(path, scale=settings.scale)
    _warn_of_strays(path, image, prompts)
    size = (image.shape[0], image.shape[1])
    mask_inputs = [
        None if prompt.mask is None else read_mask_file(prompt.mask, size=size, owner=path) for prompt in prompts
    ]
    found = _segment(predictor, image, prompts, mask_inputs, settings)
    _write(path, stem, image, found, settings)
    return found


def _segment(
    predictor: SAM2ImagePredictor,
    image: np.ndarray,
    prompts: Sequence[ObjectPrompt],
    mask_inputs: Sequence[np.ndarray | None],
    settings: Settings,
) -> list[Found]:
    """All objects of an image in as few passes as possible.

    One click is ambiguous, so the model proposes three masks for it and the best is taken, as when tracking; whatever
    says more gets the single mask that is made for it.
    """
    encoded = predictor.encode(image)
    several = [settings.all_candidates or prompt.is_single_click for prompt in prompts]
    found: dict[int, Found] = {}
    for multimask in (False, True):
        rows = [row for row in range(len(prompts)) if several[row] == multimask]
        wanted = [
            Prompts(
                points=prompts[row].points or None,
                labels=prompts[row].labels or None,
                boxes=prompts[row].box,
                masks=mask_inputs[row],
            )
            for row in rows
        ]
        for row, result in zip(rows, predictor.decode_batch(encoded, wanted, multimask=multimask), strict=True):
            ious = result.ious[0].cpu().numpy()
            order = np.argsort(-ious, kind="stable")[: None if settings.all_candidates else 1]
            masks = result.masks()[0].cpu().numpy()
            found[row] = Found(prompts[row], masks[order], ious[order])
    return [found[row] for row in range(len(prompts))]


def _warn_of_strays(path: Path, image: np.ndarray, prompts: Sequence[ObjectPrompt]) -> None:
    height, width = image.shape[:2]
    for prompt in prompts:
        for text in strays(prompt, width, height):
            say(f"warning: {path} is {width}x{height}: {text}")


def _write(path: Path, stem: str, image: np.ndarray, found: Sequence[Found], settings: Settings) -> None:
    if "png" in settings.formats:
        for item in found:
            for name, mask in zip(_mask_names(stem, item, settings), item.masks, strict=True):
                write_whole(settings.output / name, png_bytes(mask))
    if settings.overlay:
        drawn = draw_overlay(
            image,
            [item.masks[0] for item in found],
            ids=[item.prompt.object_id for item in found],
            prompts=[DrawnPrompts(item.prompt.points, item.prompt.labels, item.prompt.box) for item in found],
        )
        write_whole(settings.output / f"{stem}_overlay.jpg", jpeg_bytes(drawn))
    if "json" in settings.formats:
        record = _record(path, stem, image, found, settings)
        write_whole(settings.output / f"{stem}.json", json_bytes(record))


def _mask_names(stem: str, found: Found, settings: Settings) -> list[str]:
    name = f"{stem}_object{found.prompt.object_id}"
    if not settings.all_candidates:
        return [f"{name}.png"]
    return [f"{name}_rank{rank}.png" for rank in range(1, len(found.masks) + 1)]


def _record(path: Path, stem: str, image: np.ndarray, found: Sequence[Found], settings: Settings) -> dict[str, Any]:
    """The JSON of one image, as docs/cli.md describes it."""
    objects = []
    for item in found:
        names = _mask_names(stem, item, settings) if "png" in settings.formats else [None] * len(item.masks)
        candidates = [
            _mask_record(mask, float(iou), name) for mask, iou, name in zip(item.masks, item.ious, names, strict=True)
        ]
        entry = {"id": item.prompt.object_id, "prompts": _prompt_record(item.prompt), **candidates[0]}
        if settings.all_candidates:
            entry["candidates"] = candidates
        objects.append(entry)
    return {
        "image": path.name,
        "width": image.shape[1],
        "height": image.shape[0],
        "model": settings.model,
        "objects": objects,
    }


def _mask_record(mask: np.ndarray, iou: float, name: str | None) -> dict[str, Any]:
    return {
        "mask": name,
        "bbox": tight_box(mask),
        "area": int(mask.sum()),
        "predicted_iou": round(iou, 6),
        "segmentation": encode_mask(mask),
    }


def _prompt_record(prompt: ObjectPrompt) -> dict[str, Any]:
    return {
        "points": point_records(prompt),
        "box": box_record(prompt),
        "mask": str(prompt.mask) if prompt.mask is not None else None,
    }
