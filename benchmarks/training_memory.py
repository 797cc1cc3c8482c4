"""Memory of a training step: what autograd keeps of the forward pass, and the peak of the device or the process.

    python benchmarks/training_memory.py [--cases clip still] [--precision no|bf16] [--dropout X] [--json FILE]

``clip``: tiny, 8 frames of 512 px, 3 objects, two frames corrected by 7 clicks each: within 24 GB. ``still``:
base-plus, 1024 px, 3 objects, 7 clicks, encoder frozen: within 16 GB. Each with everything kept, and with activations
computed again in the backward pass. What is kept is counted in a forward pass that throws it away; weights, gradients
and the optimizer's two moments come on top. Where there is room for it, a step is made: the peak is that of CUDA's
allocator, or what the process has had resident. Every figure comes from a process of its own. Frames are noise and
weights random: neither changes a byte. On CPUs attention with dropout keeps its scores, which fused kernels do not:
``--dropout 0`` tells what an accelerator keeps.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from measure import Report, peak_megabytes
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.train.data.clip import ClipBatch
from sam2.train.losses import LossConfig
from sam2.train.objective import Objective
from sam2.train.prompts import PromptConfig

OBJECTS = 3
GIGA = 1e9
PROMPTS = PromptConfig(point_share=1.0, random_init_frames=False, random_corrected_frames=False)
"""The most that the recipe asks for."""


@dataclass(frozen=True)
class Case:
    """A step to be measured, and the gigabytes that it may take."""

    model: str
    frames: int
    size: int
    frozen_encoder: bool
    limit: float

    def __str__(self) -> str:
        what = f"{self.frames} frames" if self.frames > 1 else "still"
        return f"{self.model} {what} {self.size} px" + (" frozen encoder" if self.frozen_encoder else "")


CASES = {
    "clip": Case("sam2.1_hiera_tiny", 8, 512, False, 24.0),
    "still": Case("sam2.1_hiera_base_plus", 1, 1024, True, 16.0),
}


class Counted:
    """Bytes of the storages that autograd would keep of a forward pass, weights left out; nothing is kept."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        # A weak reference keeps a storage's number from being given to another one, but not its memory.
        self._seen: dict[int, StorageWeakRef] = {}
        self._weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}

    def pack(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        if storage.data_ptr() not in self._weights and reference.cdata not in self._seen:
            self._seen[reference.cdata] = reference
            self.bytes += storage.nbytes()

    def hooks(self) -> AbstractContextManager[None]:
        return torch.autograd.graph.saved_tensors_hooks(self.pack, lambda nothing: nothing)


def noise_batch(case: Case) -> ClipBatch:
    """Frames of noise with rectangles for objects."""
    masks = torch.zeros(case.frames, OBJECTS, case.size, case.size, dtype=torch.bool)
    for k in range(OBJECTS):
        masks[:, k, (k + 1) * case.size // 5 : (k + 2) * case.size // 5, case.size // 4 : case.size // 2] = True
    return ClipBatch(
        images=torch.randint(0, 256, (1, case.frames, case.size, case.size, 3), dtype=torch.uint8),
        masks=masks,
        clip_of=torch.zeros(OBJECTS, dtype=torch.int64),
        seeds=torch.arange(OBJECTS),
        names=("noise",),
        step_seed=0,
    )


def make(case: Case, *, recompute: bool, dropout: float | None, device: torch.device) -> Objective:
    """The objective of ``case`` with random weights."""
    config = replace(PRESETS[case.model], image_size=case.size)
    if dropout is not None:
        config = replace(config, memory=replace(config.memory, dropout=dropout))
    torch.manual_seed(0)
    return Objective(
        build_model(config).train().to(device),
        prompts=PROMPTS,
        loss=LossConfig(gated=False),
        frozen_encoder=case.frozen_encoder,
        activation_checkpointing=recompute,
    )


def measure(case: Case, *, recompute: bool, arguments: argparse.Namespace) -> dict[str, Any]:
    """What autograd keeps, in GB; then, where there is room for it, the peak of a step and its seconds."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    objective = make(case, recompute=recompute, dropout=arguments.dropout, device=device)
    batch, counted = noise_batch(case), Counted(objective)
    with counted.hooks(), torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
        objective(batch)
    weights = sum(p.nbytes for p in objective.parameters())
    trained = sum(p.nbytes for p in objective.parameters() if p.requires_grad)
    found = {"kept": counted.bytes / GIGA, "weights": (weights + 3 * trained) / GIGA}
    if device.type == "cpu" and 1.2 * found["kept"] + found["weights"] > arguments.room:
        return found
    start = time.perf_counter()
    step(objective, batch, device=device, precision=arguments.precision)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_megabytes() * 2**20
    return {**found, "peak": peak / GIGA, "seconds": time.perf_counter() - start}


def step(objective: Objective, batch: ClipBatch, *, device: torch.device, precision: str) -> None:
    """One step of the optimizer."""
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-6)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = objective(batch)["loss"]
    loss.backward()
    optimizer.step()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--dropout", type=float, help="of memory attention; the recipe's where not given")
    parser.add_argument(
        "--room", type=float, default=12.0, help="GB that a step on the CPU may take to be tried at all"
    )
    parser.add_argument("--json", type=Path, help="also write everything here")
    parser.add_argument("--only", nargs=2, metavar=("CASE", "HOW"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        name, how = arguments.only
        print(json.dumps(measure(CASES[name], recompute=how == "recomputed", arguments=arguments)))
        return 0
    report = Report(f"memory of a training step, precision {arguments.precision}, dropout {arguments.dropout}")
    for name in arguments.cases:
        for how in ("kept", "recomputed"):
            command = [sys.executable, __file__, *sys.argv[1:], "--only", name, how]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            tell(report, f"{CASES[name]}, {how}", json.loads(done.stdout), limit=CASES[name].limit)
    return report.finish(arguments.json)


def tell(report: Report, title: str, found: dict[str, Any], *, limit: float) -> None:
    """Add one step to the report."""
    report.figure(f"{title}: kept", found, f"{found['kept']:.2f} GB")
    report.claim(f"{title}: kept + weights", found["kept"] + found["weights"], below=limit)
    if "peak" in found:
        report.claim(f"{title}: peak", found["peak"], below=limit)
        report.figure(f"{title}: time", found["seconds"], f"{found['seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
