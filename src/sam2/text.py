"""Boxes of what a text names, by any zero-shot detector of ``transformers``, to be used as prompts.

found = sam2.text.boxes("photo.jpg", "a dog. a cat.")
masks, ious, logits = predictor.predict(box=found.boxes, multimask_output=False)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sam2.interop.annotations import DEFAULT_LABEL
from sam2.io.images import ImageLike, read_image

DEFAULT_MODEL = "IDEA-Research/grounding-dino-tiny"
"""What is taken where no model is named (Apache 2.0)."""


@dataclass(frozen=True, slots=True, eq=False)
class TextBoxes:
    """What a detector found, best first.

    Attributes:
        boxes: [n, 4] float32, (x0, y0, x1, y1) in pixels of the image; may reach a little beyond it.
        scores: [n] float32, 0..1.
        labels: n phrases; Grounding DINO gives the words that fit, which may be parts of phrases; ``"object"`` if none
            does.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def boxes(
    image: ImageLike,
    text: str | Sequence[str],
    *,
    model: Any = DEFAULT_MODEL,
    processor: Any = None,
    threshold: float = 0.25,
    device: torch.device | str | None = None,
) -> TextBoxes:
    """Find what ``text`` names in an image.

    Args:
        image: anything that :func:`sam2.io.images.read_image` takes.
        text: phrases separated by full stops, or a list of them.
        model: a name on the Hugging Face hub or a folder (the last one is kept, so that many images load it once), or
            a model of zero-shot object detection: Grounding DINO, OWL-ViT, OWLv2, ...
        processor: of the model; needed with a model that is not given by name.
        threshold: boxes with higher scores are given. Suits Grounding DINO; OWL calls for about 0.1.
        device: where a model given by name is to run; the CPU by default.

    Raises:
        ImportError: ``transformers`` is not installed.
        ValueError: no phrase, a threshold outside 0..1, no processor, an image that cannot be read, a model of
            another kind.
        OSError: the model is neither here nor to be downloaded.
    """
    phrases = _phrases(text)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in 0..1, got {threshold!r}")
    if isinstance(model, str):
        model, loaded = _load(model, str(device or "cpu"))
        processor = processor or loaded
    elif processor is None:
        raise ValueError("processor must be given with a model that is not given by name, got None")
    pixels = read_image(image)
    inputs = processor(images=pixels, text=[phrases], return_tensors="pt").to(model.device)
    with torch.inference_mode():
        outputs = model(**_cast(inputs, model.dtype))
    (result,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[pixels.shape[:2]], text_labels=[phrases]
    )
    order = result["scores"].argsort(descending=True, stable=True).tolist()
    labels = result["text_labels"]
    return TextBoxes(
        result["boxes"].float().cpu().numpy()[order].reshape(-1, 4),
        result["scores"].float().cpu().numpy()[order],
        tuple(str(labels[row]) or DEFAULT_LABEL for row in order),
    )


def _phrases(text: str | Sequence[str]) -> list[str]:
    parts = text.split(".") if isinstance(text, str) else list(text)
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"text must be a text or a list of phrases, got {text!r:.80}")
    phrases = [part.strip().rstrip(".").strip() for part in parts]
    phrases = [phrase for phrase in phrases if phrase]
    if not phrases:
        raise ValueError(f"text must name something to look for, got {text!r:.80}")
    return phrases


@lru_cache(maxsize=1)
def _load(name: str, device: str) -> tuple[Any, Any]:
    """The model, in evaluation mode, and its processor."""
    try:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
    except ImportError as error:
        raise ImportError("finding boxes by text needs transformers: pip install 'sam2[text]'") from error
    # What is here is taken as it is. Asked otherwise, transformers tries to reach the hub for minutes, file by file.
    for is_here in (True, False):
        try:
            processor = AutoProcessor.from_pretrained(name, local_files_only=is_here)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(name, local_files_only=is_here)
            return model.to(device).eval(), processor
        except OSError as error:
            if not is_here or Path(name).is_dir():
                raise OSError(f"model {name!r} could not be loaded: {_first_line(error)}") from None
        except ValueError as error:
            raise ValueError(f"model {name!r} is no zero-shot detector of transformers: {_first_line(error)}") from None
        _ask_hub(name)
    raise AssertionError("the second turn returns or raises")


def _ask_hub(name: str) -> None:
    """Raise ``OSError`` in one line, and at once, unless the hub can be reached and has the model."""
    import huggingface_hub

    try:
        huggingface_hub.model_info(name, timeout=10)
    except Exception as error:  # its own, those of its HTTP library, or ValueError for what cannot be a name
        raise OSError(f"model {name!r} is not here and could not be downloaded: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _cast(inputs: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Pixels in the precision of the model; tokens and masks as they are."""
    return {
        name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in inputs.items()
    }
