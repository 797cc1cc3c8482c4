"""Masks of one picture, without a project."""

import base64
import binascii
import hashlib
import io
import time
import warnings
from functools import partial

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from PIL import Image

from sam2.image import EncodedImages, ImagePrompts, MaskResult, decode, encode
from sam2.interop.polygons import mask_to_polygons
from sam2.interop.rle import encode_mask, mask_area, mask_edges
from sam2.io.images import read_image
from sam2.web.engine.prompts import asks_for_several, check_said, to_batch
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.media.kinds import BROKEN, IMAGE_FORMATS
from sam2.web.schemas import (
    MaskForm,
    Problem,
    RleMask,
    SegmentedMask,
    SegmentPrompt,
    SegmentRequest,
    SegmentResponse,
)
from sam2.web.studio import Studio, StudioDep

OWNER = "/v1/segment"
"""Under which features of such pictures are kept: no project can be called so."""

router = APIRouter(prefix="/v1", tags=["segment"])


@router.post(
    "/segment",
    summary="Segment a picture",
    responses={status: {"model": Problem} for status in (413, 415, 422)},
)
def segment(request: SegmentRequest, studio: StudioDep) -> SegmentResponse:
    """A picture and prompts in, masks out. The picture that was asked about last is not encoded again."""
    start = time.perf_counter()
    content = _bytes_of(request.image)
    size = _size_of(content, studio.settings.image_pixels)
    for number, prompt in enumerate(request.prompts):
        _check(prompt, size, number)
    encoded = _encoded(content, studio)
    results = _decode(request, encoded, studio.runner)
    masks = [found for number, result in enumerate(results) for found in _records(result, request, number)]
    return SegmentResponse(
        width=size[1],
        height=size[0],
        model=studio.runner.name,
        masks=tuple(masks),
        seconds=round(time.perf_counter() - start, 4),
    )


def _bytes_of(text: str) -> bytes:
    head, comma, _ = text[:100].partition(",")
    data = text[len(head) + 1 :] if comma and head.startswith("data:") else text
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise StudioError(422, "image must be the bytes of a picture file in base64") from error


def _size_of(content: bytes, pixels: int) -> tuple[int, int]:
    """(height, width) upright, from the head of the file: a bomb is told before it is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit: ours is told in our words
            with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
                width, height = image.size
                turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    except Image.DecompressionBombError as error:
        raise StudioError(413, f"image is too large: {pixels} pixels are allowed") from error
    except BROKEN as error:
        raise StudioError(415, "image is no picture that can be read") from error
    if width * height > pixels:
        raise StudioError(413, f"image is {width} x {height}: {pixels} pixels are allowed")
    return (width, height) if turned else (height, width)


def _check(prompt: SegmentPrompt, size: tuple[int, int], number: int) -> None:
    if not prompt.points and prompt.box is None and prompt.mask is None:
        raise StudioError(422, f"prompt {number} must hold a point, a box or a mask")
    try:
        check_said(prompt, size)
    except StudioError as error:
        raise StudioError(error.status, f"prompt {number}: {error.detail}") from None


def _encoded(content: bytes, studio: Studio) -> EncodedImages:
    key = (OWNER, int.from_bytes(hashlib.sha256(content).digest()[:8], "big"))
    image = None if key in studio.features else _decoded(content)
    runner = studio.runner

    def make() -> EncodedImages:
        return encode(runner.model, [_decoded(content) if image is None else image], runner.transforms)

    return studio.features.get(key, make)


def _decoded(content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            return read_image(image)
    except BROKEN as error:
        raise StudioError(415, "image is truncated or damaged") from error


def _decode(request: SegmentRequest, encoded: EncodedImages, runner: Runner) -> list[MaskResult]:
    """Masks of each prompt. A single one shares a pass with those of other requests, many are decoded together."""
    size = encoded.sizes[0]
    batches = [to_batch(prompt, runner, size) for prompt in request.prompts]
    several = [request.multimask or asks_for_several(prompt) for prompt in request.prompts]
    if len(batches) == 1:
        return [runner.decode(encoded, batches[0], multimask=several[0])]
    found: dict[int, MaskResult] = {}
    for multimask in (False, True):
        rows = [row for row in range(len(batches)) if several[row] == multimask]
        wanted = [ImagePrompts(0, batches[row]) for row in rows]
        work = partial(decode, runner.model, encoded, wanted, runner.transforms, multimask=multimask)
        found.update(zip(rows, runner.run(work), strict=True))
    return [found[row] for row in range(len(batches))]


def _records(result: MaskResult, request: SegmentRequest, number: int) -> list[SegmentedMask]:
    result = result if request.multimask else result.best()
    masks, scores = result.masks()[0].cpu().numpy(), result.ious[0].cpu().numpy()
    return [
        _record(masks[row], float(scores[row]), request.masks, number) for row in np.argsort(-scores, kind="stable")
    ]


def _record(mask: NDArray[np.bool_], score: float, form: MaskForm, number: int) -> SegmentedMask:
    rle = encode_mask(mask)
    x0, y0, x1, y1 = mask_edges(rle)
    return SegmentedMask(
        prompt=number,
        score=round(min(1.0, max(0.0, score)), 5),
        area=mask_area(rle),
        box=(x0, y0, x1, y1),
        rle=RleMask(size=(mask.shape[0], mask.shape[1]), counts=str(rle["counts"])) if form == "rle" else None,
        png=_png(mask) if form == "png" else None,
        polygons=_polygons(mask) if form == "polygons" else None,
    )


def _png(mask: NDArray[np.bool_]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _polygons(mask: NDArray[np.bool_]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in np.asarray(ring).ravel()) for ring in mask_to_polygons(mask))
