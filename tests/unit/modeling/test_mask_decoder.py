"""Shapes, the stability fallback, and the products that stand in for transposed convolutions."""

import pytest
import torch
from torch import Tensor, nn

from sam2.modeling.sam.mask_decoder import MaskDecoder, RawMasks, upscale_2x
from sam2.modeling.sam.transformer import TwoWayTransformer

C, SIDE = 32, 8


def decoder(**options: object) -> MaskDecoder:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=2, embedding_dim=C, num_heads=8, mlp_dim=64)
    return MaskDecoder(transformer_dim=C, transformer=transformer, **options).eval()


def inputs(prompts: int, images: int) -> dict[str, object]:
    g = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return {
        "image_embeddings": noise(images, C, SIDE, SIDE),
        "image_pe": noise(1, C, SIDE, SIDE),
        "sparse_prompt_embeddings": noise(prompts, 3, C),
        "dense_prompt_embeddings": noise(prompts, C, SIDE, SIDE),
        "high_res_features": [noise(images, C // 8, 4 * SIDE, 4 * SIDE), noise(images, C // 4, 2 * SIDE, 2 * SIDE)],
    }


@pytest.mark.parametrize(("multimask", "masks"), [(True, 3), (False, 1)])
def test_official_call(multimask: bool, masks: int) -> None:
    logits, ious, tokens, score = decoder()(**inputs(2, 1), multimask_output=multimask, repeat_image=True)

    assert logits.shape == (2, masks, 4 * SIDE, 4 * SIDE)
    assert ious.shape == (2, masks)
    assert tokens.shape == (2, masks, C)
    assert score.shape == (2, 1)
    assert ((ious > 0) & (ious < 1)).all()


def test_pointers_may_come_from_the_single_token() -> None:
    model = decoder(use_multimask_token_for_obj_ptr=False)

    _, _, tokens, _ = model(**inputs(2, 1), multimask_output=True, repeat_image=True)

    assert tokens.shape == (2, 1, C)


def test_rows_must_fit_unless_the_image_is_repeated() -> None:
    with pytest.raises(ValueError, match="image_embeddings has 1 rows for 2 prompts"):
        decoder()(**inputs(2, 1), multimask_output=True, repeat_image=False)


def test_high_resolution_features_are_required() -> None:
    arguments = {**inputs(1, 1), "high_res_features": None}

    with pytest.raises(ValueError, match="high_res_features is required"):
        decoder()(**arguments, multimask_output=True, repeat_image=False)


def test_sharing_an_image_equals_repeating_it() -> None:
    shared = inputs(3, 1)
    repeated = dict(shared)
    repeated["image_embeddings"] = shared["image_embeddings"].expand(3, -1, -1, -1)
    repeated["high_res_features"] = [level.expand(3, -1, -1, -1) for level in shared["high_res_features"]]

    with torch.no_grad():
        one = decoder()(**shared, multimask_output=True, repeat_image=True)
        three = decoder()(**repeated, multimask_output=True, repeat_image=False)

    for mine, other in zip(one, three, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("options", [{}, {"fusion_layers": 2}, {"smooth_upscaling": True}])
def test_prompts_do_not_see_each_other(options: dict[str, object]) -> None:
    model, both = decoder(**options), inputs(2, 1)
    one = {**both, **{k: both[k][:1] for k in ("sparse_prompt_embeddings", "dense_prompt_embeddings")}}

    with torch.no_grad():
        together = model(**both, multimask_output=True, repeat_image=True)[0][:1]
        alone = model(**one, multimask_output=True, repeat_image=True)[0]

    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_upscaling_equals_a_transposed_convolution() -> None:
    conv = nn.ConvTranspose2d(6, 5, kernel_size=2, stride=2)
    x = torch.randn(2, 6, 3, 4)

    got = upscale_2x(x.permute(0, 2, 3, 1), conv)

    torch.testing.assert_close(got.permute(0, 3, 1, 2), conv(x), atol=1e-5, rtol=1e-5)


def mask_with_margin(inner: int, border: int) -> Tensor:
    """A 10 x 10 mask of ``inner`` clear pixels and ``border`` pixels whose logit is next to 0."""
    flat = torch.full((100,), -5.0)
    flat[:inner] = 5.0
    flat[inner : inner + border] = 0.01
    return flat.view(10, 10)


@pytest.mark.parametrize(
    ("single", "expected"),
    [
        (mask_with_margin(50, 0), 0),  # stability 1
        (mask_with_margin(49, 1), 0),  # 49 / 50 = 0.98: just stable
        (mask_with_margin(48, 2), 3),  # 0.96: the best of the three
        (mask_with_margin(0, 0), 0),  # nothing anywhere: stable by definition
    ],
)
def test_an_unstable_single_mask_gives_way(single: Tensor, expected: int) -> None:
    model = decoder(dynamic_multimask_via_stability=True)
    others = torch.stack([torch.full((10, 10), float(i)) for i in (1, 2, 3)])
    ious = torch.tensor([[0.9, 0.2, 0.3, 0.5]])
    raw = RawMasks(torch.cat((single[None], others))[None], ious, torch.arange(4.0).view(1, 4, 1), torch.zeros(1, 1))

    logits, scores = model.choose(raw, multimask=False, dynamic=True)

    assert torch.equal(logits[:, 0], raw.logits[:, expected])
    assert torch.equal(scores, raw.ious[:, expected : expected + 1])
    # the object pointer is still made of token 0
    assert model.pointer_tokens(raw, multimask=False).item() == 0


def test_the_fallback_acts_in_evaluation_only_and_row_by_row() -> None:
    model = decoder(dynamic_multimask_via_stability=True)
    masks = torch.stack([mask_with_margin(50, 0), mask_with_margin(20, 20)])
    logits = torch.cat((masks[:, None], torch.randn(2, 3, 10, 10)), dim=1)
    ious = torch.tensor([[0.9, 0.2, 0.3, 0.5], [0.9, 0.7, 0.3, 0.5]])
    raw = RawMasks(logits, ious, torch.zeros(2, 4, C), torch.zeros(2, 1))

    chosen, scores = model.choose(raw, multimask=False, dynamic=True)
    plain, _ = model.choose(raw, multimask=False, dynamic=False)

    assert torch.equal(chosen[:, 0], torch.stack((logits[0, 0], logits[1, 1])))
    assert scores.flatten().tolist() == pytest.approx([0.9, 0.7])
    assert torch.equal(plain[:, 0], logits[:, 0])


def test_gradients_reach_every_weight() -> None:
    model = decoder(fusion_layers=1, smooth_upscaling=True)
    arguments = inputs(2, 2)

    outputs = [model(**arguments, multimask_output=m, repeat_image=False) for m in (True, False)]
    sum(x.sum() for output in outputs for x in output).backward()

    unused = {"conv_s0.weight", "conv_s0.bias", "conv_s1.weight", "conv_s1.bias"}  # applied by the image encoding
    assert {name for name, p in model.named_parameters() if p.grad is None} == unused
