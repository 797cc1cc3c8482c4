"""Image encoding and prompt decoding against ``transformers``' Sam2Model, with the same random weights.

    python benchmarks/image.py [--model sam2.1_hiera_tiny] [--repeats 7] [--threads N] [--json FILE]

Both run in turn in one process. Claims: at the same precision we are not slower; with ``dtype="auto"`` encoding
is 1.5 times as fast as ``transformers`` in float32, where the CPU has bfloat16. Needs the ``dev`` extra. On a
machine that is busy with other work, ``--cpu-time`` (one thread, CPU time) still gives ratios that mean something.
"""

import argparse
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import Report, Times, interleave, median_ratio, medians
from torch import Tensor, nn

from sam2.loading.devices import resolve_dtype
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, default_behaviour, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures, PromptBatch

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
# Equal runs differ by a few percent from turn to turn: "not slower" is judged with this much slack.
NOISE = 0.05


def build_pair(name: str) -> tuple[SAM2Base, nn.Module]:
    """Our model and theirs with the same random weights, float32."""
    torch.manual_seed(0)
    config = PRESETS[name]
    ours = build_model(config, with_postprocessing(default_behaviour(config), video=False)).eval()
    sys.path.insert(0, str(PARITY))
    oracle = runpy.run_path(str(PARITY / "transformers_weights.py"))["image_oracle"]
    return ours, oracle(config, ours.state_dict())


def box_prompts(count: int, size: int) -> tuple[PromptBatch, Tensor]:
    """The same boxes for us (two corners each) and for them [1, n, 4]."""
    corner = size * torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) / 2
    boxes = torch.cat((corner, corner + size / 3), dim=1)
    labels = torch.tensor([[2, 3]], dtype=torch.int32).expand(count, 2)
    return PromptBatch(boxes.view(count, 2, 2), labels), boxes[None]


def encode_ours(model: SAM2Base, pixels: Tensor) -> ImageFeatures:
    """What the image predictor does when an image is set, from pixels on."""
    features = model.encode_image(pixels)
    return ImageFeatures(model.condition_on_nothing(features.embed), features.high_res, features.position)


def decode_ours(model: SAM2Base, features: ImageFeatures, prompts: PromptBatch) -> Tensor:
    """Mask logits of all prompts."""
    return model.decode_masks(features.embed, features.high_res, prompts, multimask=True).logits


def decode_theirs(model: Any, embeddings: list[Tensor], boxes: Tensor) -> Tensor:
    """Mask logits of all prompts."""
    return model(image_embeddings=embeddings, input_boxes=boxes.to(embeddings[-1].dtype)).pred_masks[0]


def contestants(name: str, pixels: Tensor) -> dict[str, tuple[Any, bool, torch.dtype]]:
    """(model, whether it is ours, precision) by name: in float32, and in what "auto" picks if that differs."""
    ours, theirs = build_pair(name)
    entries: dict[str, tuple[Any, bool, torch.dtype]] = {
        "transformers float32": (theirs, False, torch.float32),
        "sam2 float32": (ours, True, torch.float32),
    }
    auto = resolve_dtype("auto", pixels.device)
    if auto != torch.float32:
        cast_ours, cast_theirs = build_pair(name)
        entries[f"transformers {_short(auto)}"] = (cast_theirs.to(auto), False, auto)
        entries[f"sam2 {_short(auto)}"] = (cast_ours.cast_(auto), True, auto)
    return entries


def run(name: str, repeats: int, *, cpu_time: bool) -> tuple[dict[str, Times], dict[str, float]]:
    """Times per stage, and how far the float32 outputs of the two are apart."""
    size = PRESETS[name].image_size
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    entries = contestants(name, pixels)
    encode: dict[str, Callable[[], Any]] = {
        label: partial(encode_ours, model, pixels) if is_ours else partial(model.get_image_embeddings, pixels.to(dtype))
        for label, (model, is_ours, dtype) in entries.items()
    }
    stages = {"encode": interleave(encode, repeats=repeats, cpu_time=cpu_time)}
    features = {label: task() for label, task in encode.items()}
    gaps = {"embedding": _gap(features["sam2 float32"].embed, features["transformers float32"][-1])}
    for count in (1, 16):
        prompts, boxes = box_prompts(count, size)
        decode: dict[str, Callable[[], Tensor]] = {
            label: partial(decode_ours, model, features[label], prompts)
            if is_ours
            else partial(decode_theirs, model, features[label], boxes)
            for label, (model, is_ours, _) in entries.items()
        }
        stages[f"decode {count}"] = interleave(decode, repeats=repeats, cpu_time=cpu_time)
        gaps[f"logits of {count}"] = _gap(decode["sam2 float32"](), decode["transformers float32"]())
    return stages, gaps


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam2.1_hiera_tiny", choices=[n for n in PRESETS if n != "nano"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU time")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    if arguments.threads or arguments.cpu_time:
        torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    report = Report(f"{arguments.model}: encoding and decoding against transformers")
    with torch.inference_mode():
        stages, gaps = run(arguments.model, arguments.repeats, cpu_time=arguments.cpu_time)
    for name, gap in gaps.items():
        report.claim(f"difference, {name}", gap, below=1e-3)
    for stage, times in stages.items():
        for label, seconds in medians(times).items():
            report.figure(f"{stage}: {label}", seconds, f"{1000 * seconds:9.1f} ms")
    for stage, times in stages.items():
        _claim_ratios(report, stage, times)
    return report.finish(arguments.json)


def _claim_ratios(report: Report, stage: str, times: Times) -> None:
    same = median_ratio(times, "transformers float32", "sam2 float32")
    report.claim(f"{stage}: times faster, float32", same, at_least=1 - NOISE)
    reduced = [label for label in times if label.startswith("sam2") and label != "sam2 float32"]
    for label in reduced:
        peer = label.replace("sam2", "transformers")
        report.claim(f"{stage}: times faster, {label[5:]}", median_ratio(times, peer, label), at_least=1 - NOISE)
        auto = median_ratio(times, "transformers float32", label)
        report.claim(f'{stage}: times faster, "auto"', auto, at_least=1.5 if stage == "encode" else 1 - NOISE)


def _gap(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max())


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main())
