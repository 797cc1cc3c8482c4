"""``SAM2AutomaticMaskGenerator``: masks of everything in an image, by the official names."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy.typing as npt

from sam2.automatic import AutomaticSettings, MaskProposal, propose
from sam2.automatic.proposals import Progress, records
from sam2.automatic.settings import ByModel, Thresholds, grids_from, thresholds_for
from sam2.image import EncodedImages
from sam2.interop.rle import Rle, decode_mask, string_to_runs
from sam2.io.images import ImageLike, read_image
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]

_IOU, _STABILITY, _OFFSET = ByModel(0.8), ByModel(0.95), ByModel(1.0)


class SAM2AutomaticMaskGenerator:
    """Clicks on a grid of points, and keeps of the masks what is sure, stable and not there twice.

    Nothing of the image's size is made for a mask that is dropped, and masks are held as run-length encodings, so
    that the memory a call needs hardly depends on the size of the image. One generator may serve several threads.

    Args:
        model: from ``build_sam2`` or ``sam2.load``.
        points_per_side: clicks along a side of the image; None if ``point_grids`` are given.
        points_per_batch: clicks decoded at once.
        pred_iou_thresh: a mask stays if its predicted IoU is above this, 0..1. Where this and the next two are left at
            their defaults, nano uses numbers of its own (0.5, 0.9 and 0.1), which suit its logits.
        stability_score_thresh: a mask stays if its stability is at least this, 0..1.
        stability_score_offset: how far the threshold is moved to measure stability.
        mask_threshold: logits above this are inside.
        box_nms_thresh: of two masks whose boxes have more IoU than this, the better one stays.
        crop_n_layers: layers of crops to look at beside the image; layer i has 2^i x 2^i.
        crop_nms_thresh: as ``box_nms_thresh``, between crops; the mask of the smaller crop stays.
        crop_overlap_ratio: overlap of crops, as a share of the image's short side; halved with each layer.
        crop_n_points_downscale_factor: the points a side of layer i are divided by this to the power of i.
        point_grids: clicks (x, y) in 0..1 in place of a grid: one array [p, 2] for the image and one for each layer
            of crops.
        min_mask_region_area: holes and islands of fewer pixels of the image than this are removed, on every device.
            (Officially it counts pixels of the low-resolution mask and needs a CUDA extension.)
        output_mode: ``"binary_mask"`` (bool arrays), ``"uncompressed_rle"`` or ``"coco_rle"`` (pycocotools is not
            needed).
        use_m2m: each mask is given to the model once more as a prompt: slower, cleaner.
        multimask_output: three masks a click, or one.
        max_masks: at most so many masks, those of the highest predicted IoU.
        mask_nms_thresh: of two masks that overlap by more IoU than this, pixel by pixel, the better one stays.
        progress: called with the number of clicks that are done, and of all of an image.
        **kwargs: ignored with a warning, as ``from_pretrained`` officially passes the builder's arguments on.

    Raises:
        ValueError: an argument cannot be used; the message names it.
    """

    def __init__(
        self,
        model: SAM2Base,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = _IOU,
        stability_score_thresh: float = _STABILITY,
        stability_score_offset: float = _OFFSET,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[npt.ArrayLike] | npt.ArrayLike | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        *,
        max_masks: int | None = None,
        mask_nms_thresh: float | None = None,
        progress: Progress | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            warnings.warn(f"SAM2AutomaticMaskGenerator ignores {', '.join(sorted(kwargs))}", stacklevel=2)
        if output_mode not in get_args(OutputMode):
            raise ValueError(f"output_mode must be one of {', '.join(get_args(OutputMode))}, got {output_mode!r}")
        grids = grids_from(points_per_side, point_grids, layers=crop_n_layers, downscale=crop_n_points_downscale_factor)
        given = Thresholds(pred_iou_thresh, stability_score_thresh, stability_score_offset)
        thresholds = thresholds_for(model.config, given)
        self.settings = AutomaticSettings(
            grids=grids,
            points_per_batch=points_per_batch,
            pred_iou_thresh=thresholds.pred_iou_thresh,
            stability_score_thresh=thresholds.stability_score_thresh,
            stability_score_offset=thresholds.stability_score_offset,
            mask_threshold=mask_threshold,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            min_mask_region_area=min_mask_region_area,
            use_m2m=use_m2m,
            multimask_output=multimask_output,
            max_masks=max_masks,
            mask_nms_thresh=mask_nms_thresh,
        )
        self.output_mode: OutputMode = output_mode
        self.progress = progress
        self.predictor = SAM2ImagePredictor(model, mask_threshold=mask_threshold)

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> "SAM2AutomaticMaskGenerator":
        """A generator with weights: ``"nano"``, a name such as ``"sam2.1_hiera_tiny"``, a file, or a hub id.

        Keyword arguments go to the constructor where it knows them, else to the loader (``device``, ``dtype``, ...).
        """
        from sam2.build_sam import with_pretrained  # reads configurations, which this file otherwise never needs

        return with_pretrained(cls, model_id, kwargs)

    def generate(self, image: ImageLike | None, *, features: EncodedImages | None = None) -> list[dict[str, Any]]:
        """Masks of everything in an image.

        Args:
            image: RGB array [H, W, 3] uint8, or anything that :func:`sam2.io.images.read_image` takes; may be None
                where ``features`` are given and there are no crops.
            features: of the image, from ``SAM2ImagePredictor.encode``; it is then not encoded again.

        Returns:
            A record a mask, none for an image without masks:

            - ``segmentation``: [H, W] bool, or an RLE, by ``output_mode``;
            - ``area``: pixels;
            - ``bbox``: [x, y, width, height] in pixels; as officially, width and height are one less than the pixels
              that the mask spans;
            - ``predicted_iou`` and ``stability_score``: 0..1;
            - ``point_coords``: [[x, y]] in pixels, the click that gave the mask;
            - ``crop_box``: [x, y, width, height] of the crop that it was found in.

        Raises:
            ValueError, TypeError, FileNotFoundError: the image or the features cannot be used.
        """
        return records(self.propose(image, features=features), _SEGMENTATION[self.output_mode])

    def propose(self, image: ImageLike | None, *, features: EncodedImages | None = None) -> list[MaskProposal]:
        """As :meth:`generate`, with masks as run-length encodings in records with types."""
        array = None if image is None else read_image(image)
        return propose(self.predictor.model, array, self.settings, features=features, progress=self.progress)


def _uncompressed(rle: Rle) -> dict[str, Any]:
    return {"size": rle["size"], "counts": string_to_runs(rle["counts"]).tolist()}


_SEGMENTATION: dict[OutputMode, Callable[[Rle], Any]] = {
    "binary_mask": decode_mask,
    "uncompressed_rle": _uncompressed,
    "coco_rle": dict,
}
