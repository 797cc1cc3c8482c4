"""The five verbs, one after another, and what they promise about shapes, sizes and repeatability."""

from dataclasses import replace

import pytest
import torch
from small_models import clicks, seeded, small_config, small_nano_config, track_two_frames
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sam2.modeling import position_encoding
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, Behaviour, ModelConfig
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base, suppress_overlaps
from sam2.modeling.types import FrameMemory, MaskCandidates, PromptBatch

CONFIGS = [pytest.param(small_config(), id="hiera"), pytest.param(small_nano_config(), id="nano")]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_five_verbs(config: ModelConfig, pixels: Tensor) -> None:
    with torch.no_grad():
        prompted, tracked = track_two_frames(seeded(config), pixels)

    for prediction in (prompted, tracked):
        assert prediction.logits.shape == (3, 1, 64, 64)
        assert prediction.high_res_logits.shape == (3, 1, 256, 256)
        assert prediction.pointer.shape == (3, 32)
        assert prediction.logits.isfinite().all()
    assert tracked.candidates.shape == (3, 3, 64, 64)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [256, 320, 352])
def test_any_multiple_of_32(config: ModelConfig, size: int) -> None:
    model = seeded(replace(config, image_size=size))
    with torch.no_grad():
        features = model.encode_image(torch.randn(1, 3, size, size))
        _, tracked = track_two_frames(model, torch.randn(2, 3, size, size), objects=1)

    assert features.embed.shape == (1, 32, size // 16, size // 16)
    assert [tuple(level.shape[1:]) for level in features.high_res] == [
        (4, size // 4, size // 4),
        (8, size // 8, size // 8),
    ]
    assert features.position.shape == features.embed.shape
    assert tracked.logits.shape == (1, 1, size // 4, size // 4)
    assert model.low_res_size == size // 4


@pytest.mark.parametrize("name", PRESETS)
def test_official_sizes_fit_together(name: str) -> None:
    """Every preset at its own size, on the meta device: shapes without arithmetic."""
    with torch.device("meta"), torch.no_grad():
        model = build_model(PRESETS[name]).eval()
        size, c = model.image_size, model.hidden_dim
        features = model.encode_image(torch.empty(1, 3, size, size))
        points, labels = torch.zeros(2, 1, 2), torch.ones(2, 1, dtype=torch.int32)
        candidates = model.decode_masks(features.embed, features.high_res, PromptBatch(points, labels), multimask=True)

    assert features.embed.shape == (1, c, size // 16, size // 16)
    assert candidates.logits.shape == (2, 3, size // 4, size // 4)


@pytest.mark.parametrize("shape", [(3, 256, 256), (1, 1, 256, 256), (1, 3, 256, 320), (1, 3, 250, 250)])
def test_wrong_pixels_are_refused(small_model: SAM2Base, shape: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, TypeError)):
        small_model.encode_image(torch.zeros(shape))


def test_sizes_are_changed_in_place(pixels: Tensor) -> None:
    model = seeded(small_config())
    before = {name: value.shape for name, value in model.state_dict().items()}

    model.set_image_size(320)

    assert model.image_size == 320
    assert model.low_res_size == 80
    assert before == {name: value.shape for name, value in model.state_dict().items()}
    with torch.no_grad():
        _, tracked = track_two_frames(model, torch.randn(2, 3, 320, 320))
    assert tracked.logits.shape[-1] == 80
    with pytest.raises(ValueError, match=r"multiple of 32 in 256\.\.2048, got 300"):
        model.set_image_size(300)
    assert model.image_size == 320


@pytest.mark.parametrize("config", CONFIGS)
def test_a_seed_gives_the_same_numbers(config: ModelConfig, pixels: Tensor) -> None:
    with torch.no_grad():
        one = track_two_frames(seeded(config), pixels)[1]
        two = track_two_frames(seeded(config), pixels)[1]

    assert torch.equal(one.logits, two.logits)
    assert torch.equal(one.pointer, two.pointer)


def test_objects_do_not_see_each_other(small_model: SAM2Base, pixels: Tensor) -> None:
    with torch.no_grad():
        features = small_model.encode_image(pixels[:1])
        all_three = small_model.decode_masks(features.embed, features.high_res, clicks(3), multimask=True)
        prompts = clicks(3)
        assert prompts.points is not None
        assert prompts.labels is not None
        alone = small_model.decode_masks(
            features.embed, features.high_res, PromptBatch(prompts.points[1:2], prompts.labels[1:2]), multimask=True
        )

    torch.testing.assert_close(alone.logits, all_three.logits[1:2], atol=1e-3, rtol=1e-3)


def test_padding_is_not_neutral(small_model: SAM2Base, pixels: Tensor) -> None:
    """Label -1 is a token like any other: objects are batched with others of as many points, never padded."""
    with torch.no_grad():
        features = small_model.encode_image(pixels[:1])
        plain = PromptBatch(torch.tensor([[[40.0, 60.0]]]), torch.tensor([[1]]))
        padded = PromptBatch(torch.tensor([[[40.0, 60.0], [0.0, 0.0]]]), torch.tensor([[1, -1]]))
        one = small_model.decode_masks(features.embed, features.high_res, plain, multimask=True)
        two = small_model.decode_masks(features.embed, features.high_res, padded, multimask=True)

    assert not torch.allclose(one.logits, two.logits, atol=1e-5)


def test_masks_of_another_size_are_resized(small_model: SAM2Base, pixels: Tensor) -> None:
    with torch.no_grad():
        features = small_model.encode_image(pixels[:1])
        large = PromptBatch(masks=torch.full((1, 1, 256, 256), 3.0))
        fitting = PromptBatch(masks=torch.full((1, 1, 64, 64), 3.0))
        one = small_model.decode_masks(features.embed, features.high_res, large, multimask=True)
        two = small_model.decode_masks(features.embed, features.high_res, fitting, multimask=True)

    torch.testing.assert_close(one.logits, two.logits)


def candidates(scores: list[float], ious: list[list[float]]) -> MaskCandidates:
    n, m = len(scores), len(ious[0])
    logits = torch.arange(float(n * m)).view(n, m, 1, 1).expand(n, m, 64, 64)
    tokens = torch.randn(n, m, 32, generator=torch.Generator().manual_seed(0))
    return MaskCandidates(logits, torch.tensor(ious), tokens, torch.tensor(scores)[:, None])


def test_the_best_candidate_of_a_present_object_is_chosen(small_model: SAM2Base) -> None:
    with torch.no_grad():
        prediction = small_model.select_mask(candidates([1.0, -1.0], [[0.1, 0.9, 0.3], [0.5, 0.2, 0.1]]))

    assert prediction.logits[:, 0, 0, 0].tolist() == [1.0, NO_OBJ_SCORE]
    assert prediction.iou.flatten().tolist() == pytest.approx([0.9, 0.5])
    torch.testing.assert_close(prediction.pointer[1:], small_model.no_obj_ptr)
    assert (prediction.candidates[1] == NO_OBJ_SCORE).all()


def test_pointers_may_be_gated_softly() -> None:
    model = seeded(small_config(), behaviour=Behaviour(soft_no_obj_ptr=True))
    maybe = candidates([0.0], [[0.5, 0.4, 0.3]])
    with torch.no_grad():
        own = model.obj_ptr_proj(maybe.tokens[:, 0])
        pointer = model.select_mask(maybe).pointer

    torch.testing.assert_close(pointer, 0.5 * own + 0.5 * model.no_obj_ptr)


def test_a_given_mask_is_the_prediction(small_model: SAM2Base, pixels: Tensor) -> None:
    masks = torch.zeros(2, 1, 256, 256)
    masks[0, :, 64:128, 64:128] = 1.0
    with torch.no_grad():
        prediction = small_model.mask_as_prediction(small_model.encode_image(pixels[:1]), masks)

    assert torch.equal(prediction.high_res_logits > 0, masks > 0.5)
    assert prediction.high_res_logits.unique().tolist() == [-10.0, 10.0]
    assert prediction.object_score.flatten().tolist() == [10.0, -10.0]
    torch.testing.assert_close(prediction.pointer[1:], small_model.no_obj_ptr)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_memory_is_stored_in_bfloat16_unless_told(small_model: SAM2Base, pixels: Tensor, dtype: torch.dtype) -> None:
    with torch.no_grad():
        features = small_model.encode_image(pixels[:1])
        prediction = small_model.mask_as_prediction(features, torch.zeros(2, 1, 256, 256))
        default = small_model.encode_memory(features, prediction, prompted=True)
        memory = small_model.encode_memory(features, prediction, prompted=True, dtype=dtype)

    assert isinstance(memory, FrameMemory)
    assert default.features.dtype == torch.bfloat16
    assert memory.features.dtype == dtype
    assert memory.features.shape == (2, 8, 16, 16)


def test_prompted_masks_are_binarised_where_the_behaviour_says_so(pixels: Tensor) -> None:
    hard = seeded(small_config(), behaviour=Behaviour(binarize_mask_from_pts_for_mem_enc=True))
    weak = torch.full((1, 1, 256, 256), 0.1)
    with torch.no_grad():
        features = hard.encode_image(pixels[:1])
        blank = hard.mask_as_prediction(features, torch.ones(1, 1, 256, 256))
        faint = replace(blank, high_res_logits=weak)
        clear = replace(blank, high_res_logits=100 * weak)
        memories = {
            (name, prompted): hard.encode_memory(features, p, prompted=prompted, dtype=torch.float32).features
            for name, p in (("faint", faint), ("clear", clear))
            for prompted in (True, False)
        }

    torch.testing.assert_close(memories["faint", True], memories["clear", True])
    assert not torch.allclose(memories["faint", False], memories["clear", False])


def test_overlaps_are_left_to_the_strongest() -> None:
    logits = torch.tensor([[3.0, -20.0, 1.0], [2.0, -4.0, 5.0]]).view(2, 1, 1, 3)

    assert suppress_overlaps(logits).flatten(1).tolist() == [[3.0, -20.0, -10.0], [-10.0, -4.0, 5.0]]
    assert suppress_overlaps(logits[:1]) is logits[:1] or torch.equal(suppress_overlaps(logits[:1]), logits[:1])


def test_official_adaptors(small_model: SAM2Base, pixels: Tensor) -> None:
    with torch.no_grad():
        output = small_model.forward_image(pixels)
        features = small_model.encode_image(pixels)
        _, maps, codes, sizes = small_model._prepare_backbone_features(output)

    assert sizes == [(64, 64), (32, 32), (16, 16)]
    assert maps[-1].shape == (256, 2, 32)
    assert codes[-1].shape == (256, 2, 32)
    torch.testing.assert_close(output["vision_features"], features.embed)
    torch.testing.assert_close(output["backbone_fpn"][0], features.high_res[0])
    torch.testing.assert_close(maps[-1].permute(1, 2, 0).view_as(features.embed), features.embed)


def test_there_is_no_single_forward(small_model: SAM2Base) -> None:
    with pytest.raises(NotImplementedError, match="verbs"):
        small_model(torch.zeros(1, 3, 256, 256))


def test_tables_are_not_computed_per_frame(pixels: Tensor) -> None:
    model = seeded(small_config())
    with torch.no_grad():
        track_two_frames(model, pixels)
        tables = (position_encoding.sine_table, position_encoding.rotary_table)
        misses = [table.cache_info().misses for table in tables]
        trunk = model.image_encoder.trunk._position_table((64, 64))
        grid = model.sam_prompt_encoder.get_dense_pe()

        track_two_frames(model, pixels)

        assert [table.cache_info().misses for table in tables] == misses
        assert model.image_encoder.trunk._position_table((64, 64)) is trunk
        assert model.sam_prompt_encoder.get_dense_pe() is grid


class ComplexFinder(TorchDispatchMode):
    """Notes every operation whose result is complex."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(isinstance(x, Tensor) and x.is_complex() for x in (result if isinstance(result, tuple) else (result,))):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_is_complex(config: ModelConfig, pixels: Tensor) -> None:
    position_encoding.rotary_table.cache_clear()
    model = seeded(config)

    with torch.no_grad(), ComplexFinder() as finder:
        track_two_frames(model, pixels)

    assert finder.found == []
    assert not any(value.is_complex() for value in model.state_dict().values())


@pytest.mark.parametrize("second_look", [False, True])
def test_a_second_look_has_the_first_mask_in_hand(pixels: Tensor, second_look: bool) -> None:
    model = seeded(small_nano_config())
    model.behaviour = replace(model.behaviour, second_look=second_look)
    points, labels = torch.tensor([[[20.0, 30.0], [200.0, 220.0]]]), torch.tensor([[2, 3]], dtype=torch.int32)
    box = PromptBatch(points, labels)
    with torch.no_grad():
        features = model.encode_image(pixels[:1])
        maps = (features.embed, features.high_res)
        once = model.decode_masks(*maps, box, multimask=False)
        twice = model.decode_masks(*maps, replace(box, masks=once.logits.clamp(-32, 32)), multimask=False)
        found = model.answer_prompts(*maps, box, multimask=False)
        several = model.answer_prompts(*maps, box, multimask=True)
        corrected = model.answer_prompts(*maps, replace(box, masks=once.logits), multimask=False)

    assert not once.logits.equal(twice.logits)
    assert found.logits.equal(twice.logits if second_look else once.logits)
    assert several.logits.equal(model.decode_masks(*maps, box, multimask=True).logits.detach())
    assert corrected.logits.equal(model.decode_masks(*maps, replace(box, masks=once.logits), multimask=False).logits)
