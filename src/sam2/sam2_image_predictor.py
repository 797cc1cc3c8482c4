"""``SAM2ImagePredictor``: the official methods over :mod:`sam2.image`, and the stateless core beside them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from sam2.image import EncodedImages, ImagePrompts, MaskResult, Prompts, load_encoded, save_encoded
from sam2.image import decode as decode_requests
from sam2.image import encode as encode_images
from sam2.image.prompts import PromptTensors, check_prompts, merge, to_model
from sam2.io.images import ImageLike, Scale
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.transforms import SAM2Transforms

_OFFICIAL_NAMES = ("point_coords", "point_labels", "box", "mask_input")
_STRIDES = (4, 8, 16)


class SAM2ImagePredictor:
    """Segment what prompts point at in one image, or in several.

    ``set_image`` encodes, ``predict`` decodes as often as one likes. Both keep their state on the predictor, as the
    official class does. From several threads, or for several images at a time, use :meth:`encode` and :meth:`decode`,
    which keep none.

    Args:
        sam_model: from ``build_sam2`` or ``sam2.load``.
        mask_threshold: logits above this are foreground.
        max_hole_area: fill holes of at most this many pixels of the low-resolution mask (a quarter of the model's
            input); 0 leaves them.
        max_sprinkle_area: remove islands of at most this many pixels of the low-resolution mask; 0 leaves them.
        **kwargs: ignored with a warning, as ``from_pretrained`` officially passes the builder's arguments on.
    """

    def __init__(
        self,
        sam_model: SAM2Base,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            warnings.warn(f"SAM2ImagePredictor ignores {', '.join(sorted(kwargs))}", stacklevel=2)
        self.model = sam_model
        self._transforms = SAM2Transforms(sam_model.image_size, mask_threshold, max_hole_area, max_sprinkle_area)
        self.mask_threshold = mask_threshold
        self._bb_feat_sizes = [(sam_model.image_size // stride,) * 2 for stride in _STRIDES]
        self._is_image_set = False
        self._features: dict[str, Any] | None = None
        self._orig_hw: list[tuple[int, int]] | None = None
        self._is_batch = False

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> "SAM2ImagePredictor":
        """A predictor with weights: ``"nano"``, a name such as ``"sam2.1_hiera_tiny"``, a file, or a hub id.

        Keyword arguments go to the constructor where it knows them, else to the loader (``device``, ``dtype``, ...).
        """
        from sam2.build_sam import with_pretrained  # reads configurations, which this file otherwise never needs

        return with_pretrained(cls, model_id, kwargs)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    # ------------------------------------------------------------------ images

    @torch.no_grad()
    def set_image(self, image: ImageLike, *, scale: Scale = "full") -> None:
        """Encode the image that the following prompts are about.

        Args:
            image: RGB array [H, W, 3] (or grey, RGBA, 16-bit, float), PIL image, tensor [C, H, W], or path; see
                :func:`sam2.io.images.read_image` for how values are scaled.
            scale: ``"minmax"`` stretches what is not 8-bit over its own range.

        Raises:
            ValueError, TypeError, FileNotFoundError: the image cannot be used; the previous one stays set.
        """
        self._remember(encode_images(self.model, [image], self._transforms, scale=scale), is_batch=False)

    @torch.no_grad()
    def set_image_batch(self, image_list: Sequence[ImageLike], *, scale: Scale = "full") -> None:
        """Encode several images, of any sizes, in one pass; then use :meth:`predict_batch`."""
        if isinstance(image_list, np.ndarray | Tensor | str | Path | Image.Image):
            raise TypeError(f"image_list must be a list of images, got {type(image_list).__name__}")
        self._remember(encode_images(self.model, list(image_list), self._transforms, scale=scale), is_batch=True)

    def get_image_embedding(self) -> Tensor:
        """The embedding [b, C, h, w] of the image that is set, no-memory embedding included.

        Raises:
            RuntimeError: no image is set.
        """
        return self.get_image_features().embed

    def reset_predictor(self) -> None:
        """Forget the image."""
        self._is_image_set = False
        self._features = None
        self._orig_hw = None
        self._is_batch = False

    # ------------------------------------------------------------------ prompts

    @torch.no_grad()
    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks of what the prompts point at.

        Args:
            point_coords: [p, 2] (x, y) in pixels, or [n, p, 2] for n objects.
            point_labels: [p] or [n, p], 1 foreground, 0 background.
            box: [4] (x0, y0, x1, y1) in pixels, or [n, 4] for n objects. With several boxes, one set of points
                holds for each of them.
            mask_input: logits [1, s, s], the third value of an earlier call; other sizes are resized.
            multimask_output: three candidates, best for ambiguous prompts such as one click; else one.
            return_logits: logits in place of 0 and 1.
            normalize_coords: False if coordinates are already in 0..1.

        Returns:
            Masks [m, H, W] float32, predicted IoUs [m], low-resolution logits [m, s, s] clamped to +-32, where s is a
            quarter of the model's input; all with a leading n for n objects other than one.

        Raises:
            RuntimeError: no image is set.
            ValueError: names the prompt that is wrong.
        """
        encoded = self.get_image_features()
        prompts = Prompts(point_coords, point_labels, box, mask_input, image=len(encoded) - 1)
        (result,) = self._decode(
            encoded, [prompts], multimask=multimask_output, normalize_coords=normalize_coords, names=_OFFICIAL_NAMES
        )
        return self._to_numpy(result, return_logits=return_logits)

    @torch.no_grad()
    def predict_batch(
        self,
        point_coords_batch: Sequence[ArrayLike | None] | None = None,
        point_labels_batch: Sequence[ArrayLike | None] | None = None,
        box_batch: Sequence[ArrayLike | None] | None = None,
        mask_input_batch: Sequence[ArrayLike | None] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """As :meth:`predict`, one entry (or None) per image of :meth:`set_image_batch`; prompts may be ragged.

        Raises:
            RuntimeError: no batch of images is set.
            ValueError: a list is not as long as the batch, or a prompt is wrong (the message says which image).
        """
        encoded = self.get_image_features()
        if not self._is_batch:
            raise RuntimeError("predict_batch needs images set with .set_image_batch(...)")
        columns = []
        for name, values in zip(
            _OFFICIAL_NAMES, (point_coords_batch, point_labels_batch, box_batch, mask_input_batch), strict=True
        ):
            if values is not None and len(values) != len(encoded):
                raise ValueError(f"{name}_batch must have {len(encoded)} entries, one per image, got {len(values)}")
            columns.append([None] * len(encoded) if values is None else values)
        prompts = [Prompts(*row, image=index) for index, row in enumerate(zip(*columns, strict=True))]
        results = self._decode(
            encoded, prompts, multimask=multimask_output, normalize_coords=normalize_coords, names=_OFFICIAL_NAMES
        )
        rows = [self._to_numpy(result, return_logits=return_logits) for result in results]
        masks, ious, low_res = (list(column) for column in zip(*rows, strict=True))
        return masks, ious, low_res

    @torch.no_grad()
    def _predict(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        img_idx: int = -1,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`predict`, from what :meth:`_prep_prompts` returns to tensors.

        Args:
            point_coords: [n, p, 2] in pixels of the model's input.
            point_labels: [n, p].
            boxes: [n, 4] or [n, 2, 2] in pixels of the model's input.
            mask_input: [n, 1, s, s] logits.
            multimask_output: three candidates or one.
            return_logits: logits in place of bool masks.
            img_idx: which image of a batch.

        Returns:
            Masks [n, m, H, W], IoUs [n, m], low-resolution logits [n, m, s, s].
        """
        encoded = self.get_image_features()
        index = range(len(encoded))[img_idx]
        batch = merge(PromptTensors(point_coords, point_labels, boxes, mask_input), self.model.image_size // 4)
        request = ImagePrompts(index, batch)
        (result,) = decode_requests(self.model, encoded, [request], self._transforms, multimask=multimask_output)
        masks = result.full_logits()
        return masks if return_logits else masks > self.mask_threshold, result.ious, result.low_res

    def _prep_prompts(
        self,
        point_coords: Any,
        point_labels: Any,
        box: Any,
        mask_logits: Any,
        normalize_coords: bool,
        img_idx: int = -1,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Prompts in the model's frame: mask [n, 1, h, w], points [n, p, 2], labels [n, p], box corners [n, 2, 2]."""
        self._require_image()
        assert self._orig_hw is not None
        given = Prompts(point_coords, point_labels, box, mask_logits)
        checked = check_prompts(given, device=self.device, names=_OFFICIAL_NAMES)
        size = self._orig_hw[img_idx]
        ready = to_model(checked, self._transforms, size, normalize_coords=normalize_coords)
        return ready.masks, ready.points, ready.labels, ready.boxes

    # ------------------------------------------------------------------ without state

    @torch.no_grad()
    def encode(
        self, image: ImageLike | list[ImageLike] | tuple[ImageLike, ...], *, scale: Scale = "full"
    ) -> EncodedImages:
        """Features of one image, or of a list of them, for :meth:`decode`; nothing is kept on the predictor."""
        images = image if isinstance(image, list | tuple) else [image]
        return encode_images(self.model, images, self._transforms, scale=scale)

    @torch.no_grad()
    def decode(
        self,
        features: EncodedImages,
        *,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        masks: Any = None,
        multimask: bool = True,
        normalize_coords: bool = True,
        image: int = 0,
    ) -> MaskResult:
        """Masks in one of the encoded images; see :class:`sam2.image.Prompts` for shapes.

        May be called from any number of threads; the results are those of calling in turn.
        """
        prompts = Prompts(points, labels, boxes, masks, image)
        return self._decode(features, [prompts], multimask=multimask, normalize_coords=normalize_coords)[0]

    @torch.no_grad()
    def decode_batch(
        self,
        features: EncodedImages,
        prompts: Sequence[Prompts],
        *,
        multimask: bool = True,
        normalize_coords: bool = True,
    ) -> list[MaskResult]:
        """Results of many prompts, ragged and about any of the images, in as few passes as possible."""
        return self._decode(features, prompts, multimask=multimask, normalize_coords=normalize_coords)

    # ------------------------------------------------------------------ features

    def get_image_features(self) -> EncodedImages:
        """The features of the image or images that are set.

        Raises:
            RuntimeError: no image is set.
        """
        self._require_image()
        assert self._features is not None
        assert self._orig_hw is not None
        fine, middle = self._features["high_res_feats"]
        return EncodedImages(self._features["image_embed"], (fine, middle), tuple((h, w) for h, w in self._orig_hw))

    def set_image_features(self, features: EncodedImages) -> None:
        """Set the image or images by their features; several count as a batch.

        Raises:
            ValueError: the features are not of this model's size.
        """
        self._check_features(features)
        self._remember(features.to(self.device), is_batch=len(features) > 1)

    def save_image_features(self, path: str | Path) -> None:
        """Write the features to a safetensors file, bound to this model's weights."""
        save_encoded(path, self.get_image_features(), self.model)

    def load_image_features(self, path: str | Path) -> None:
        """Set the image from :meth:`save_image_features`; prediction then equals that after ``set_image`` exactly.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file, is damaged, or comes of another model; what was set stays set.
        """
        self.set_image_features(load_encoded(path, self.model))

    # ------------------------------------------------------------------ inside

    def _remember(self, encoded: EncodedImages, *, is_batch: bool) -> None:
        self._features = {"image_embed": encoded.embed, "high_res_feats": list(encoded.high_res)}
        self._orig_hw = list(encoded.sizes)
        self._is_image_set = True
        self._is_batch = is_batch

    def _require_image(self) -> None:
        if not self._is_image_set or self._features is None or self._orig_hw is None:
            raise RuntimeError("an image must be set with .set_image(...) before mask prediction")

    def _check_features(self, features: EncodedImages) -> None:
        want, got = self.model.image_size, features.image_size
        channels = self.model.no_mem_embed.shape[-1]
        if got != want or features.embed.shape[1] != channels:
            raise ValueError(
                f"features must be of image_size {want} with {channels} channels, as {self.model.config.name} makes "
                f"them, got {got} with {features.embed.shape[1]}"
            )

    def _decode(
        self,
        encoded: EncodedImages,
        prompts: Sequence[Prompts],
        *,
        multimask: bool,
        normalize_coords: bool,
        names: tuple[str, str, str, str] | None = None,
    ) -> list[MaskResult]:
        """Check all prompts, then decode them."""
        self._check_features(encoded)
        requests = []
        for position, prompt in enumerate(prompts):
            if not 0 <= prompt.image < len(encoded):
                raise ValueError(f"image must be in 0..{len(encoded) - 1}, got {prompt.image}")
            try:
                checked = check_prompts(prompt, device=self.device, names=names)
                size = encoded.sizes[prompt.image]
                ready = to_model(checked, self._transforms, size, normalize_coords=normalize_coords)
                batch = merge(ready, self.model.image_size // 4)
            except ValueError as error:
                if len(prompts) == 1:
                    raise
                raise ValueError(f"prompts[{position}]: {error}") from error
            requests.append(ImagePrompts(prompt.image, batch))
        return decode_requests(self.model, encoded, requests, self._transforms, multimask=multimask)

    def _to_numpy(self, result: MaskResult, *, return_logits: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        masks = result.full_logits()
        if not return_logits:
            masks = masks > self.mask_threshold
        masks, ious, low_res = (x.squeeze(0).float().cpu().numpy() for x in (masks, result.ious, result.low_res))
        return masks, ious, low_res
