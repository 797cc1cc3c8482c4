"""The memory parts against ``transformers``' Sam2VideoModel, verb by verb, on seeded weights and random features.

The recordings of whole videos need a tracker; these comparisons need none. Small images: no weight depends on the
size. Positions and distances are chosen so that every index of every table is read.
"""

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from seeded import seed_weights
from torch import Tensor, nn
from transformers_weights import video_oracle

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import FrameMemory, ImageFeatures, MaskPrediction, MemoryContext, PromptBatch

pytest.importorskip("transformers", reason="the oracle needs the dev extra", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SEED = 3
IMAGE_SIZE = 256
SIDE = IMAGE_SIZE // 16
LAST_SLOT = 6  # of seven time codes: prompted frames
TOLERANCE = {"atol": 1e-3, "rtol": 0.0}


@dataclass
class Pair:
    ours: SAM2Base
    theirs: nn.Module


@pytest.fixture(scope="module", params=["sam2.1_hiera_tiny", "sam2_hiera_tiny"])
def pair(request: pytest.FixtureRequest) -> Pair:
    config = replace(PRESETS[request.param], image_size=IMAGE_SIZE)
    behaviour = with_postprocessing(default_behaviour(config), video=True)
    ours = seed_weights(build_model(config, behaviour), SEED).eval()
    return Pair(ours, video_oracle(config, ours.state_dict()))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def random_features(model: SAM2Base, generator: torch.Generator) -> ImageFeatures:
    def noise(channels: int, factor: int) -> Tensor:
        return torch.randn(1, channels, factor * SIDE, factor * SIDE, generator=generator)

    position = model.image_encoder.neck.position_encoding.table(SIDE, SIDE, torch.device("cpu"))
    return ImageFeatures(noise(256, 1), (noise(32, 4), noise(64, 2)), position)


def tokens_first(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [H * W, B, C], the layout of ``transformers``."""
    return x.flatten(2).permute(2, 0, 1)


def random_context(generator: torch.Generator, objects: int, slots: tuple[int, ...], pointers: int) -> MemoryContext:
    memories = torch.randn(objects, len(slots), 64, SIDE, SIDE, generator=generator).bfloat16()
    distances = torch.arange(pointers).flip(0).float().expand(objects, -1)
    return MemoryContext(
        memories, slots, torch.randn(objects, pointers, 256, generator=generator), distances, max_pointers=16
    )


def fuse_theirs(theirs: nn.Module, features: ImageFeatures, context: MemoryContext) -> Tensor:
    """What their tracker does between gathering past frames and decoding, for all objects at once."""
    n = len(context.features)
    place = tokens_first(theirs.memory_encoder.position_encoding((n, 64, SIDE, SIDE), "cpu", torch.float32))
    past = [
        # their offset counts frames back, 0 for a prompted frame; ours is the index into the table
        (0 if slot == LAST_SLOT else slot + 1, {"maskmem_features": tokens_first(memory), "maskmem_pos_enc": place})
        for slot, memory in zip(context.time_slots, context.features.unbind(1), strict=True)
    ]
    memory, position = theirs._build_memory_attention_inputs(past, torch.device("cpu"))
    distances = [int(d) for d in context.pointer_distances[0]]
    pointers, pointer_position = theirs._process_object_pointers(
        distances, list(context.pointers.unbind(1)), context.max_pointers, n, 256, torch.device("cpu")
    )
    if pointers is not None:
        memory.append(pointers)
        position.append(pointer_position)
    conditioned = theirs.memory_attention(
        current_vision_features=tokens_first(features.embed.expand(n, -1, -1, -1)),
        current_vision_position_embeddings=tokens_first(features.position.expand(n, -1, -1, -1)),
        memory=torch.cat([m.float() for m in memory]),
        memory_posision_embeddings=torch.cat(position),
        num_object_pointer_tokens=0 if pointers is None else len(pointers),
    )
    return conditioned.reshape(SIDE * SIDE, n, 256).permute(1, 2, 0).unflatten(2, (SIDE, SIDE))


@pytest.mark.parametrize(
    ("objects", "slots", "pointers"),
    [(1, (6,), 1), (2, (6, 6, 5, 4, 3, 2, 1, 0), 16), (3, (6, 0), 0), (1, (6, 2, 0), 5)],
)
def test_fuse_memory(
    pair: Pair, generator: torch.Generator, objects: int, slots: tuple[int, ...], pointers: int
) -> None:
    features = random_features(pair.ours, generator)
    context = random_context(generator, objects, slots, pointers)

    with torch.no_grad():
        ours = pair.ours.fuse_memory(features, context)
        theirs = torch.cat(
            [fuse_theirs(pair.theirs, features, _one(context, i)) for i in range(objects)]
            if objects > 1
            else [fuse_theirs(pair.theirs, features, context)]
        )

    torch.testing.assert_close(ours, theirs, **TOLERANCE)


def _one(context: MemoryContext, i: int) -> MemoryContext:
    rows = slice(i, i + 1)
    return replace(
        context,
        features=context.features[rows],
        pointers=context.pointers[rows],
        pointer_distances=context.pointer_distances[rows],
    )


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("object_score", [4.0, -4.0])
def test_encode_memory(pair: Pair, generator: torch.Generator, prompted: bool, object_score: float) -> None:
    features = random_features(pair.ours, generator)
    logits = 6 * torch.randn(1, 1, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    score = torch.tensor([[object_score]])
    low, blank = logits[:, :, ::4, ::4], torch.zeros(1, 1)
    prediction = MaskPrediction(low, logits, blank, torch.zeros(1, 256), score, low, blank)

    with torch.no_grad():
        ours = pair.ours.encode_memory(features, prediction, prompted=prompted, dtype=torch.float32)
        stored = pair.ours.encode_memory(features, prediction, prompted=prompted)
        theirs, _ = pair.theirs._encode_new_memory(tokens_first(features.embed), logits, score[None], prompted)

    theirs = theirs.permute(1, 2, 0).unflatten(2, (SIDE, SIDE))
    assert stored.features.dtype == theirs.dtype == torch.bfloat16
    # theirs is rounded to bfloat16: compared where ours is rounded too, and bounded by the rounding where it is not
    torch.testing.assert_close(stored.features.float(), theirs.float(), atol=1e-3, rtol=2**-7)
    torch.testing.assert_close(ours.features, theirs.float(), atol=1e-3, rtol=2**-7)


def single_frame_theirs(pair: Pair, features: ImageFeatures, multimask: bool, **prompts: Tensor) -> object:
    embed = pair.ours.condition_on_nothing(features.embed)
    return pair.theirs._single_frame_forward(
        image_embeddings=[*features.high_res, embed], multimask_output=multimask, **prompts
    )


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_select_mask(pair: Pair, multimask: bool, seed: int) -> None:
    features = random_features(pair.ours, torch.Generator().manual_seed(seed))
    points, labels = torch.tensor([[[100.0, 80.0], [30.0, 200.0]]]), torch.tensor([[1, 0]])

    with torch.no_grad():
        embed = pair.ours.condition_on_nothing(features.embed)
        candidates = pair.ours.decode_masks(embed, features.high_res, PromptBatch(points, labels), multimask=multimask)
        ours = pair.ours.select_mask(candidates)
        theirs = single_frame_theirs(pair, features, multimask, input_points=points[None], input_labels=labels[None])

    torch.testing.assert_close(ours.logits, theirs.pred_masks, **TOLERANCE)
    torch.testing.assert_close(ours.pointer, theirs.object_pointer[0], **TOLERANCE)
    torch.testing.assert_close(ours.object_score, theirs.object_score_logits[0], **TOLERANCE)
    torch.testing.assert_close(ours.high_res_logits, theirs.high_res_masks, **TOLERANCE)


@pytest.mark.parametrize("empty", [False, True])
def test_mask_as_prediction(
    pair: Pair, generator: torch.Generator, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # theirs makes the pointer of a mask prompt from the best of three candidates, the official code from the single one
    single = partial(pair.theirs._single_frame_forward, multimask_output=False)
    monkeypatch.setattr(pair.theirs, "_single_frame_forward", single)
    features = random_features(pair.ours, generator)
    y, x = torch.meshgrid(torch.arange(IMAGE_SIZE), torch.arange(IMAGE_SIZE), indexing="ij")
    mask = (((x - 90) ** 2 + (y - 150) ** 2) < 50**2).float()[None, None] * (0.0 if empty else 1.0)

    with torch.no_grad():
        ours = pair.ours.mask_as_prediction(features, mask)
        theirs = pair.theirs._use_mask_as_output(features.embed, list(features.high_res), mask)

    torch.testing.assert_close(ours.logits, theirs.pred_masks, **TOLERANCE)
    torch.testing.assert_close(ours.high_res_logits, theirs.high_res_masks, **TOLERANCE)
    torch.testing.assert_close(ours.pointer, theirs.object_pointer[0], **TOLERANCE)
    torch.testing.assert_close(ours.object_score, theirs.object_score_logits[0], **TOLERANCE)
    assert isinstance(pair.ours.encode_memory(features, ours, prompted=True), FrameMemory)
