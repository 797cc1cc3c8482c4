"""The official command for training, on this package.

``python training/train.py -c CONFIG --use-cluster 0 --num-gpus N`` translates an official training YAML, trains on N
GPUs and goes on with what it finds in the folder of results. It is ``sam2 train --from-official-yaml CONFIG --resume``,
started by ``accelerate launch`` where N is above 1; what follows is passed on to it (``--data``, ``--set``, ...).
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sam2.cli.errors import run as sam2

FOLDERS = ("", "sam2", "sam2/configs", "configs")
"""Where official configurations are named from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the official options and train; returns the exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-c", "--config", required=True, help="an official training YAML")
    parser.add_argument("--use-cluster", type=int, default=0, help="only 0 is supported")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine, one a GPU")
    parser.add_argument("--num-nodes", type=int, default=1, help="machines; see 'accelerate launch --help'")
    for name in ("--partition", "--account", "--qos"):
        parser.add_argument(name, help="of a cluster; not used")
    parser.add_argument("-o", "--output", help="folder of results; sam2_logs/CONFIG by default")
    options, rest = parser.parse_known_args(arguments)
    if options.use_cluster or options.num_nodes != 1:
        parser.error("clusters and several machines: run 'accelerate launch --module sam2 train ...' on each of them")
    output = options.output or str(Path("sam2_logs") / Path(options.config).name)
    command = [
        "train",
        "--from-official-yaml",
        find(options.config),
        "--resume",
        "-o",
        output.removesuffix(".yaml"),
        *rest,
    ]
    if options.num_gpus <= 1:
        return sam2(command)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(options.num_gpus)]
    return subprocess.call([*launch, "--module", "sam2", *command])


def find(name: str) -> str:
    """The configuration's file, looked for where the official code has them, with or without ``.yaml``."""
    for folder in FOLDERS:
        for path in (Path(folder) / name, Path(folder) / f"{name}.yaml"):
            if path.is_file():
                return str(path)
    return name


if __name__ == "__main__":
    sys.exit(main())
