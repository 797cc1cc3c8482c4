"""``transformers`` has a SAM 2 of its own: with the same weights it must give the same numbers (to 1e-3).

Weights are seeded, pictures synthetic: no download. The memory parts have no recording yet (those are of whole
videos), so they are compared module by module here.
"""

from dataclasses import dataclass

import pytest
import torch
from seeded import seed_weights, synthetic_clip
from torch import Tensor, nn
from transformers_weights import image_oracle

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures, PromptBatch

pytest.importorskip("transformers", reason="the oracle needs the dev extra", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SEED = 11
TOLERANCE = 1e-3


def seeded_model(name: str) -> SAM2Base:
    """A preset with seeded weights, behaving as ``build_sam2`` makes it."""
    config = PRESETS[name]
    behaviour = with_postprocessing(default_behaviour(config), video=False)
    return seed_weights(build_model(config, behaviour), SEED).eval()


def pixels_of(image_size: int) -> Tensor:
    frame = torch.from_numpy(synthetic_clip(SEED, 1, image_size, image_size)[0]).permute(2, 0, 1)[None]
    return frame.float() / 127.5 - 1


@dataclass
class Pair:
    """Our model and theirs, and what both made of the same picture."""

    ours: SAM2Base
    theirs: nn.Module
    features: ImageFeatures
    embeddings: list[Tensor]

    def decode(self, prompts: PromptBatch, *, multimask: bool) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            embed = self.ours.condition_on_nothing(self.features.embed)
            candidates = self.ours.decode_masks(embed, self.features.high_res, prompts, multimask=multimask)
        return candidates.logits, candidates.ious, candidates.object_score

    def decode_theirs(self, multimask: bool, **prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            result = self.theirs(image_embeddings=self.embeddings, multimask_output=multimask, **prompts)
        return result.pred_masks[0], result.iou_scores[0], result.object_score_logits[0]


@pytest.fixture(
    scope="module",
    params=[
        "sam2.1_hiera_tiny",
        pytest.param("sam2_hiera_base_plus", marks=pytest.mark.slow),
        pytest.param("sam2.1_hiera_large", marks=pytest.mark.slow),
    ],
)
def pair(request: pytest.FixtureRequest) -> Pair:
    ours = seeded_model(request.param)
    theirs = image_oracle(ours.config, ours.state_dict())
    pixels = pixels_of(ours.image_size)
    with torch.no_grad():
        return Pair(ours, theirs, ours.encode_image(pixels), theirs.get_image_embeddings(pixels))


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=TOLERANCE, rtol=0)


def test_image_features(pair: Pair) -> None:
    ours = (*pair.features.high_res, pair.ours.condition_on_nothing(pair.features.embed))

    assert_same(ours, tuple(pair.embeddings))


@pytest.mark.parametrize("multimask", [True, False])
def test_points(pair: Pair, multimask: bool) -> None:
    points = torch.tensor([[[400.0, 300.0], [520.0, 610.0]], [[80.0, 900.0], [700.5, 20.25]]])
    labels = torch.tensor([[1, 0], [1, 1]])

    ours = pair.decode(PromptBatch(points, labels), multimask=multimask)
    theirs = pair.decode_theirs(multimask, input_points=points[None], input_labels=labels[None])

    assert_same(ours, theirs)


@pytest.mark.parametrize("multimask", [True, False])
def test_boxes(pair: Pair, multimask: bool) -> None:
    boxes = torch.tensor([[100.0, 60.0, 420.0, 380.0], [500.0, 450.0, 1000.0, 900.0], [0.0, 0.0, 1024.0, 1024.0]])
    corners = PromptBatch(boxes.view(-1, 2, 2), torch.tensor([[2, 3]] * len(boxes)))

    ours = pair.decode(corners, multimask=multimask)
    theirs = pair.decode_theirs(multimask, input_boxes=boxes[None])

    assert_same(ours, theirs)


def test_mask_with_a_point(pair: Pair) -> None:
    points, labels = torch.tensor([[[400.0, 300.0]]]), torch.tensor([[1]])
    logits, _, _ = pair.decode(PromptBatch(points, labels), multimask=True)
    previous = logits[:, :1].clamp(-32, 32)

    ours = pair.decode(PromptBatch(points, labels, previous), multimask=False)
    theirs = pair.decode_theirs(False, input_points=points[None], input_labels=labels[None], input_masks=previous)

    assert_same(ours, theirs)
