"""A configuration in words, before it is trained: what the model has to learn, and what there is to learn from."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from sam2.loading.locate import preset_of
from sam2.train.cached import freeze_encoder
from sam2.train.config import TrainConfig
from sam2.train.data.opening import open_training
from sam2.train.data.sources import open_records
from sam2.train.data.stream import TrainStream
from sam2.train.lora import add_lora
from sam2.train.optim import build_optimizer, freeze
from sam2.train.setup import open_model


def describe_model(config: TrainConfig) -> Iterator[str]:
    """Lines: how many parameters there are, how many are trained, at which rates. No weights are read or downloaded
    for the models known by name.

    Raises:
        ValueError, FileNotFoundError: the model, adapters, frozen parts or rates do not fit together.
    """
    choice = config.model
    if preset_of(choice.name) is not None:
        choice = replace(choice, weights=None)
    with torch.device("meta"):
        model, _ = open_model(choice, config.data.image_size)
        if config.lora is not None:
            add_lora(model, config.lora)
    if config.run.cache_embeddings is not None:
        freeze_encoder(model)
    freeze(model, config.optim)
    optimizer = build_optimizer(model, config.optim)
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    rates = [group["base_lr"] for group in optimizer.param_groups]
    yield f"model: {model.config.name} at {model.image_size} px, {_millions(total)} parameters"
    yield (
        f"trained: {_millions(trained)} of them ({100 * trained / total:.1f} %), in {len(rates)} groups "
        f"with rates {min(rates):.3g} to {max(rates):.3g}"
    )


def describe_data(config: TrainConfig) -> Iterator[str]:
    """Lines: what each source holds, what is held out, how long an epoch and the training are.

    Raises:
        ValueError, FileNotFoundError: data that cannot be opened.
    """
    for source in config.data.train:
        records = open_records(source)
        kind = "videos" if records.videos else "images"
        yield f"data: {source.title}: {len(records)} {kind}, format {records.format}"
        yield from (f"  {note}" for note in records.notes)
    sources, validation = open_training(config.data)
    stream = TrainStream(config.data, seed=config.run.seed, sources=sources)
    learnt = sum(len(source.records) for source in sources)
    yield f"records: {learnt} to train on, {len(validation)} to validate on"
    epoch = stream.steps_per_epoch
    total = config.run.total_steps(epoch)
    passes = total * config.run.accumulate / epoch
    yield f"steps: {total} in a process alone, {passes:.3g} passes over the data ({epoch} batches each)"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} million"
