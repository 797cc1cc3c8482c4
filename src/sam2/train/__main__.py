"""Train a model on images, in one process or several.

``python -m sam2.train nano --data FOLDER --out FOLDER`` makes the bundled model from beginning to end: the teacher
labels, the data are packed, two processes train, the weights are exported. Without ``nano``, every part is up to you.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sam2.train import parallel
from sam2.train.config import TrainConfig
from sam2.train.data.pack import pack
from sam2.train.data.records import read_all
from sam2.train.imagenet import find_imagenet_weights
from sam2.train.launch import train_together
from sam2.train.loop import CHECKPOINT, read_weights, resume, start, train

NANO_RECIPE: dict[str, Any] = {
    "processes": 2,
    "minutes": 85.0,
    "sizes": ((256, 0.45), (384, 0.25), (512, 0.3)),
    "batch_size": 8,
    "masks": 4,
    "bce_share": 0.4,
    "amp": "decoder",
    "plain_attention": True,
    "validate_minutes": 20.0,
    "validation_objects": 60,
}
"""How the bundled model was trained."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    first = parser.parse_args(given)
    if first.recipe == "nano":
        parser.set_defaults(**NANO_RECIPE)
        if first.steps is not None:
            parser.set_defaults(minutes=None)
    options = vars(parser.parse_args(given))
    whole_recipe = options.pop("recipe") is not None
    paths = {name: options.pop(name) for name in ("data", "teacher", "cache", "out")}
    processes, threads, going_on = (options.pop(name) for name in ("processes", "threads", "resume"))
    initial, options["fresh_memory"] = options.pop("init"), not options.pop("keep_memory")
    try:
        config = TrainConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    cache, out = paths["cache"] or paths["out"] / "cache", paths["out"]

    if parallel.rank() == 0 and not (cache / "index.npz").exists():
        if paths["data"] is None:
            parser.error(f"{cache} holds no packed data: give --data")
        try:
            _prepare(paths["data"], paths["teacher"], cache, teacher_out=out / "teacher" if whole_recipe else None)
        except (FileNotFoundError, ImportError) as error:
            parser.error(str(error))
    if processes > 1 and parallel.world_size() == 1:
        status = train_together(given, processes)
    else:
        threads = threads or (1 if parallel.world_size() > 1 else None)
        _train(config, cache, out, going_on=going_on, threads=threads, initial=initial)
        status = 0
    if whole_recipe and status == 0 and parallel.world_size() == 1:
        _export(config, out)
    return status


def build_parser() -> argparse.ArgumentParser:
    """The options of ``python -m sam2.train``."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m sam2.train", description=__doc__, formatter_class=form)
    parser.add_argument("recipe", nargs="?", choices=["nano"], help="all that makes the bundled model")
    parser.add_argument("--data", type=Path, help="folder of the training sets; packed to --cache once")
    parser.add_argument("--teacher", type=Path, help="masks that sam2.train.data.teacher wrote, for packing")
    parser.add_argument("--cache", type=Path, help="folder of the packed training data (default: OUT/cache)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint and log")
    parser.add_argument("--minutes", type=float, help="budget; or give --steps")
    parser.add_argument("--steps", type=int, help="budget; or give --minutes")
    parser.add_argument("--sizes", type=parse_sizes, default=TrainConfig(steps=1).sizes, help="e.g. 256:0.5,512:0.5")
    parser.add_argument("--init", type=Path, help="weights (.safetensors) or folder of a run to start from")
    parser.add_argument("--clip-sizes", type=parse_sizes, default=TrainConfig(steps=1).clip_sizes, help="as --sizes")
    parser.add_argument("--keep-memory", action="store_true", help="start from the memory parts of --init, too")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument("--processes", type=int, default=1, help="processes on this machine that train together")
    parser.add_argument("--threads", type=int, help="threads a process (default: torch's; 1 with several processes)")
    defaults = TrainConfig(steps=1)
    for name in ("batch_size", "masks", "workers", "seed", "validation_objects", "clip_batch", "clip_masks"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in (
        *("learning_rate", "trunk_rate", "memory_rate", "final_rate", "clip_share", "bce_share", "ema", "clip"),
        *("save_minutes", "validate_minutes"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--device", default=defaults.device)
    parser.add_argument("--amp", choices=("off", "decoder", "all"), default=defaults.amp)
    parser.add_argument("--plain-attention", action="store_true", help="attention as matrix products, for CPUs")
    return parser


def parse_sizes(text: str) -> tuple[tuple[int, float], ...]:
    """``"256:0.5,512:0.5"`` to ((256, 0.5), (512, 0.5)); a single size may leave out its share."""
    pairs = []
    for item in text.split(","):
        size, _, share = item.partition(":")
        pairs.append((int(size), float(share or 1)))
    return tuple(pairs)


def _prepare(data: Path, teacher: Path | None, cache: Path, *, teacher_out: Path | None) -> None:
    """Pack ``data`` to ``cache``, with the masks in ``teacher`` or made now in ``teacher_out``, if either is given."""
    find_imagenet_weights()  # what is missing is said before the hours, not after
    if teacher is None and teacher_out is not None:
        teacher = _label(data, teacher_out)
    print(f"packing {data} to {cache}", flush=True)
    pack(read_all(data, teacher), cache)


def _train(
    config: TrainConfig, cache: Path, out: Path, *, going_on: bool, threads: int | None, initial: Path | None
) -> None:
    # Averages of gradients that fade to denormal numbers would slow a CPU down by an order of magnitude.
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    if going_on and (out / CHECKPOINT).exists():
        run = resume(config, out)
    else:
        run = start(config, initial=None if initial is None else read_weights(initial))
    train(run, cache, out)


def _label(data: Path, folder: Path) -> Path:
    from sam2.train.data.teacher import label_all

    if not folder.exists():
        print(f"labelling {data} to {folder}", flush=True)
        label_all(data, folder)
    return folder


def _export(config: TrainConfig, out: Path) -> None:
    from sam2.train.export_nano import export_weights

    if resume(config, out).progress < 1:
        print(f"stopped before the end: the same command with --resume goes on from {out}", flush=True)
        return
    path = out / "nano.safetensors"
    export_weights(out, path)
    print(f"exported {path}: copy it to src/sam2/weights/ to bundle it", flush=True)


if __name__ == "__main__":
    sys.exit(main())
