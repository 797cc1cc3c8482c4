"""Is this file the checkpoint that it says it is, and does it compute what it should? Behind ``sam2 models verify``."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from sam2.loading.download import file_sha256
from sam2.loading.registry import CHECKPOINTS, Checkpoint
from sam2.loading.weights import load_strict, read_checkpoint, recognise
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures, PromptBatch
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD

PHOTO_SHA256 = "941715e721c8864324a1425b445ea4dde0498b995c45ddce0141a58971c6ff99"
"""truck.jpg of the SAM 2 notebooks, 1800 x 1200."""

PUBLISHED_FOR = "sam2.1_hiera_tiny"
_IOU_TOLERANCE = 0.01
_LOGIT_TOLERANCE = (0.3, 0.02)  # absolute and relative: processors and versions of the resizer differ by a tenth


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: the subject, in a word or two.
        passed: None if it could not be checked.
        detail: what was found.
    """

    what: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A prompt on the truck and what transformers' integration tests (tests/models/sam2, Apache-2.0) say it gives.

    ``points`` are (x, y) in pixels of the photo, a box is its two corners with labels 2 and 3; ``logits`` is the upper
    left corner of the low-resolution mask of the highest IoU.
    """

    what: str
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    multimask: bool
    ious: tuple[float, ...]
    logits: tuple[tuple[float, ...], ...]


_POINT = ((500.0, 375.0),)
_CASES = (
    _Case(
        "one point, three masks",
        _POINT,
        (1,),
        True,
        (0.9547, 0.4932, 0.0427),
        ((-24.9288, -41.7466, -31.0128), (-34.5113, -31.1054, -36.5913), (-25.2597, -37.5912, -33.4030)),
    ),
    _Case(
        "one point, one mask",
        _POINT,
        (1,),
        False,
        (0.9364,),
        ((-7.0462, -13.3857, -9.6419), (-10.4565, -9.7174, -12.3528), (-7.3704, -12.4391, -10.5539)),
    ),
    _Case(
        "box of the truck",
        ((75.0, 275.0), (1725.0, 850.0)),
        (2, 3),
        False,
        (0.9904,),
        ((-11.1540, -18.3994), (-12.4230, -17.4403)),
    ),
    _Case(
        "box of a wheel",
        ((425.0, 600.0), (700.0, 875.0)),
        (2, 3),
        False,
        (0.9689,),
        ((-19.3144, -29.3947), (-24.6341, -24.1144)),
    ),
)


def verify_checkpoint(path: str | os.PathLike[str], image: str | os.PathLike[str] | None = None) -> list[Check]:
    """Look at a checkpoint file from its bytes to its logits.

    Args:
        path: a ``.pt`` or ``.safetensors`` file.
        image: truck.jpg of the SAM 2 notebooks. With it, a SAM 2.1 tiny is run and its logits are compared with those
            that the tests of transformers publish; for other models nothing is published.

    Raises:
        FileNotFoundError: no such file.
        ValueError: ``path`` is not a checkpoint, or ``image`` is not the photo that the numbers belong to.
    """
    path = Path(path).expanduser()
    state_dict = read_checkpoint(path)
    config = recognise(state_dict, source=str(path))
    checks = [_check_file(path), Check("model", True, config.name)]
    model = build_model(config, with_postprocessing(default_behaviour(config), video=False)).eval()
    try:
        load_strict(model, state_dict, source=path.name)
    except ValueError as error:
        return [*checks, Check("weights", False, str(error))]
    bad = [name for name, value in state_dict.items() if not bool(torch.isfinite(value.float()).all())]
    finite = f"{len(bad)} tensors hold NaN or infinity: {', '.join(bad[:3])}" if bad else "every name and shape fits"
    checks.append(Check("weights", not bad, finite))
    return [*checks, *_check_logits(model, image)]


def _check_file(path: Path) -> Check:
    digest, size = file_sha256(path), path.stat().st_size
    for entry in CHECKPOINTS.values():
        if digest == entry.sha256:
            return Check("file", True, f"byte for byte {entry.filename}")
    if (claimed := _claimed(path, size)) is not None:
        return Check("file", False, f"looks like {claimed.filename} but its SHA-256 is {digest}")
    return Check("file", None, f"none of the known checkpoints (SHA-256 {digest[:16]}...): its origin is not checked")


def _claimed(path: Path, size: int) -> Checkpoint | None:
    return next((c for c in CHECKPOINTS.values() if c.url and (c.filename == path.name or c.size == size)), None)


def _check_logits(model: SAM2Base, image: str | os.PathLike[str] | None) -> list[Check]:
    if model.config.name != PRESETS[PUBLISHED_FOR].name:
        return [Check("logits", None, f"reference logits are published for {PUBLISHED_FOR} only")]
    if image is None:
        return [Check("logits", None, "pass --image truck.jpg (of the SAM 2 notebooks) to compare them")]
    pixels, size = read_photo(Path(image).expanduser())
    with torch.inference_mode():
        features = model.encode_image(pixels)
        return [_run_case(model, features, case, size) for case in _CASES]


def read_photo(path: Path) -> tuple[Tensor, tuple[int, int]]:
    """The truck as transformers prepares it: resized in uint8, then normalised; and its (width, height)."""
    if not path.is_file():
        raise FileNotFoundError(f"no image {path}")
    if file_sha256(path) != PHOTO_SHA256:
        raise ValueError(f"{path} is not truck.jpg of the SAM 2 notebooks, which the published logits belong to")
    try:
        photo = Image.open(path).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image") from error
    return prepare_photo(photo), photo.size


def prepare_photo(photo: Image.Image) -> Tensor:
    """[1, 3, 1024, 1024] float32, normalised."""
    raw = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    resized = F.interpolate(raw, (1024, 1024), mode="bilinear", antialias=True, align_corners=False)
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (resized.float() / 255 - mean) / std


def _run_case(model: SAM2Base, features: ImageFeatures, case: _Case, size: tuple[int, int]) -> Check:
    scale = model.image_size / torch.tensor(size, dtype=torch.float32)
    prompts = PromptBatch((torch.tensor(case.points) * scale)[None], torch.tensor([case.labels], dtype=torch.int32))
    embed = model.condition_on_nothing(features.embed)
    found = model.decode_masks(embed, features.high_res, prompts, multimask=case.multimask)
    order = found.ious[0].argsort(descending=True)
    expected = torch.tensor(case.logits)
    logits = found.logits[0, order[0], : expected.shape[0], : expected.shape[1]].float()
    iou_gap = float((found.ious[0][order] - torch.tensor(case.ious)).abs().max())
    logit_gap = (logits - expected).abs()
    absolute, relative = _LOGIT_TOLERANCE
    passed = iou_gap <= _IOU_TOLERANCE and bool((logit_gap <= absolute + relative * expected.abs()).all())
    detail = f"{case.what}: logits within {float(logit_gap.max()):.3f}, IoU within {iou_gap:.4f} of the published ones"
    return Check("logits", passed, detail)
