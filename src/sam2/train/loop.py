"""The training run: one straight loop over a budget of time or steps, that can be stopped and resumed."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS, EfficientNetLiteConfig
from sam2.modeling.sam2_base import SAM2Base
from sam2.train import parallel
from sam2.train.config import TrainConfig
from sam2.train.data.loader import Batch, batches
from sam2.train.data.pack import PackedData, open_packed
from sam2.train.data.samples import SampleConfig
from sam2.train.imagenet import load_imagenet_weights
from sam2.train.optim import WeightAverage, build_optimizer, image_parameters, rate_at, set_rate
from sam2.train.simulate import choose_kind
from sam2.train.step import run_step
from sam2.train.validate import validate

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
LOG_EVERY = 20


@dataclass(slots=True)
class Run:
    """All that changes while training, and is saved."""

    config: TrainConfig
    model: SAM2Base
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    rng: np.random.Generator
    step: int = 0
    images: int = 0
    elapsed: float = 0.0
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0..1."""
        if self.config.steps is not None:
            return self.step / self.config.steps
        assert self.config.minutes is not None
        return self.elapsed / (60 * self.config.minutes)


def start(config: TrainConfig, *, initial: dict[str, torch.Tensor] | None = None) -> Run:
    """A run at step 0: seeded weights, the trunk from ImageNet where it is convolutional, or ``initial`` for all."""
    torch.manual_seed(config.seed)
    model_config = PRESETS[config.model]
    model = build_model(model_config)
    if initial is not None:
        model.load_state_dict(initial)
    elif isinstance(model_config.trunk, EfficientNetLiteConfig):
        load_imagenet_weights(model.image_encoder.trunk)
    model.to(config.device, memory_format=torch.channels_last)
    parameters = image_parameters(model)
    optimizer = build_optimizer(parameters, config)
    rng = np.random.default_rng([config.seed, parallel.rank()])
    return Run(config, model, parameters, optimizer, WeightAverage(parameters, config.ema), rng)


def train(run: Run, cache: str | Path, folder: str | Path) -> Run:
    """Train until the budget is used, saving to ``folder``. Ctrl-C saves and returns."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parallel.join(run.config.device)
    leads = parallel.rank() == 0
    data = open_packed(cache)
    log = _Log(folder / LOG, silent=not leads)
    log.write({"event": "start", "step": run.step, "config": asdict(run.config)})
    clock = saved = validated = time.monotonic()
    try:
        for batch in _scheduled_batches(run, Path(cache)):
            run.elapsed, clock = run.elapsed + time.monotonic() - clock, time.monotonic()
            log.add(_advance(run, batch))
            if run.step % LOG_EVERY == 0:
                log.flush(run)
            if leads and clock - validated > 60 * run.config.validate_minutes:
                _validate(run, data, log)
                validated = time.monotonic()
            if leads and clock - saved > 60 * run.config.save_minutes:
                save(run, folder)
                saved = time.monotonic()
            if run.progress >= 1:
                break
    except KeyboardInterrupt:
        log.write({"event": "interrupted", "step": run.step})
        if leads:
            save(run, folder)
        return run
    if leads:
        save(run, folder)
        _validate(run, data, log)
        save(run, folder)
    parallel.leave()
    return run


def _scheduled_batches(run: Run, cache: Path) -> Iterator[Batch]:
    """Batches at the size that the schedule asks for; changes the model's image size as it goes."""
    config = run.config
    while run.progress < 1:
        size = config.size_at(run.progress)
        run.model.set_image_size(size)
        sample = SampleConfig(image_size=size, masks=config.masks)
        stream = batches(
            cache,
            sample,
            batch_size=max(1, round(config.batch_at(size) / parallel.world_size())),
            seed=config.seed + run.step + 1_000_003 * parallel.rank(),
            workers=config.workers,
            pin=config.device.startswith("cuda"),
        )
        for batch in stream:
            yield batch
            if config.size_at(run.progress) != size:
                break


def _advance(run: Run, batch: Batch) -> dict[str, float]:
    """One step of the optimizer; what to log of it."""
    config, progress = run.config, run.progress
    kind = choose_kind(run.rng, config.simulation)
    warm = progress < config.bce_share
    loss_config = replace(config.loss, pixel="bce") if warm else config.loss
    set_rate(run.optimizer, rate_at(progress, config))
    run.model.train()
    # The number of rounds is common to all processes: none waits for another.
    shared = np.random.default_rng([config.seed, run.step])
    rounds = 1 + int(shared.choice(len(config.simulation.corrections), p=config.simulation.corrections))
    result = run_step(
        run.model, batch, kind=kind, rounds=rounds, rng=run.rng, config=config, loss_config=loss_config
    )
    result.loss.backward()
    members = list(run.parameters.values())
    run.elapsed = parallel.average_gradients(members, run.elapsed)
    norm = torch.nn.utils.clip_grad_norm_(members, config.clip)
    finite = bool(torch.isfinite(norm))
    if finite:
        run.optimizer.step()
        run.average.update(members)
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    run.images += len(batch.images) * parallel.world_size()
    values = {"loss": float(result.loss.detach()), "norm": float(norm), "skipped": float(not finite), **result.terms}
    values[f"iou_{kind}"] = result.ious[0]
    if len(result.ious) > 1:
        values["iou_corrected"] = result.ious[-1]
    return values if finite else {"skipped": 1.0}


def _validate(run: Run, data: PackedData, log: "_Log") -> None:
    """Scores of the averaged weights."""
    run.average.swap(run.parameters)
    try:
        scores = validate(run.model, data, objects=run.config.validation_objects)
    finally:
        run.average.swap(run.parameters)
    clicks = scores.clicks
    run.scores = {
        "image_size": run.model.image_size,
        "objects": len(scores.objects),
        "box": round(scores.box, 4),
        "one_click": round(clicks[0], 4),
        "five_clicks": round(clicks[-1], 4),
    }
    log.write({"event": "validation", "step": run.step, "images": run.images, "elapsed": run.elapsed, **run.scores})


def save(run: Run, folder: str | Path) -> None:
    """Write all of ``run`` to the folder's checkpoint, atomically."""
    content = {
        "config": asdict(run.config),
        "model": run.model.state_dict(),
        "average": run.average.values,
        "average_updates": run.average.updates,
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "images": run.images,
        "elapsed": run.elapsed,
        "scores": run.scores,
        "rng": json.dumps(run.rng.bit_generator.state),
        "torch_rng": torch.get_rng_state(),
    }
    partial = Path(folder) / f"{CHECKPOINT}.partial"
    torch.save(content, partial)
    os.replace(partial, Path(folder) / CHECKPOINT)


def load_checkpoint(folder: str | Path) -> dict[str, Any]:
    """What :func:`save` wrote; ``FileNotFoundError`` where there is nothing."""
    return torch.load(Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True)


def resume(config: TrainConfig, folder: str | Path) -> Run:
    """The run that was saved in ``folder``, with ``config`` (which may have a larger budget) from here on."""
    content = load_checkpoint(folder)
    # Rates follow from the weights that training started from: begin as it did, then take what it came to.
    run = start(config)
    run.model.load_state_dict(content["model"])
    device = torch.device(config.device)
    run.average.values = {name: value.to(device) for name, value in content["average"].items()}
    run.average.updates = content["average_updates"]
    run.optimizer.load_state_dict(content["optimizer"])
    run.step, run.images, run.elapsed = content["step"], content["images"], content["elapsed"]
    run.scores = content["scores"]
    if parallel.rank() == 0:
        run.rng.bit_generator.state = json.loads(content["rng"])
    else:
        run.rng = np.random.default_rng([config.seed, parallel.rank(), run.step])
    torch.set_rng_state(content["torch_rng"])
    return run


class _Log:
    """Averages over steps, as JSON lines in a file and short lines on the terminal."""

    def __init__(self, path: Path, *, silent: bool) -> None:
        self.path, self.silent = path, silent
        self.values: dict[str, list[float]] = defaultdict(list)
        self.images = 0
        self.since = self.last = time.monotonic()

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.values[name].append(value)

    def flush(self, run: Run) -> None:
        seconds = time.monotonic() - self.since
        entry: dict[str, Any] = {
            "step": run.step,
            "progress": round(run.progress, 4),
            "size": run.model.image_size,
            "images": run.images,
            "images_per_second": round((run.images - self.images) / seconds, 2),
        }
        entry.update({name: round(float(np.nanmean(v)), 4) for name, v in self.values.items()})
        self.values.clear()
        self.images, self.since = run.images, time.monotonic()
        self.write(entry)

    def write(self, entry: dict[str, Any]) -> None:
        if self.silent:
            return
        with open(self.path, "a") as stream:
            stream.write(json.dumps(entry) + "\n")
        shown = {name: value for name, value in entry.items() if name != "config"}
        print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)
