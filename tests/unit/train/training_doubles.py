"""What tests of the trainer share: a small model as a configuration file, data made in code, a process of its own.

Run as a script it trains: ``python training_doubles.py FOLDER DATA '{"steps": 4}'``.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

import sam2
from sam2.loading.locate import find_config
from sam2.train.config import ModelChoice, TrainConfig
from sam2.train.data.config import NO_AUGMENTATION, DataConfig
from sam2.train.data.sources import SourceConfig
from sam2.train.log import TrainProgress, print_progress
from sam2.train.optim import OptimConfig
from sam2.train.run import RunConfig
from sam2.train.trainer import TrainResult, train

SOURCE = Path(sam2.__file__).resolve().parent.parent


def small_model_yaml(folder: Path) -> Path:
    """A configuration file, in the official schema, of a model of some 350 thousand weights."""
    tree = find_config("sam2.1_hiera_tiny")
    model = tree["model"]
    width, memory = 32, 8
    model["image_size"] = 256
    model["decoder"] = {"mlp_dim": 64}
    trunk, neck = model["image_encoder"]["trunk"], model["image_encoder"]["neck"]
    trunk.update(embed_dim=16, stages=[1, 1, 1, 1], global_att_blocks=[2])
    neck.update(d_model=width, backbone_channel_list=[128, 64, 32, 16])
    neck["position_encoding"]["num_pos_feats"] = width
    attention, encoder = model["memory_attention"], model["memory_encoder"]
    attention.update(d_model=width, num_layers=1)
    attention["layer"].update(d_model=width, dim_feedforward=64)
    attention["layer"]["self_attention"]["embedding_dim"] = width
    attention["layer"]["cross_attention"].update(embedding_dim=width, kv_in_dim=memory)
    encoder.update(in_dim=width, out_dim=memory)
    encoder["position_encoding"]["num_pos_feats"] = memory
    encoder["mask_downsampler"]["embed_dim"] = width
    encoder["fuser"]["layer"]["dim"] = width
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def make_discs(folder: Path, *, count: int = 8, size: int = 64) -> Path:
    """Pictures of a disc on noise, and its masks: a data set of image and mask pairs."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        x, y = rng.integers(size // 4, 3 * size // 4, 2)
        disc = (columns - x) ** 2 + (rows - y) ** 2 < rng.integers(size // 10, size // 4) ** 2
        picture = rng.integers(0, 80, (size, size, 3), np.uint8)
        picture[disc] = rng.integers(120, 255, 3)
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    return folder


def small_training(
    model: Path, data: Path, *, clips: float = 0.5, batch_size: int = 1, workers: int = 0, **run: Any
) -> TrainConfig:
    """Stills and made clips of three frames at 256 px, with dropout, on the CPU; ``run`` goes to its ``RunConfig``."""
    return TrainConfig(
        name="small",
        model=ModelChoice(name=str(model), weights=None, image_size=256),
        data=DataConfig(
            train=(SourceConfig(path=str(data)),),
            held_out=0.25,
            frames=3,
            image_size=256,
            batch_size=batch_size,
            stills_as_clips=clips,
            workers=workers,
            augment=NO_AUGMENTATION,
        ),
        optim=OptimConfig(learning_rate=1e-3, encoder_rate=None, ema=0.9),
        run=RunConfig(
            **{
                "steps": 4,
                "precision": "no",
                "device": "cpu",
                "trackers": (),
                "log_every": 1,
                "evaluate_every": 0,
                "pictures": 0,
                "validation_limit": 1,
                "loss_stride": 4,
                **run,
            }
        ),
    )


def silent(step: int, total: int, entry: Any) -> None:
    """No progress."""


def stopping_at(stop: int | None) -> TrainProgress:
    """Progress that prints, and asks this process to stop after step ``stop``."""

    def show(step: int, total: int, entry: Mapping[str, Any]) -> None:
        print_progress(step, total, entry)
        if step == stop:
            signal.raise_signal(signal.SIGTERM)

    return show


def run_small(folder: Path, data: Path, *, resume: bool = False, **options: Any) -> TrainResult:
    """Train the small model on ``data`` in this process."""
    config = small_training(small_model_yaml(data), data, **options)
    return train(config, folder, resume=resume, progress=silent)


def command(folder: Path, data: Path, **options: Any) -> list[str]:
    """The same in a process of its own; ``resume``, ``dropout``, ``stop_at`` and what ``small_training`` takes."""
    return [sys.executable, str(Path(__file__)), str(folder), str(data), json.dumps(options)]


def environment(**more: str) -> dict[str, str]:
    """Of such a process."""
    paths = [str(SOURCE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", **more}


def run_together(arguments: list[str], count: int) -> None:
    """Run ``arguments`` as ``count`` processes, without a GPU, that find each other as those of torchrun do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["CUDA_VISIBLE_DEVICES"] = ""
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count))
    processes = [
        subprocess.Popen(arguments, env=environment(**shared, **rank), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in ranks
    ]
    try:
        outputs = [process.communicate(timeout=120)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)


def main() -> None:
    """Train as the command line says; prints a line a step."""
    folder, data, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    resume, dropout = options.pop("resume", False), options.pop("dropout", None)
    progress = stopping_at(options.pop("stop_at", None))
    config = small_training(data / "small.yaml", data, **options)
    if dropout is not None:
        config = replace(config, model=replace(config.model, dropout=dropout))
    train(config, folder, resume=resume, progress=progress)


if __name__ == "__main__":
    main()
