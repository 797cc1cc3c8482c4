"""Every call under float32 and bfloat16, with and without an outer autocast, gives float32 logits."""

from contextlib import nullcontext

import pytest
import torch
from small_models import seeded, small_config, small_nano_config, track_two_frames
from torch import Tensor

from sam2.modeling.config import ModelConfig
from sam2.modeling.types import PromptBatch

CONFIGS = [pytest.param(small_config(), id="hiera"), pytest.param(small_nano_config(), id="nano")]
DTYPES = [
    pytest.param(torch.float32, None, id="fp32"),
    pytest.param(torch.float32, torch.bfloat16, id="fp32-autocast-bf16"),
    pytest.param(torch.bfloat16, None, id="bf16"),
    pytest.param(torch.bfloat16, torch.bfloat16, id="bf16-autocast-bf16"),
]


def autocast(dtype: torch.dtype | None) -> torch.autocast | nullcontext:
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("dtype", "outer"), DTYPES)
def test_logits_are_float32(config: ModelConfig, dtype: torch.dtype, outer: torch.dtype | None, pixels: Tensor) -> None:
    model = seeded(config).cast_(dtype)

    with torch.inference_mode(), autocast(outer):
        prompted, tracked = track_two_frames(model, pixels)

    for prediction in (prompted, tracked):
        for name in ("logits", "high_res_logits", "iou", "object_score", "candidates"):
            value = getattr(prediction, name)
            assert value.dtype == torch.float32, name
            assert value.isfinite().all(), name


@pytest.mark.parametrize(("dtype", "outer"), DTYPES)
def test_official_calls_work_in_every_precision(dtype: torch.dtype, outer: torch.dtype | None, pixels: Tensor) -> None:
    """The community's fine-tuning step: prompt encoder and decoder called one by one, with gradients."""
    model = seeded(small_config()).cast_(dtype).train()

    with autocast(outer):
        output = model.forward_image(pixels)
        points, labels = torch.tensor([[[40.0, 60.0]], [[100.0, 90.0]]]), torch.tensor([[1], [1]])
        sparse, dense = model.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
        logits, ious, _, _ = model.sam_mask_decoder(
            image_embeddings=output["vision_features"],
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,
            high_res_features=output["backbone_fpn"][:2],
        )
    (logits.float().mean() + ious.float().mean()).backward()

    assert logits.shape == (2, 3, 64, 64)
    used = ("sam_mask_decoder.transformer", "image_encoder.trunk.patch_embed", "sam_prompt_encoder.not_a_point_embed")
    for name, parameter in model.named_parameters():
        if name.startswith(used):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_autocast_to_float16(pixels: Tensor) -> None:
    model = seeded(small_config())

    with torch.inference_mode(), autocast(torch.float16):
        _, tracked = track_two_frames(model, pixels)

    assert tracked.logits.dtype == torch.float32
    assert tracked.logits.isfinite().all()


@pytest.mark.parametrize("config", CONFIGS)
def test_bfloat16_stays_close(config: ModelConfig, pixels: Tensor) -> None:
    prompts = PromptBatch(torch.tensor([[[40.0, 60.0], [200.0, 220.0]]]), torch.tensor([[2, 3]]))

    def decode(dtype: torch.dtype) -> Tensor:
        model = seeded(config).cast_(dtype)
        with torch.inference_mode():
            features = model.encode_image(pixels[:1])
            embed = model.condition_on_nothing(features.embed)
            return model.decode_masks(embed, features.high_res, prompts, multimask=True).logits

    exact, rounded = decode(torch.float32), decode(torch.bfloat16)

    assert (exact - rounded).abs().mean() < 0.05 * exact.std()


def test_coordinates_keep_their_bits_in_bfloat16() -> None:
    model = seeded(small_config()).cast_(torch.bfloat16)

    assert model.compute_dtype == torch.bfloat16
    assert {p.dtype for p in model.sam_prompt_encoder.parameters()} == {torch.float32}
    assert model.sam_prompt_encoder.get_dense_pe().dtype == torch.float32


def test_casting_back_and_forth(pixels: Tensor) -> None:
    model = seeded(small_config())

    assert model.cast_(torch.bfloat16) is model
    with torch.inference_mode():
        assert model.encode_image(pixels).embed.dtype == torch.bfloat16
    model.cast_(torch.float32)
    with torch.inference_mode():
        assert model.encode_image(pixels).embed.dtype == torch.float32


def test_inference_then_training_in_one_process(pixels: Tensor) -> None:
    """Tables kept from inference mode must not get in the way of a gradient."""
    model = seeded(small_config())
    with torch.inference_mode():
        track_two_frames(model, pixels)

    prompted, tracked = track_two_frames(model.train(), pixels)
    (prompted.candidates.mean() + tracked.candidates.mean() + tracked.pointer.sum()).backward()

    assert model.image_encoder.trunk.pos_embed.grad is not None
    assert model.memory_attention.layers[0].linear1.weight.grad is not None


def test_a_cast_leaves_what_rounds_badly_in_float32() -> None:
    model = seeded(small_nano_config()).cast_(torch.bfloat16)

    trunk = model.image_encoder.trunk
    dtypes = {name: parameter.dtype for name, parameter in trunk.named_parameters()}
    for name, dtype in dtypes.items():
        early = name.startswith(("stem.", "stages.0.", "stages.1."))
        assert dtype == (torch.float32 if early else torch.bfloat16), name
    assert {p.dtype for p in model.sam_prompt_encoder.parameters()} == {torch.float32}
    assert {p.dtype for p in model.sam_mask_decoder.parameters()} == {torch.bfloat16}
    assert model.compute_dtype == torch.bfloat16
