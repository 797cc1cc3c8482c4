"""SAM 2 for images: ``sam2.load("nano")`` gives a model, ``sam2.SAM2ImagePredictor`` segments with it.

Importing this package imports neither torch nor anything else: names are resolved on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam2.build_sam import build_sam2, build_sam2_hf, load
    from sam2.sam2_image_predictor import SAM2ImagePredictor

__version__ = "0.1.0"

_EXPORTS = {
    "SAM2ImagePredictor": "sam2.sam2_image_predictor",
    "build_sam2": "sam2.build_sam",
    "build_sam2_hf": "sam2.build_sam",
    "load": "sam2.build_sam",
}

__all__ = ["SAM2ImagePredictor", "__version__", "build_sam2", "build_sam2_hf", "load"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
