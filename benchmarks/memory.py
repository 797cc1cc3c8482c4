"""Attention to memory: what the rearrangements of ``sam2.modeling`` gain over PyTorch's kernel on projected values.

    python benchmarks/memory.py [--repeats 5] [--cpu-time] [--json FILE]

Full memory: seven maps and sixteen pointers, of ``tiny`` at 1024 px and of ``nano``. Claims: in bfloat16, where the CPU
has it, at least twice as fast; in float32 not slower; the results agree. Then what several objects cost.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import Report, interleave, median_ratio, medians
from torch import Tensor

from sam2.loading.devices import resolve_dtype
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.modeling.position_encoding import rotary_table
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures, MemoryContext

MEMORIES, POINTERS = 7, 16
NOISE = 0.05


def plain(attention: RoPEAttention, query: Tensor, memory: Tensor, pointers: int) -> Tensor:
    """As the weights are written: every token projected, adjacent channels turned, PyTorch's attention."""
    side = int(query.shape[1] ** 0.5)
    table = rotary_table(side, side, dim=attention.internal_dim, theta=attention.rope_theta, device=query.device)

    def turned(x: Tensor) -> Tensor:
        cos, sin = table
        pairs = x.float().reshape(len(x), -1, side * side, x.shape[-1] // 2, 2)
        even, odd = pairs.unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).reshape(x.shape).to(x.dtype)

    key, placed = attention.k_proj(memory), memory.shape[1] - pointers
    key = torch.cat((turned(key[:, :placed]), key[:, placed:]), dim=1)
    q, k, v = (x[:, None] for x in (turned(attention.q_proj(query)), key, attention.v_proj(memory)))
    return attention.out_proj(F.scaled_dot_product_attention(q, k, v)[:, 0])


def make_inputs(model: SAM2Base, objects: int) -> tuple[ImageFeatures, MemoryContext]:
    """Random features of a frame, and a full memory."""
    side, c, d = model.image_size // 16, model.hidden_dim, model.mem_dim
    g = torch.Generator().manual_seed(objects)
    noise = partial(torch.randn, generator=g)
    place = model.image_encoder.neck.position_encoding.table(side, side, torch.device("cpu"))
    maps = noise(1, c // 8, 4 * side, 4 * side), noise(1, c // 4, 2 * side, 2 * side)
    context = MemoryContext(
        features=noise(objects, MEMORIES, d, side, side).bfloat16(),
        time_slots=(6, 5, 4, 3, 2, 1, 0),
        pointers=noise(objects, POINTERS, c),
        pointer_distances=torch.arange(float(POINTERS)).expand(objects, -1),
        max_pointers=16,
    )
    return ImageFeatures(noise(1, c, side, side), maps, place), context


def compare(report: Report, model: SAM2Base, *, repeats: int, cpu_time: bool) -> None:
    """One layer's attention to memory, both ways; then the whole stack for one object and for four."""
    name = f"{model.config.name} {str(model.compute_dtype).removeprefix('torch.')}"
    attention = model.memory_attention.layers[0].cross_attn_image
    assert isinstance(attention, RoPEAttention)
    cells, tail = (model.image_size // 16) ** 2, POINTERS * model.hidden_dim // model.mem_dim
    g = torch.Generator().manual_seed(0)
    query = torch.randn(1, cells, model.hidden_dim, generator=g).to(model.compute_dtype)
    memory = torch.randn(1, MEMORIES * cells + tail, model.mem_dim, generator=g).to(model.compute_dtype)
    tasks = {
        "plain": partial(plain, attention, query, memory, tail),
        "sam2": partial(attention, query, memory, memory, num_k_exclude_rope=tail),
    }
    exact, ours = tasks["plain"]().float(), tasks["sam2"]().float()
    limit = 1e-5 if model.compute_dtype == torch.float32 else 2e-2
    report.claim(f"{name}: relative difference", float((exact - ours).norm() / exact.norm()), below=limit)
    times = interleave(tasks, repeats=repeats, cpu_time=cpu_time)
    for label, seconds in medians(times).items():
        report.figure(f"{name}: {label}", seconds, f"{1000 * seconds:9.1f} ms")
    least = 1 - NOISE if model.compute_dtype == torch.float32 else 2.0
    report.claim(f"{name}: times faster", median_ratio(times, "plain", "sam2"), at_least=least)
    stack = {n: partial(model.fuse_memory, *make_inputs(model, n)) for n in (1, 4)}
    times = interleave({str(n): task for n, task in stack.items()}, repeats=max(1, repeats // 2), cpu_time=cpu_time)
    one, four = medians(times).values()
    report.figure(f"{name}: fuse_memory of 1", one, f"{1000 * one:9.1f} ms")
    report.figure(f"{name}: fuse_memory of 4", four, f"{1000 * four:9.1f} ms")


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["nano", "sam2.1_hiera_tiny"], choices=list(PRESETS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU time: for a busy machine")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    if arguments.cpu_time:
        torch.set_num_threads(1)
    report = Report("attention to memory")
    auto = resolve_dtype("auto", torch.device("cpu"))
    with torch.inference_mode():
        for name in arguments.models:
            for dtype in dict.fromkeys((torch.float32, auto)):
                torch.manual_seed(0)
                model = build_model(PRESETS[name]).eval().cast_(dtype)
                compare(report, model, repeats=arguments.repeats, cpu_time=arguments.cpu_time)
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
