"""Train a model on images, or on images and clips, in one process or several.

``python -m sam2.train.nano all --data FOLDER --out FOLDER`` makes the bundled model from beginning to end: the teacher
labels, the data are packed, two processes train on photos, then on photos and clips made of them, the weights are
exported. Without ``all``, every part is up to you.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sam2.train.launch import run_together
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.pack import pack
from sam2.train.nano.data.records import read_all
from sam2.train.nano.export import export_weights
from sam2.train.nano.imagenet import find_imagenet_weights
from sam2.train.nano.simulate import SimulationConfig
from sam2.train.nano.training import is_over, read_weights, train_nano
from sam2.train.progress import shown_progress


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the recipe: how many steps it has, and what else it is told."""

    steps: int
    options: dict[str, Any]


COMMON: dict[str, Any] = {
    "processes": 2,
    "batch_size": 8,
    "amp": "decoder",
    "plain_attention": True,
    "validate_every": 500,
    "validation_objects": 60,
}
STAGES = {
    "stills": Stage(
        5300,
        {
            **COMMON,
            "sizes": ((256, 0.46), (384, 0.19), (512, 0.35)),
            "masks": 4,
            "simulation": SimulationConfig(again_share=0.3),
        },
    ),
    "clips": Stage(
        2000,
        {
            **COMMON,
            "sizes": ((512, 1.0),),
            "masks": 3,
            "clip_share": 0.5,
            "clip_sizes": ((256, 0.5), (384, 0.2), (512, 0.3)),
            "clip_batch": 4,
            "learning_rate": 3e-4,
            "trunk_rate": 3e-4,
            # One click is what tracking, whose three candidates hardly differ, unlearns first. Boxes that are drawn
            # carelessly teach that a box may hold more ground than object.
            "simulation": SimulationConfig(
                kinds={"box": 0.45, "click": 0.45, "mask": 0.1}, again_share=0.3, loose_share=0.35
            ),
        },
    ),
}
"""How the bundled model is trained: on photos, then on photos and on clips made of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    first = parser.parse_args(given)
    if first.recipe is not None and first.stage is None:
        return _make_nano(parser, given, first)
    if first.recipe is not None:
        parser.set_defaults(steps=STAGES[first.stage].steps, **STAGES[first.stage].options)
    options = vars(parser.parse_args(given))
    paths = {name: options.pop(name) for name in ("data", "teacher", "cache", "out")}
    processes, threads, going_on = (options.pop(name) for name in ("processes", "threads", "resume"))
    initial, options["fresh_memory"] = options.pop("init"), not options.pop("keep_memory")
    for name in ("recipe", "stage"):
        del options[name]
    if options["steps"] is None:
        parser.error("give --steps, or train by the recipe: all")
    try:
        config = NanoConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    cache, out = paths["cache"] or paths["out"] / "cache", paths["out"]
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if os.environ.get("RANK", "0") == "0":
        _prepare(parser, paths["data"], cache, teacher=paths["teacher"])
    if processes > 1 and alone:
        return run_together([sys.executable, "-m", "sam2.train.nano", *given], processes)
    threads = threads or (None if alone else 1)
    try:
        _train(config, cache, out, resume=going_on, threads=threads, initial=initial)
    except (FileExistsError, FileNotFoundError, ImportError, ValueError) as error:
        parser.error(str(error))
    return 0


def _make_nano(parser: argparse.ArgumentParser, given: list[str], first: argparse.Namespace) -> int:
    """All stages in order, each from the weights of the one before, and the export."""
    cache = first.cache or first.out / "cache"
    _prepare(parser, first.data, cache, teacher=first.teacher, teacher_out=first.out / "teacher")
    initial: Path | None = first.init
    for name, stage in STAGES.items():
        folder = first.out / name
        if not (first.resume and is_over(folder)):
            # The last of options that are given twice counts.
            command = [*given, "--stage", name, "--cache", str(cache), "--out", str(folder)]
            command += [] if initial is None else ["--init", str(initial)]
            if first.steps is not None:  # of both stages together
                share = stage.steps / sum(other.steps for other in STAGES.values())
                command += ["--steps", str(max(1, round(share * first.steps)))]
            status = main(command)
            if status:
                return status
        if not is_over(folder):
            print("stopped before the end: the same command with --resume goes on", flush=True)
            return 0
        initial = folder
    assert initial is not None
    path = first.out / "nano.safetensors"
    export_weights(initial, path)
    print(f"exported {path}: copy it to src/sam2/weights/ to bundle it", flush=True)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The options of ``python -m sam2.train.nano``."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m sam2.train.nano", description=__doc__, formatter_class=form)
    parser.add_argument("recipe", nargs="?", choices=["all"], help="all that makes the bundled model")
    parser.add_argument("--stage", choices=list(STAGES), help="of the recipe, only this one")
    parser.add_argument("--data", type=Path, help="folder of the training sets; packed to --cache once")
    parser.add_argument("--teacher", type=Path, help="masks that sam2.train.nano.data.teacher wrote, for packing")
    parser.add_argument("--cache", type=Path, help="folder of the packed training data (default: OUT/cache)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint and log")
    defaults = NanoConfig(steps=1)
    parser.add_argument("--steps", type=int, help="of the optimizer; with 'all', of both stages together")
    parser.add_argument("--sizes", type=parse_sizes, default=defaults.sizes, help="e.g. 256:0.5,512:0.5")
    parser.add_argument("--init", type=Path, help="weights (.safetensors) or folder of a run to start from")
    parser.add_argument("--clip-sizes", type=parse_sizes, default=defaults.clip_sizes, help="as --sizes")
    parser.add_argument("--keep-memory", action="store_true", help="start from the memory parts of --init, too")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument("--processes", type=int, default=1, help="processes on this machine that train together")
    parser.add_argument("--threads", type=int, help="threads a process (default: torch's; 1 with several processes)")
    for name in (
        *("batch_size", "masks", "workers", "seed", "clip_batch", "clip_masks"),
        *("save_every", "validate_every", "validation_objects", "validation_clips"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in ("learning_rate", "trunk_rate", "memory_rate", "final_rate", "clip_share", "ema", "clip"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--device", choices=("auto", "cpu"), default=defaults.device)
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


def _prepare(
    parser: argparse.ArgumentParser,
    data: Path | None,
    cache: Path,
    *,
    teacher: Path | None,
    teacher_out: Path | None = None,
) -> None:
    """Pack ``data`` to ``cache``, with the masks in ``teacher`` or made now in ``teacher_out``, unless it is packed."""
    if (cache / "index.npz").exists():
        return
    if data is None:
        parser.error(f"{cache} holds no packed data: give --data")
    try:
        find_imagenet_weights()  # what is missing is said before the hours, not after
        if teacher is None and teacher_out is not None:
            teacher = _label(data, teacher_out)
        print(f"packing {data} to {cache}", flush=True)
        pack(read_all(data, teacher), cache)
    except (FileNotFoundError, ImportError) as error:
        parser.error(str(error))


def _train(
    config: NanoConfig, cache: Path, out: Path, *, resume: bool, threads: int | None, initial: Path | None
) -> None:
    # Averages of gradients that fade to denormal numbers would slow a CPU down by an order of magnitude.
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    weights = None if initial is None else read_weights(initial)
    with shown_progress() as progress:
        train_nano(config, cache, out, initial=weights, resume=resume, progress=progress)


def _label(data: Path, folder: Path) -> Path:
    from sam2.train.nano.data.teacher import label_all

    if not folder.exists():
        print(f"labelling {data} to {folder}", flush=True)
        label_all(data, folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
