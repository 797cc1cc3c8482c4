"""Adapters: few, zero at first, and gone without a trace once merged."""

import copy
from dataclasses import replace

import pytest
import torch
from moving_discs import CONFIGS, model, sample
from torch import nn

from sam2.loading.locate import find_config
from sam2.loading.official_yaml import parse_official
from sam2.modeling.build import build_model
from sam2.modeling.types import MemoryContext, PromptBatch
from sam2.train.data.clip import collate
from sam2.train.lora import LoraConfig, add_lora, lora_parameters, merge_lora, merged_state_dict
from sam2.train.losses import LossConfig
from sam2.train.objective import Objective
from sam2.train.optim import OptimConfig, WeightAverage, build_optimizer
from sam2.train.prompts import PromptConfig

SMALL = LoraConfig(rank=2, alpha=4)
PRESETS = ("nano", "sam2.1_hiera_tiny", "sam2.1_hiera_small", "sam2.1_hiera_base_plus", "sam2.1_hiera_large")


@torch.no_grad()
def see(net):
    """What every verb says of two frames: prompted, remembered, tracked."""
    training = net.training
    net.eval()
    pixels = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    prompts = PromptBatch(torch.tensor([[[90.0, 120.0]]]), torch.tensor([[1]]))
    features = net.encode_image(pixels)
    first, second = features[:1], features[1:]
    embed = net.condition_on_nothing(first.embed)
    shown = net.decode_masks(embed, first.high_res, prompts, multimask=True)
    memory = net.encode_memory(first, net.select_mask(shown), prompted=True, dtype=torch.float32)
    context = MemoryContext(memory.features[:, None], (6,), memory.pointer[:, None], torch.ones(1, 1), 16)
    fused = net.fuse_memory(second, context)
    tracked = net.decode_masks(fused, second.high_res, PromptBatch.empty(1), multimask=True)
    net.train(training)
    return torch.stack([shown.logits[0, 0], tracked.logits[0, 0]])


def learn(net, scale=0.3):
    """As if the adapters had been trained."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, parameter in lora_parameters(net):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def objective(net):
    prompts = PromptConfig(corrections=1, point_share=1.0, init_frames=1)
    return Objective(net, prompts=prompts, loss=LossConfig(gated=False))


@pytest.mark.parametrize("name", PRESETS)
def test_at_most_two_percent_are_trained(name):
    official = parse_official(find_config(name))
    with torch.device("meta"):
        net = build_model(official.config, official.behaviour)
    whole = sum(p.numel() for p in net.parameters())

    add_lora(net, LoraConfig())

    trained = {name: p.numel() for name, p in net.named_parameters() if p.requires_grad}
    assert trained.keys() == {name for name, _ in lora_parameters(net)}
    assert 0.005 * whole < sum(trained.values()) <= 0.02 * whole
    parts = {name.split(".")[0] for name in trained}
    assert parts == {"image_encoder", "memory_attention", "sam_mask_decoder"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_adapters_change_nothing_until_they_learn(kind):
    net = model(kind)
    before = see(net)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    add_lora(net, SMALL)
    assert torch.equal(see(net), before)
    assert all(torch.equal(value, state[name]) for name, value in merged_state_dict(net).items())
    learn(net)
    assert float((see(net) - before).abs().max()) > 1e-2


@pytest.mark.parametrize("kind", CONFIGS)
def test_merged_is_unmerged(kind):
    net = model(kind)
    names = net.state_dict().keys()
    add_lora(net, LoraConfig(rank=3, targets=("*",)) if kind == "nano" else SMALL)
    learn(net, 0.1)
    adapted = see(net)

    state = merged_state_dict(net)
    assert torch.equal(see(net), adapted)
    other = model(kind)
    other.load_state_dict(state, strict=True)
    assert float((see(other) - adapted).abs().max()) < 1e-4

    merge_lora(net)
    assert net.state_dict().keys() == names
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert type(net.memory_attention.layers[0].self_attn.q_proj) is nn.Linear
    assert next(lora_parameters(net), None) is None


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_step_moves_the_adapters_alone(kind):
    net = model(kind)
    before = merged_state_dict(net)
    add_lora(net, replace(SMALL, also_train=("no_mem_embed", "sam_mask_decoder.iou_token.weight")))
    config = OptimConfig(learning_rate=1e-2, encoder_rate=None, weight_decay=0.0)
    optimizer = build_optimizer(net, config)
    for _ in range(2):  # in the first, what is multiplied by zero learns nothing
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            objective(net)(collate([sample(1, frames=2)], step_seed=3))["loss"].backward()
        optimizer.step()

    moved = {name for name, value in merged_state_dict(net).items() if not torch.equal(value, before[name])}
    adapted = {name.split(".parametrizations")[0] + ".weight" for name, _ in lora_parameters(net)}
    assert moved <= adapted | {"no_mem_embed", "sam_mask_decoder.iou_token.weight"}
    assert "sam_mask_decoder.iou_token.weight" in moved
    assert len(moved & adapted) > 0.8 * len(adapted)


def test_adapters_are_copied_averaged_and_resumed():
    net = model()
    add_lora(net, SMALL)
    average = WeightAverage(net, 0.5)
    learn(net)
    adapted = see(net)
    twin = copy.deepcopy(net)
    fresh = model()
    add_lora(fresh, SMALL)
    fresh.load_state_dict(net.state_dict(), strict=True)
    assert torch.equal(see(twin), adapted)
    assert torch.equal(see(fresh), adapted)

    merge_lora(twin)
    assert torch.equal(see(net), adapted)
    average.update()
    average.swap()
    assert not torch.equal(see(net), adapted)
    average.swap()
    assert torch.equal(see(net), adapted)


def test_dropout_is_for_training():
    net = model()
    add_lora(net, replace(SMALL, dropout=0.5))
    learn(net)
    layer = net.memory_attention.layers[0].self_attn.q_proj
    assert not torch.equal(layer.weight, layer.weight)
    net.eval()
    whole = merged_state_dict(net)["memory_attention.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(layer.weight, layer.weight)
    assert torch.equal(layer.weight, whole)


def test_convolutions_of_every_kind_can_be_adapted():
    net = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 12, 5, groups=12, padding=2), nn.Conv2d(12, 4, 1))
    x = torch.randn(1, 8, 9, 9)
    before = net(x)
    add_lora(net, LoraConfig(rank=4, targets=("[012]",)))
    assert torch.equal(net(x), before)
    learn(net)
    adapted = net(x)
    merge_lora(net)
    assert torch.allclose(net(x), adapted, atol=1e-4)
    assert not torch.allclose(adapted, before, atol=1e-2)


def test_a_model_is_adapted_once():
    net = model()
    add_lora(net, SMALL)
    with pytest.raises(ValueError, match="merge them first"):
        add_lora(net, SMALL)
    merge_lora(net)
    add_lora(net, SMALL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"alpha": 0.0}, "alpha must be a number above 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"targets": ()}, "targets must name"),
    ],
)
def test_settings_that_do_not_do(change, words):
    with pytest.raises(ValueError, match=words):
        LoraConfig(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": ("memory_attention.layers.*.q_prog",)}, r"targets: no layer is named .*q_proj"),
        ({"also_train": ("sam_mask_decoder",)}, r"also_train: no parameter is named 'sam_mask_decoder'"),
        ({"targets": ("image_encoder.trunk.stages.[34].*.project",)}, "targets fit no linear layer"),
    ],
)
def test_a_pattern_that_fits_nothing_is_named_and_changes_nothing(change, words):
    net = model()
    with pytest.raises(ValueError, match=words):
        add_lora(net, LoraConfig(**change))
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert next(lora_parameters(net), None) is None
