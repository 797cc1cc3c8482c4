"""SAM 2 for images and videos: ``sam2.load("nano")`` gives a model, ``sam2.SAM2ImagePredictor`` segments with it,
``sam2.VideoSession`` and ``sam2.SAM2VideoPredictor`` track.

Importing this package imports neither torch nor anything else: names are resolved on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam2.automatic.video import VideoMaskGenerator, VideoMaskSettings
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    from sam2.build_sam import (
        build_sam2,
        build_sam2_camera_predictor,
        build_sam2_hf,
        build_sam2_video_predictor,
        build_sam2_video_predictor_hf,
        load,
    )
    from sam2.sam2_camera_predictor import SAM2CameraPredictor
    from sam2.sam2_image_predictor import SAM2ImagePredictor
    from sam2.sam2_video_predictor import SAM2VideoPredictor
    from sam2.tracking.session import VideoSession

__version__ = "0.1.0"

_EXPORTS = {
    "SAM2AutomaticMaskGenerator": "sam2.automatic_mask_generator",
    "SAM2CameraPredictor": "sam2.sam2_camera_predictor",
    "SAM2ImagePredictor": "sam2.sam2_image_predictor",
    "SAM2VideoPredictor": "sam2.sam2_video_predictor",
    "VideoMaskGenerator": "sam2.automatic.video",
    "VideoMaskSettings": "sam2.automatic.video",
    "VideoSession": "sam2.tracking.session",
    "build_sam2": "sam2.build_sam",
    "build_sam2_camera_predictor": "sam2.build_sam",
    "build_sam2_hf": "sam2.build_sam",
    "build_sam2_video_predictor": "sam2.build_sam",
    "build_sam2_video_predictor_hf": "sam2.build_sam",
    "load": "sam2.build_sam",
}

_MODULES = ("text",)
"""Modules that need no import of their own: ``sam2.text.boxes(...)``."""

__all__ = [
    "SAM2AutomaticMaskGenerator",
    "SAM2CameraPredictor",
    "SAM2ImagePredictor",
    "SAM2VideoPredictor",
    "VideoMaskGenerator",
    "VideoMaskSettings",
    "VideoSession",
    "__version__",
    "build_sam2",
    "build_sam2_camera_predictor",
    "build_sam2_hf",
    "build_sam2_video_predictor",
    "build_sam2_video_predictor_hf",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"sam2.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_MODULES})
