"""``python -m sam2.train --data FOLDER --out FOLDER --minutes 105``: train the bundled model for images."""

import argparse
from pathlib import Path

import torch

from sam2.train.config import TrainConfig
from sam2.train.data.pack import pack
from sam2.train.data.records import read_all
from sam2.train.loop import CHECKPOINT, resume, start, train


def parse_sizes(text: str) -> tuple[tuple[int, float], ...]:
    """``"256:0.5,512:0.5"`` to ((256, 0.5), (512, 0.5)); a single size may leave out its share."""
    pairs = []
    for item in text.split(","):
        size, _, share = item.partition(":")
        pairs.append((int(size), float(share or 1)))
    return tuple(pairs)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m sam2.train", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the training sets; packed to --cache once")
    parser.add_argument("--teacher", type=Path, help="masks that sam2.train.data.teacher wrote, for packing")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the packed training data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint and log")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sizes", type=parse_sizes, default=((256, 0.5), (384, 0.3), (512, 0.2)))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument("--threads", type=int, default=None, help="threads that torch may use")
    defaults = TrainConfig(steps=1)
    for name in ("batch_size", "masks", "workers", "seed", "validation_objects"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in ("learning_rate", "trunk_rate", "bce_share", "ema", "clip", "save_minutes", "validate_minutes"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--device", default=defaults.device)
    parser.add_argument("--amp", choices=("off", "decoder", "all"), default=defaults.amp)
    parser.add_argument("--plain-attention", action="store_true")
    options = vars(parser.parse_args())

    data, teacher, cache, out = (options.pop(name) for name in ("data", "teacher", "cache", "out"))
    going_on, threads = options.pop("resume"), options.pop("threads")
    # Averages of gradients that fade to denormal numbers would slow a CPU down by an order of magnitude.
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    try:
        config = TrainConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    if not (cache / "index.npz").exists():
        if data is None:
            parser.error(f"{cache} holds no packed data: give --data")
        print(f"packing {data} to {cache}", flush=True)
        pack(read_all(data, teacher), cache)
    run = resume(config, out) if going_on and (out / CHECKPOINT).exists() else start(config)
    train(run, cache, out)


if __name__ == "__main__":
    main()
