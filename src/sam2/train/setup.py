"""From a configuration to the parts of a training."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2.loading.locate import find_config, preset_of
from sam2.loading.official_yaml import parse_official
from sam2.loading.resolve import resolve_model
from sam2.loading.weights import load_strict, read_checkpoint
from sam2.modeling.build import build_model
from sam2.modeling.config import HieraConfig, ModelConfig
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.cached import FillProgress, cached_stream, freeze_encoder
from sam2.train.checkpoint import STATE, has_state
from sam2.train.config import ModelChoice, TrainConfig, config_to_dict
from sam2.train.data.opening import open_training
from sam2.train.data.stream import TrainStream
from sam2.train.lora import add_lora
from sam2.train.objective import Objective
from sam2.train.optim import WeightAverage, build_optimizer, freeze
from sam2.train.processes import channels_last, prepare
from sam2.train.state import Training, seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator

_WEIGHTS = (".pt", ".pth", ".safetensors")


def check_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder of a training. ``FileExistsError`` where it holds one that is not to be resumed."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: a training needs a folder")
    if has_state(folder) and not resume:
        raise FileExistsError(f"{folder / STATE} is there already: resume that training, or take another folder")
    folder.mkdir(parents=True, exist_ok=True)


def set_up(
    config: TrainConfig, folder: Path, accelerator: "Accelerator", *, progress: FillProgress | None = None
) -> Training:
    """A training at step 0, with the weights that it starts from.

    Embeddings that are to be kept and are not there yet are computed; ``progress`` is told of it.

    Raises:
        ValueError, FileNotFoundError, OSError: a model, weights or data that cannot be used, and why.
    """
    run = config.run
    seed_everything(run.seed)
    sources, validation = open_training(config.data)
    place = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    stream = TrainStream(config.data, seed=run.seed, sources=sources, **place)
    model, notes = open_model(config.model, config.data.image_size)
    if not run.fsdp:  # which takes weights in the plain layout only
        channels_last(model)
    if run.cache_embeddings is not None:
        stream = cached_stream(
            model.to(accelerator.device), stream, run.cache_embeddings, views=run.cache_views, progress=progress
        )
    _choose_trained(model, config)
    frozen_encoder = not any(weight.requires_grad for weight in model.image_encoder.parameters())
    objective = Objective(
        model,
        prompts=config.prompts,
        loss=config.loss,
        loss_stride=run.loss_stride,
        frozen_encoder=frozen_encoder,
        activation_checkpointing=run.activation_checkpointing,
    )
    prepared = prepare(accelerator, objective, fsdp=run.fsdp)
    start_trackers(accelerator, config)
    return Training(
        config=config,
        folder=folder,
        accelerator=accelerator,
        model=model,
        objective=prepared,
        optimizer=accelerator.prepare_optimizer(build_optimizer(model, config.optim)),
        average=None if config.optim.ema is None else WeightAverage(model, config.optim.ema),
        stream=stream,
        validation=validation,
        notes=notes,
        total=run.total_steps(stream.steps_per_epoch),
    )


def _choose_trained(model: SAM2Base, config: TrainConfig) -> None:
    """Give ``model`` its adapters, and let only those parameters ask for gradients that are to be trained."""
    if config.lora is not None:
        if config.run.fsdp:
            raise ValueError("lora and fsdp do not go together: adapters leave nothing that is worth sharding")
        add_lora(model, config.lora)
    if config.run.cache_embeddings is not None:
        freeze_encoder(model)
    freeze(model, config.optim)


def open_model(choice: ModelChoice, image_size: int) -> tuple[SAM2Base, Mapping[str, Any]]:
    """The model that is trained, float32 on the CPU, and what checkpoints note of it.

    Raises:
        ValueError, FileNotFoundError, OSError: no such model, or weights that do not fit it.
    """
    suffix = Path(choice.name).suffix
    if suffix in (".yaml", ".yml") and choice.weights == "pretrained" and preset_of(choice.name) is None:
        raise ValueError(
            f"model.weights is 'pretrained', but {choice.name} is a configuration, which has none: name a checkpoint,"
            " or set it to null for random weights"
        )
    is_file = suffix in _WEIGHTS
    found = resolve_model(choice.name) if is_file or choice.weights == "pretrained" else None
    tree = find_config(choice.name) if found is None else found.tree
    official = parse_official(tree)
    model = build_model(_adapted(official.config, choice, image_size), official.behaviour)
    if choice.weights == "pretrained":
        assert found is not None
        load_strict(model, found.state_dict, source=found.source)
    elif choice.weights is not None:
        load_strict(model, read_checkpoint(choice.weights), source=choice.weights)
    preset = preset_of(choice.name)
    return model, {"config": preset or tree, "image_size": model.image_size, "name": model.config.name}


def start_trackers(accelerator: "Accelerator", config: TrainConfig) -> None:
    """Begin a run in every tracker, and tell it the configuration."""
    values = dict(_flat(config_to_dict(config)))
    accelerator.init_trackers("sam2")
    for tracker in accelerator.trackers:
        if tracker.name != "tensorboard":
            tracker.store_init_configuration(values)
        elif accelerator.is_main_process:  # whose table of hyperparameters makes a folder and a curve of its own
            tracker.tracker.add_text("config", "\n\n".join(f"{name}: {value}" for name, value in values.items()))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """``{"run.steps": "100", ...}``: what every tracker can show."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _adapted(config: ModelConfig, choice: ModelChoice, image_size: int) -> ModelConfig:
    """``config`` at the size that training uses, with the dropout rates of ``choice``."""
    if choice.drop_path is not None:
        if not isinstance(config.trunk, HieraConfig):
            raise ValueError(f"model.drop_path: {config.name} has no Hiera, leave it out")
        config = replace(config, trunk=replace(config.trunk, drop_path_rate=choice.drop_path))
    if choice.dropout is not None:
        config = replace(config, memory=replace(config.memory, dropout=choice.dropout))
    return replace(config, image_size=choice.image_size or image_size)
