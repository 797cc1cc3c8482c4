"""What is trained at which rate, the schedule, the average, and what a run may be told."""

import copy

import miniature
import pytest
import torch
from torch import nn

from sam2.modeling.build import build_model
from sam2.train.nano.config import TrainConfig
from sam2.train.nano.data.loader import size_at
from sam2.train.nano.optim import (
    WeightAverage,
    build_optimizer,
    rate_at,
    restore_optimizer,
    set_rate,
    trained_parameters,
)

CONFIG = TrainConfig(steps=10, warm_up=0.1, final_rate=0.01)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(miniature.SMALL)


def test_only_what_an_image_reaches_is_trained(model):
    parameters = trained_parameters(model, video=False)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen.isdisjoint(parameters)
    assert {name.split(".")[0] for name in parameters} == {
        "image_encoder",
        "sam_prompt_encoder",
        "sam_mask_decoder",
        "no_mem_embed",
    }
    assert {name.split(".")[0] for name in frozen} >= {"memory_attention", "memory_encoder"}


def test_every_parameter_is_in_one_group_at_its_rate(model):
    parameters = trained_parameters(model, video=False)
    names = {id(parameter): name for name, parameter in parameters.items()}
    seen = []
    for group in build_optimizer(parameters, CONFIG).param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            low, high = CONFIG.trunk_limits
            if name.startswith("image_encoder.trunk."):
                assert low <= group["lr"] <= high
            else:
                assert group["lr"] == CONFIG.learning_rate
            assert group["weight_decay"] == (CONFIG.weight_decay if parameter.ndim > 1 else 0)
    assert sorted(seen) == sorted(parameters)


def test_trunk_rates_follow_the_scale_of_the_weights():
    scales = {"image_encoder.trunk.a": 2.0**-4, "image_encoder.trunk.b": 2.0**-6, "image_encoder.trunk.c": 0.0}
    parameters = {name: nn.Parameter(torch.full((3, 3), scale)) for name, scale in scales.items()}
    optimizer = build_optimizer(parameters, TrainConfig(steps=1, trunk_rate=1e-3))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    a, b, c = (rates[id(p)] for p in parameters.values())
    assert (a, b) == pytest.approx((1e-3 / 16, 1e-3 / 64))
    assert c == CONFIG.trunk_limits[0]


def test_a_restored_optimizer_goes_on_as_before():
    def make():
        torch.manual_seed(0)
        return {"image_encoder.trunk.a": nn.Parameter(torch.randn(4, 4) * 0.01), "b": nn.Parameter(torch.randn(4))}

    def step(parameters, optimizer):
        for parameter in parameters.values():
            parameter.grad = torch.ones_like(parameter) * parameter.detach()
        optimizer.step()

    straight = make()
    optimizer = build_optimizer(straight, CONFIG)
    step(straight, optimizer)
    state = copy.deepcopy(optimizer.state_dict())
    broken = {name: nn.Parameter(value.detach() * 1.0) for name, value in straight.items()}
    # Weights of another scale would be grouped otherwise: the groups are those that were saved.
    restored = restore_optimizer(broken, state)
    step(straight, optimizer)
    step(broken, restored)
    for one, two in zip(straight.values(), broken.values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    with pytest.raises(ValueError, match="other parameters"):
        restore_optimizer({"c": nn.Parameter(torch.zeros(1))}, state)


def test_rates_rise_and_fall():
    rates = [rate_at(progress / 100, CONFIG) for progress in range(101)]
    assert 0 < rates[0] < 0.01
    assert rates[5] == pytest.approx(0.5)
    assert max(rates) == pytest.approx(rates[10]) == pytest.approx(1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)
    assert rate_at(1.5, CONFIG) == pytest.approx(0.01)
    optimizer = build_optimizer({"b": nn.Parameter(torch.zeros(3))}, CONFIG)
    for _ in range(2):  # rates are set, not multiplied
        set_rate(optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] == CONFIG.learning_rate / 2


def test_the_average_follows():
    parameters = {"a": nn.Parameter(torch.zeros(3))}
    average = WeightAverage(parameters, 0.9)
    with torch.no_grad():
        parameters["a"].fill_(1.0)
    values = []
    for _ in range(100):
        average.update(parameters.values())
        values.append(float(average.values["a"][0]))
    assert values[0] > 0.5  # quick at first
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1, abs=1e-3)
    assert float(parameters["a"].detach()[0]) == 1


def test_swapping_twice_restores():
    parameters = {"a": nn.Parameter(torch.ones(3))}
    average = WeightAverage({"a": nn.Parameter(torch.zeros(3))}, 0.9)
    average.swap(parameters)
    assert (float(parameters["a"].detach()[0]), float(average.values["a"][0])) == (0, 1)
    average.swap(parameters)
    assert (float(parameters["a"].detach()[0]), float(average.values["a"][0])) == (1, 0)


def test_sizes_come_in_order_and_take_fewer_images():
    config = TrainConfig(steps=1, sizes=((256, 0.5), (384, 0.3), (512, 0.2)), batch_size=8)
    assert [size_at(config.sizes, p) for p in (0, 0.49, 0.51, 0.79, 0.81, 1.0)] == [256, 256, 384, 384, 512, 512]
    assert [config.batch_at(size) for size in (256, 384, 512, 2048)] == [8, 5, 4, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give minutes or steps"),
        ({"steps": 1, "minutes": 1.0}, "give minutes or steps"),
        ({"steps": 1, "amp": "half"}, "amp must be"),
        ({"steps": 1, "sizes": ((256, 0.5),)}, "must sum to 1, got 0.5"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)
