"""nano's recipe on the training engine: its model, its data and its objective, in :func:`sam2.train.trainer.train`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from torch import Tensor

from sam2.interop.files import write_file
from sam2.loading.weights import read_checkpoint
from sam2.modeling.backbones.efficientnet_lite import EfficientNetLite
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.checkpoint import CHECKPOINT, has_state, read_state
from sam2.train.config import ModelChoice, TrainConfig, read_config
from sam2.train.log import TrainProgress, print_progress
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.pack import open_packed
from sam2.train.nano.held_out import held_out_records
from sam2.train.nano.imagenet import load_imagenet_weights
from sam2.train.nano.memory_start import start_memory, without_dropout
from sam2.train.nano.objective import NanoObjective
from sam2.train.nano.rates import optim_config
from sam2.train.nano.stream import NanoStream
from sam2.train.optim import WeightAverage, build_optimizer, freeze
from sam2.train.processes import channels_last, prepare
from sam2.train.run import RunConfig
from sam2.train.settings_io import record_to_tree
from sam2.train.setup import start_trackers
from sam2.train.state import Training, seed_everything
from sam2.train.trainer import CONFIG, TrainResult, train

if TYPE_CHECKING:
    from accelerate import Accelerator

RECIPE = "recipe.yaml"
"""What a run was told, in its folder; ``config.yaml`` beside it is the engine's side of that."""

LOG_EVERY = 20
PICTURES = 6


def train_nano(
    config: NanoConfig,
    cache: str | Path,
    folder: str | Path,
    *,
    initial: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    progress: TrainProgress = print_progress,
) -> TrainResult:
    """Train by nano's recipe; ``folder`` is left as :func:`sam2.train.trainer.train` leaves it.

    Args:
        config: what and how.
        cache: folder of the packed photos (:mod:`sam2.train.nano.data.pack`).
        folder: of the run.
        initial: weights to start from; None: seeded ones, and ImageNet's for a convolutional trunk.
        resume: go on from what was saved in ``folder``, if anything; ``config`` may have more steps.
        progress: called after every step.

    Raises:
        FileExistsError: ``folder`` holds a training, and ``resume`` was not asked for.
        FileNotFoundError: nothing is packed in ``cache``, or there are no ImageNet weights.
        ValueError: ``folder`` is of another model.
    """
    cache, folder = Path(cache), Path(folder)

    def set_up(engine: TrainConfig, run_folder: Path, accelerator: "Accelerator", **_: Any) -> Training:
        return _set_up(config, engine, run_folder, accelerator, cache=cache, initial=initial)

    return train(_engine_config(config, folder), folder, resume=resume, progress=progress, set_up=set_up)


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Weights to start from, float32: a file, or those of the run in a folder, averaged."""
    source = Path(source)
    return {
        name: value.float()
        for name, value in read_checkpoint(source / CHECKPOINT if source.is_dir() else source).items()
    }


def is_over(folder: str | Path) -> bool:
    """Whether the run in ``folder`` has done the steps that it was last given."""
    folder = Path(folder)
    if not has_state(folder):
        return False
    return int(read_state(folder)["step"]) >= (read_config(folder / CONFIG).run.steps or 0)


def _engine_config(config: NanoConfig, folder: Path) -> TrainConfig:
    """The engine's side of ``config``. Rates follow from the weights a run starts from; later from its folder."""
    validated = config.validation_objects + (config.validation_clips if config.clip_share else 0)
    engine = TrainConfig(
        name=f"{config.model}, as {RECIPE} says",
        model=ModelChoice(name=config.model, weights=None),
        loss=config.loss,
        run=RunConfig(
            steps=config.steps,
            precision="no",  # the objective's parts choose their own
            save_every=config.save_every,
            evaluate_every=config.validate_every,
            validation_limit=max(1, validated),
            pictures=min(PICTURES, validated),
            log_every=LOG_EVERY,
            seed=config.seed,
            trackers=(),
            device=config.device,
        ),
    )
    return replace(engine, optim=read_config(folder / CONFIG).optim) if has_state(folder) else engine


def _set_up(
    config: NanoConfig,
    engine: TrainConfig,
    folder: Path,
    accelerator: "Accelerator",
    *,
    cache: Path,
    initial: Mapping[str, Tensor] | None,
) -> Training:
    """A training at step 0."""
    seed_everything(config.seed)
    begun = has_state(folder)
    model = _start_model(config, None if begun else cache, initial=initial)
    if not begun:
        engine = replace(engine, optim=optim_config(model, config))
    freeze(model, engine.optim)
    rank, world_size = accelerator.process_index, accelerator.num_processes
    if accelerator.is_main_process:
        write_file(folder / RECIPE, yaml.safe_dump(record_to_tree(config), sort_keys=False))
    start_trackers(accelerator, engine)
    return Training(
        config=engine,
        folder=folder,
        accelerator=accelerator,
        model=model,
        objective=prepare(accelerator, NanoObjective(model, config, rank=rank), fsdp=False),
        optimizer=accelerator.prepare_optimizer(build_optimizer(model, engine.optim)),
        average=WeightAverage(model, config.ema),
        stream=NanoStream(cache, config, rank=rank, world_size=world_size, pin=accelerator.device.type == "cuda"),
        validation=held_out_records(
            cache,
            objects=config.validation_objects,
            clips=config.validation_clips if config.clip_share else 0,
            size=config.final_size,
        ),
        notes={"config": config.model, "image_size": config.final_size, "name": model.config.name},
        total=config.steps,
    )


def _start_model(config: NanoConfig, cache: Path | None, *, initial: Mapping[str, Tensor] | None) -> SAM2Base:
    """The model with the weights it starts from; without ``cache`` its weights do not matter yet."""
    model = build_model(PRESETS[config.model])
    if cache is not None:
        if initial is not None:
            model.load_state_dict(initial)
        elif isinstance(trunk := model.image_encoder.trunk, EfficientNetLite):
            load_imagenet_weights(trunk)
        if config.clip_share > 0 and config.fresh_memory:
            start_memory(model, open_packed(cache))
    without_dropout(model)
    channels_last(model)
    return model
