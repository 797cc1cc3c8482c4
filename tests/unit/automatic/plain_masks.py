"""Automatic masks the plain way: all are drawn at the size of the image, then filtered. The quick way must equal it."""

import numpy as np
import torch
from torch import Tensor

from sam2.automatic import AutomaticSettings
from sam2.interop.rle import encode_mask
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor
from sam2.utils.amg import (
    batched_mask_to_box,
    calculate_stability_score,
    generate_crop_boxes,
    is_box_near_crop_edge,
    uncrop_boxes_xyxy,
    uncrop_masks,
)


def greedy_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """By definition: the best one stays, what overlaps it too much goes, and so on."""
    left = sorted(range(len(boxes)), key=lambda row: -scores[row].item())
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [row for row in left if not _iou(boxes[best], boxes[row]) > threshold]
    return kept


def _iou(a: Tensor, b: Tensor) -> float:
    width, height = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).tolist()
    areas = [((x[2] - x[0]) * (x[3] - x[1])).item() for x in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union else 0.0


def plain_records(model: SAM2Base, image: np.ndarray, settings: AutomaticSettings) -> list[dict]:
    """The official records, with ``segmentation`` as a compressed encoding, of the filters that the paper names."""
    height, width = image.shape[:2]
    boxes, layers = generate_crop_boxes((height, width), settings.crop_n_layers, settings.crop_overlap_ratio)
    found = []
    for box, layer in zip(boxes, layers, strict=True):
        found += _of_crop(model, image, box, settings.grids[layer], settings)
    if len(boxes) > 1:
        areas = torch.tensor([[1 / ((b[2] - b[0]) * (b[3] - b[1]))] for b in (r["crop"] for r in found)])
        corners = torch.stack([record["box"] for record in found]) if found else torch.zeros(0, 4)
        found = [found[row] for row in greedy_nms(corners, areas.flatten(), settings.crop_nms_thresh)]
    return found


def _of_crop(
    model: SAM2Base, image: np.ndarray, crop: list[int], grid: np.ndarray, settings: AutomaticSettings
) -> list[dict]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image[y0:y1, x0:x1])
    rows = []
    for point in grid * (x1 - x0, y1 - y0):
        place = torch.tensor(point, dtype=torch.float32)
        at = predictor._transforms.transform_coords(place[None], normalize=True, orig_hw=(y1 - y0, x1 - x0))[:, None]
        one = torch.ones(1, 1, dtype=torch.int32)
        logits, ious, low_res = predictor._predict(
            at, one, multimask_output=settings.multimask_output, return_logits=True
        )
        for mask, iou, small in zip(logits[0], ious[0], low_res[0], strict=True):
            if settings.use_m2m:
                again = predictor._predict(
                    at, one, mask_input=small[None, None], multimask_output=False, return_logits=True
                )
                mask, iou = again[0][0, 0], again[1][0, 0]
            stability = calculate_stability_score(mask, settings.mask_threshold, settings.stability_score_offset)
            if iou > settings.pred_iou_thresh and stability >= settings.stability_score_thresh:
                rows.append((mask > settings.mask_threshold, iou, stability, place))
    if not rows:
        return []
    masks, ious, stability, places = (torch.stack(column) for column in zip(*rows, strict=True))
    boxes = batched_mask_to_box(masks)
    inside = [row for row, cut in enumerate(is_box_near_crop_edge(boxes, crop, [0, 0, width, height])) if not cut]
    kept = [inside[row] for row in greedy_nms(boxes[inside].float(), ious[inside], settings.box_nms_thresh)]
    whole = uncrop_masks(masks, crop, height, width).numpy()
    return [
        {
            "rle": encode_mask(whole[row]),
            "area": int(whole[row].sum()),
            "box": uncrop_boxes_xyxy(boxes[row], crop).float(),
            "iou": ious[row].item(),
            "stability": stability[row].item(),
            "point": [(places[row][0] + x0).item(), (places[row][1] + y0).item()],
            "crop": crop,
        }
        for row in kept
    ]
