"""``SAM2CameraPredictor``: tracking frame by frame, by the calls of the well-known real-time fork."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sam2.build_sam import build_sam2_camera_predictor, load_pretrained
from sam2.io.images import ImageLike
from sam2.tracking.mapping import OfficialState
from sam2.tracking.model import TrackingModel

__all__ = ["SAM2CameraPredictor", "build_sam2_camera_predictor"]

Masks = tuple[int, list[int], Tensor]
"""(frame index, object ids, logits [n, 1, H, W] float32)"""


class SAM2CameraPredictor(TrackingModel):
    """Track through a stream without end, in constant memory; one stream at a time.

    ::

        predictor.load_first_frame(frame)
        predictor.add_new_prompt(0, obj_id=1, points=[[320, 240]], labels=[1])
        while ...:
            obj_ids, logits = predictor.track(frame)

    Frames are RGB: arrays [H, W, 3], tensors [3, H, W], PIL images or paths. For several streams on one model, or for
    results with scores, use :class:`sam2.tracking.VideoSession`.
    """

    _bgr: bool = False
    _session: OfficialState | None = None

    @classmethod
    def from_pretrained(cls, model_id: str | os.PathLike[str], **kwargs: Any) -> "SAM2CameraPredictor":
        """A predictor with weights: ``"nano"``, a name such as ``"sam2.1_hiera_tiny"``, a file, or a hub id.

        Keyword arguments are those of :func:`sam2.build_sam.load_pretrained`.
        """
        model = load_pretrained(model_id, cls=cls, **kwargs)
        assert isinstance(model, SAM2CameraPredictor)
        return model

    @property
    def session(self) -> OfficialState:
        """The stream; ``RuntimeError`` before :meth:`load_first_frame`."""
        if self._session is None:
            raise RuntimeError("there is no stream yet: call load_first_frame(frame) first")
        return self._session

    @property
    def condition_state(self) -> OfficialState:
        """The stream, which reads as the official dict; the fork's name for it."""
        return self.session

    @property
    def frame_idx(self) -> int:
        """Index of the last frame, 0 for the first one; prompts are addressed to it."""
        return self.session.num_frames - 1

    # ------------------------------------------------------------------ frames

    def load_first_frame(self, img: ImageLike, *, bgr: bool = False) -> None:
        """Begin a stream; an earlier one, and its objects, are forgotten.

        Args:
            bgr: arrays are BGR, as OpenCV reads them, and so are those of the frames that follow.

        Raises:
            ValueError, TypeError: the frame cannot be used; an earlier stream goes on.
        """
        session = OfficialState(self)
        session.step(_as_rgb(img, bgr=bgr))
        self._session, self._bgr = session, bgr

    def add_conditioning_frame(self, img: ImageLike) -> int:
        """Take a frame to prompt on; its index. What is tracked already is tracked there too."""
        return self.session.step(_as_rgb(img, bgr=self._bgr)).frame_idx

    @torch.no_grad()
    def track(self, img: ImageLike) -> tuple[list[int], Tensor]:
        """Take the next frame and track all objects there.

        Returns:
            The objects, and their logits [n, 1, H, W] float32.

        Raises:
            RuntimeError: no stream, or nothing to track yet.
            ValueError: the frame cannot be used, or has another size than the first one; nothing has changed.
        """
        if not self.session.tracks:
            raise RuntimeError("No points are provided; please add points first: there is no object to track")
        _, obj_ids, logits = self.session.step(_as_rgb(img, bgr=self._bgr)).as_tuple()
        return obj_ids, logits

    def reset_state(self) -> None:
        """Forget all objects; the stream goes on with its next frame, or anew with :meth:`load_first_frame`."""
        if self._session is not None:
            self._session.reset()

    # ------------------------------------------------------------------ prompts

    @torch.no_grad()
    def add_new_prompt(
        self,
        frame_idx: int,
        obj_id: int,
        points: ArrayLike | Tensor | None = None,
        labels: ArrayLike | Tensor | None = None,
        bbox: ArrayLike | Tensor | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> Masks:
        """Prompt an object by points, a box or both, at any time, on the frame that came last.

        Args:
            frame_idx: :attr:`frame_idx`.
            points: [p, 2], (x, y) in pixels.
            labels: [p], 1 foreground, 0 background.
            bbox: [4], [1, 4] or [2, 2], (x0, y0, x1, y1) in pixels.
            clear_old_points: forget earlier points of the object on this frame; needed with a box.
            normalize_coords: coordinates are pixels; otherwise they are in 0..1.

        Returns:
            The frame, all objects, and their logits there: -1024 where nothing is known of an object.

        Raises:
            RuntimeError: no stream, or the frame is gone.
            ValueError: what is wrong with the prompt; nothing has changed.
        """
        self.session.add_points(
            frame_idx,
            obj_id,
            points=points,
            labels=labels,
            box=None if bbox is None else _as_box(bbox),
            clear_old_points=clear_old_points,
            normalize_coords=normalize_coords,
        )
        return self.session.result_at(frame_idx).as_tuple()

    def add_new_points(
        self,
        frame_idx: int,
        obj_id: int,
        points: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> Masks:
        """:meth:`add_new_prompt` with points alone."""
        return self.add_new_prompt(
            frame_idx, obj_id, points, labels, clear_old_points=clear_old_points, normalize_coords=normalize_coords
        )

    @torch.no_grad()
    def add_new_mask(self, frame_idx: int, obj_id: int, mask: ArrayLike | Tensor) -> Masks:
        """Say what an object is by its mask [H, W]; an empty one says that it is not there."""
        self.session.add_mask(frame_idx, obj_id, mask)
        return self.session.result_at(frame_idx).as_tuple()

    def propagate_in_video_preflight(self) -> None:
        """Encode the memories of prompts; :meth:`track` does so itself."""
        self.session.commit()

    def remove_object(self, obj_id: int) -> list[int]:
        """Forget an object; the ids of the others. ``KeyError`` if there is no such object."""
        self.session.remove_object(obj_id)
        return self.session.obj_ids


def _as_rgb(img: ImageLike, *, bgr: bool) -> ImageLike:
    if bgr and isinstance(img, np.ndarray) and img.ndim == 3 and img.shape[-1] == 3:
        return np.ascontiguousarray(img[..., ::-1])
    return img


def _as_box(bbox: ArrayLike | Tensor) -> Sequence[float] | Tensor:
    """Two corners [2, 2], as the fork's demo gives them, as [4]; other shapes are left for the checks of boxes."""
    box = torch.as_tensor(np.asarray(bbox)) if not isinstance(bbox, Tensor) else bbox
    return box.reshape(-1) if box.shape == (2, 2) else box
