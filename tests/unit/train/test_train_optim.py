"""Groups and rates of the optimizer, what is frozen, schedules, and the average of weights."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from sam2.modeling.build import build_model
from sam2.modeling.config import DecoderConfig, EfficientNetLiteConfig, HieraConfig, MemoryConfig, ModelConfig
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.optim import OptimConfig, WeightAverage, build_optimizer, fitting, freeze, rate_at, set_rates

BLOCKS = 7
TRUNK = HieraConfig(embed_dim=16, stages=(1, 2, 3, 1), global_att_blocks=(5,), window_pos_embed_bkg_spatial_size=(7, 7))


def small(trunk: HieraConfig | EfficientNetLiteConfig) -> SAM2Base:
    """The official structure in a size that a test can hold."""
    memory = MemoryConfig(dim=8, num_layers=2, dim_feedforward=64)
    decoder = DecoderConfig(mlp_dim=64)
    return build_model(
        ModelConfig(name="small", version="custom", trunk=trunk, d_model=32, decoder=decoder, memory=memory)
    )


@pytest.fixture(scope="module")
def hiera() -> SAM2Base:
    return small(TRUNK)


@pytest.fixture
def model() -> SAM2Base:
    return small(TRUNK)


def rates_of(model: nn.Module, config: OptimConfig) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) of every parameter that is trained."""
    optimizer = build_optimizer(model, config)
    parameters = dict(model.named_parameters())
    found = {}
    for group in optimizer.param_groups:
        assert [id(parameters[name]) for name in group["names"]] == [id(value) for value in group["params"]]
        assert group["lr"] == group["base_lr"]
        found.update(dict.fromkeys(group["names"], (group["lr"], group["weight_decay"])))
    return found


def test_the_official_groups(hiera: SAM2Base) -> None:
    rates = rates_of(hiera, OptimConfig())
    assert set(rates) == {name for name, _ in hiera.named_parameters()}
    trunk = "image_encoder.trunk."
    # The last block once, the first BLOCKS times, the patch embedding once more; tables of positions not at all.
    for block in range(BLOCKS):
        expected = 3e-6 * 0.9 ** (BLOCKS - block)
        assert rates[f"{trunk}blocks.{block}.attn.qkv.weight"] == (pytest.approx(expected), 0.1)
        assert rates[f"{trunk}blocks.{block}.attn.qkv.bias"] == (pytest.approx(expected), 0.0)
        assert rates[f"{trunk}blocks.{block}.norm1.weight"] == (pytest.approx(expected), 0.0)
    assert rates[f"{trunk}patch_embed.proj.weight"] == (pytest.approx(3e-6 * 0.9 ** (BLOCKS + 1)), 0.1)
    assert rates[f"{trunk}pos_embed"] == (3e-6, 0.1)
    assert rates[f"{trunk}pos_embed_window"] == (3e-6, 0.1)
    assert rates["image_encoder.neck.convs.0.conv.weight"] == (3e-6, 0.1)
    assert rates["sam_mask_decoder.iou_token.weight"] == (5e-6, 0.1)
    assert rates["memory_attention.norm.weight"] == (5e-6, 0.0)
    # Of norms, torch's own alone do not decay; scales of layers and norms over channels do.
    assert rates["memory_encoder.fuser.layers.0.gamma"] == (5e-6, 0.1)
    assert rates["memory_encoder.fuser.layers.0.norm.weight"] == (5e-6, 0.1)
    assert rates["memory_encoder.fuser.layers.0.norm.bias"] == (5e-6, 0.0)


def test_other_trunks_have_one_rate() -> None:
    rates = rates_of(small(EfficientNetLiteConfig(width=0.5, depth=0.5)), OptimConfig(encoder_rate=2e-5))
    assert {rate for name, (rate, _) in rates.items() if name.startswith("image_encoder.")} == {2e-5}
    assert rates["sam_mask_decoder.iou_token.weight"] == (5e-6, 0.1)


def test_rates_by_name(hiera: SAM2Base) -> None:
    config = OptimConfig(encoder_rate=None, layer_decay=1.0, rates={"memory_*": 1e-3, "memory_attention.norm.*": 2e-3})
    rates = rates_of(hiera, config)
    assert rates["image_encoder.trunk.blocks.0.attn.qkv.weight"][0] == 5e-6
    assert rates["memory_encoder.fuser.layers.0.gamma"][0] == 1e-3
    assert rates["memory_attention.norm.weight"][0] == 2e-3
    with pytest.raises(ValueError, match=r"rates: no parameter is named 'memori_\*'"):
        build_optimizer(hiera, OptimConfig(rates={"memori_*": 1.0}))


def test_what_is_frozen_is_not_in_the_optimizer(model: SAM2Base) -> None:
    config = OptimConfig(frozen=("image_encoder.*", "memory_attention.layers.0.*"))
    freeze(model, config)
    rates = rates_of(model, config)
    assert not any(name.startswith(("image_encoder.", "memory_attention.layers.0.")) for name in rates)
    assert "memory_attention.layers.1.norm1.weight" in rates
    assert not model.image_encoder.trunk.pos_embed.requires_grad
    # What was frozen before stays so.
    freeze(model, OptimConfig())
    assert not model.image_encoder.trunk.pos_embed.requires_grad


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("image_encodr.*", ["image_encoder.*"]),
        ("image_encoder.trunk.block.*", ["image_encoder.trunk.blocks.*"]),
        ("zzz", ["memory_attention.*", "no_mem_embed"]),
    ],
)
def test_a_pattern_that_fits_nothing_names_what_is_like_it(model: SAM2Base, pattern: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"frozen: no parameter is named") as caught:
        freeze(model, OptimConfig(frozen=("sam_*", pattern)))
    for word in (pattern, *words):
        assert word in str(caught.value)
    assert all(value.requires_grad for value in model.parameters()), "an error changes nothing"


def test_something_has_to_be_trained(model: SAM2Base) -> None:
    with pytest.raises(ValueError, match="nothing is left to train"):
        freeze(model, OptimConfig(frozen=("*",)))
    with pytest.raises(ValueError, match="asks for gradients"):
        build_optimizer(model.requires_grad_(False), OptimConfig())


def test_fitting_uses_whole_names() -> None:
    assert fitting(["a.b", "a.c.b", "ab"], "a.*", option="x") == ["a.b", "a.c.b"]


def test_schedules() -> None:
    cosine = OptimConfig()
    assert rate_at(0, 100, cosine) == 1.0
    assert rate_at(50, 100, cosine) == pytest.approx(0.55)
    assert rate_at(25, 100, cosine) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate_at(100, 100, cosine) == pytest.approx(0.1)
    assert rate_at(130, 100, cosine) == pytest.approx(0.1)
    linear = OptimConfig(schedule="linear", final_rate=0.0)
    assert rate_at(25, 100, linear) == pytest.approx(0.75)
    assert rate_at(99, 100, OptimConfig(schedule="constant")) == 1.0


def test_rates_rise_in_the_warm_up() -> None:
    config = OptimConfig(warm_up=0.1, schedule="linear", final_rate=0.0)
    values = [rate_at(step, 100, config) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == pytest.approx(1.0)
    assert all(before < after for before, after in pairwise(values[:10]))
    assert all(before > after for before, after in pairwise(values[10:]))
    assert 0 < rate_at(0, 3, config) <= 1


def test_set_rates_scales_every_group(hiera: SAM2Base) -> None:
    config = OptimConfig()
    optimizer = build_optimizer(hiera, config)
    set_rates(optimizer, 50, 100, config)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.55 * group["base_lr"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"encoder_rate": math.nan}, "encoder_rate"),
        ({"rates": {"a": -2.0}}, "a must"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"schedule": "sine"}, "schedule"),
        ({"final_rate": 2.0}, "final_rate"),
        ({"warm_up": 1.0}, "warm_up"),
        ({"clip": 0.0}, "clip"),
        ({"ema": 1.0}, "ema"),
    ],
)
def test_what_the_optimizer_cannot_do(changes: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        OptimConfig(**changes)


def tiny_model() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].requires_grad_(False)
    return model


def test_the_average_follows_the_weights() -> None:
    model = tiny_model()
    average = WeightAverage(model, 0.5)
    expected = model[0].weight.detach().clone()
    for number in range(1, 30):
        with torch.no_grad():
            model[0].weight.add_(1.0)
        average.update()
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    trained, frozen = model[0].weight.detach().clone(), model[1].weight.detach().clone()
    average.swap()
    torch.testing.assert_close(model[0].weight.detach(), expected)
    # A steady rise by 1 a step leaves an average with decay 1/2 one step behind.
    torch.testing.assert_close(trained - model[0].weight.detach(), torch.ones(2, 2), atol=1e-3, rtol=0)
    assert torch.equal(model[1].weight, frozen)
    average.swap()
    assert torch.equal(model[0].weight, trained)


def test_the_average_is_saved_and_restored(tmp_path: Path) -> None:
    first, second = tiny_model(), tiny_model()
    one, other = WeightAverage(first, 0.9), WeightAverage(second, 0.9)

    def step(model: nn.Module, average: WeightAverage) -> None:
        with torch.no_grad():
            model[0].weight.mul_(1.1)  # type: ignore[index]
        average.update()

    for _ in range(3):
        step(first, one)
    torch.save(one.state_dict(), tmp_path / "average.pt")
    second.load_state_dict(first.state_dict())
    other.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    for model, average in ((first, one), (second, other)):
        step(model, average)
        average.swap()
    assert torch.equal(first[0].weight, second[0].weight)
    with pytest.raises(ValueError, match=r"other parameters: 1\.bias"):
        other.load_state_dict({"updates": 1, "values": dict(tiny_model().named_parameters())})
