"""Prompts drawn as maps: what is where."""

import pytest
import torch
from small_models import small_nano_config

from sam2.modeling.build import build_model
from sam2.modeling.sam.prompt_maps import NUM_MAPS, PromptMapEncoder, draw_prompts
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import PromptBatch

SIZE, IMAGE = (64, 64), 256
FOREGROUND, BACKGROUND, BOX, MASK = slice(0, 2), slice(2, 4), -2, -1


def draw(points: list, labels: list, masks: torch.Tensor | None = None) -> torch.Tensor:
    return draw_prompts(
        torch.tensor(points, dtype=torch.float32).view(1, -1, 2), torch.tensor([labels]), masks, SIZE, IMAGE
    )[0]


def test_a_click_is_a_disk_where_it_was() -> None:
    maps = draw([[99.5, 39.5]], [1])  # x = 100 of 256: column 25, y = 40: row 10, at the edge of both cells

    for disk in maps[FOREGROUND]:
        y, x = divmod(int(disk.argmax()), 64)
        assert (y, x) in {(9, 24), (9, 25), (10, 24), (10, 25)}
    assert maps[FOREGROUND][1].sum() > 10 * maps[FOREGROUND][0].sum()
    assert maps[BACKGROUND].sum() == 0
    assert maps[BOX].sum() == 0


def test_labels_choose_the_map() -> None:
    maps = draw([[50.0, 50.0], [200.0, 200.0], [120.0, 10.0]], [1, 0, -1])

    assert maps[FOREGROUND][0, 12, 12] > 0.5
    assert maps[FOREGROUND][0, 50, 50] < 1e-3
    assert maps[BACKGROUND][0, 50, 50] > 0.5
    assert maps[:, 2, 30].max() < 1e-3  # a padding point leaves no trace


def test_a_box_is_filled() -> None:
    maps = draw([[64.0, 32.0], [128.0, 160.0]], [2, 3])

    assert maps[BOX].sum() == 16 * 32  # 64 x 128 pixels at stride 4
    assert maps[BOX, 8, 16] == 1
    assert maps[BOX, 7, 16] == 0
    assert maps[FOREGROUND].sum() == 0


def test_clicks_beside_a_box() -> None:
    maps = draw([[64.0, 32.0], [128.0, 160.0], [10.0, 10.0]], [2, 3, 0])

    assert maps[BOX].sum() > 0
    assert maps[BACKGROUND].max() > 0.5


def test_masks_are_squashed_and_resized() -> None:
    logits = torch.full((1, 1, 128, 128), 40.0)
    logits[..., 64:] = -40.0

    maps = draw([], [], logits)

    assert maps[MASK, :, :31].min() > 0.99
    assert maps[MASK, :, 33:].max() < -0.99
    assert maps[:-1].sum() == 0


def test_encoder_adds_at_three_strides() -> None:
    dense, (fine, middle) = PromptMapEncoder(32)(torch.zeros(2, NUM_MAPS, *SIZE))

    assert dense.shape == (2, 32, 16, 16)
    assert fine.shape == (2, 4, 64, 64)
    assert middle.shape == (2, 8, 32, 32)


def test_official_call_returns_the_dense_part(small_nano: SAM2Base) -> None:
    """The two-tuple of the official call has no room for the high-resolution hints: ``encode`` returns them too."""
    points, labels = torch.tensor([[[100.0, 40.0]]]), torch.tensor([[1]])
    encoder = small_nano.sam_prompt_encoder
    with torch.no_grad():
        sparse, dense = encoder(points=(points, labels), boxes=None, masks=None)
        encoded = encoder.encode(PromptBatch(points, labels))
        without = encoder.encode(PromptBatch(points, labels), hints=False)

    torch.testing.assert_close(encoded.sparse, sparse)
    torch.testing.assert_close(encoded.dense, dense)
    assert encoded.hints is not None
    assert without.hints is None


def test_a_box_given_as_a_box_is_drawn(small_nano: SAM2Base) -> None:
    encoder = small_nano.sam_prompt_encoder
    corners = (torch.tensor([[[30.0, 40.0], [200.0, 150.0]]]), torch.tensor([[2, 3]]))
    with torch.no_grad():
        _, as_box = encoder(points=None, boxes=corners[0].reshape(1, 4), masks=None)
        _, as_points = encoder(points=corners, boxes=None, masks=None)

    torch.testing.assert_close(as_box, as_points)


def test_hints_change_the_masks(small_nano: SAM2Base, pixels: torch.Tensor) -> None:
    prompts = PromptBatch(torch.tensor([[[100.0, 40.0]]]), torch.tensor([[1]]))
    with torch.no_grad():
        features = small_nano.encode_image(pixels[:1])
        with_hints = small_nano.decode_masks(features.embed, features.high_res, prompts, multimask=True)
        without = small_nano.decode_masks(
            features.embed, features.high_res, prompts, multimask=True, prompt_hints=False
        )

    assert not torch.allclose(with_hints.logits, without.logits)


@pytest.mark.parametrize("option", ["prompt_maps", "fusion_layers", "smooth_upscaling"])
def test_the_options_of_nano_are_off_officially(small_model: SAM2Base, option: str) -> None:
    assert not getattr(small_model.config.decoder, option)
    assert getattr(small_nano_config().decoder, option)


def test_every_weight_of_nano_is_trained(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = build_model(small_nano_config()).train()
    features = model.encode_image(pixels)
    points = torch.tensor([[[100.0, 40.0], [9.0, 9.0]], [[3.0, 3.0], [90.0, 99.0]]])
    prompts = PromptBatch(points, torch.tensor([[1, 0], [2, 3]]), torch.randn(2, 1, 64, 64))

    for multimask in (True, False):
        candidates = model.decode_masks(
            model.condition_on_nothing(features.embed), features.high_res, prompts, multimask=multimask
        )
        loss = candidates.logits.mean() + candidates.ious.sum() + candidates.object_score.sum()
        loss.backward(retain_graph=True)

    trained = ("image_encoder.", "sam_")
    still = [n for n, p in model.named_parameters() if n.startswith(trained) and p.grad is None]
    assert still == ["sam_prompt_encoder.no_mask_embed.weight"]
