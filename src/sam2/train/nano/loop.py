"""The training run: one straight loop over a budget of time or steps, that can be stopped and resumed."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from sam2.modeling.backbones.efficientnet_lite import EfficientNetLite
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.nano import parallel
from sam2.train.nano.clip_step import run_clip_step
from sam2.train.nano.config import TrainConfig
from sam2.train.nano.data.clips import ClipConfig
from sam2.train.nano.data.loader import Batch, ClipBatch, Rescaled, batches, clip_batches
from sam2.train.nano.data.pack import PackedData, open_packed
from sam2.train.nano.data.samples import SampleConfig
from sam2.train.nano.imagenet import load_imagenet_weights
from sam2.train.nano.log import EVERY, RunLog
from sam2.train.nano.memory_start import start_memory, without_dropout
from sam2.train.nano.optim import (
    WeightAverage,
    build_optimizer,
    rate_at,
    reached_parameters,
    restore_optimizer,
    set_rate,
    trained_parameters,
)
from sam2.train.nano.past import draw_past
from sam2.train.nano.simulate import choose_kind
from sam2.train.nano.step import run_step
from sam2.train.nano.validate import validate, validate_tracking
from sam2.train.stopping import StopRequest, listening

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"

_SAMPLES, _PROMPTS, _ROUNDS, _CLIPS = range(4)
"""What chance is drawn for: each has its own stream."""


@dataclass(slots=True)
class Run:
    """All that changes while training, and is saved."""

    config: TrainConfig
    model: SAM2Base
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: WeightAverage
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
    model = build_model(PRESETS[config.model])
    if initial is not None:
        model.load_state_dict(initial)
    elif isinstance(trunk := model.image_encoder.trunk, EfficientNetLite):
        load_imagenet_weights(trunk)
    model.to(torch.device(config.device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parameters = trained_parameters(model, video=config.clip_share > 0)
    optimizer = build_optimizer(parameters, config)
    return Run(config, model, parameters, optimizer, WeightAverage(parameters, config.ema))


def train(run: Run, cache: str | Path, folder: str | Path) -> Run:
    """Train until the budget is used, saving to ``folder``.

    On Ctrl-C or SIGTERM the step at hand is finished and the run saved, so that :func:`resume` goes on from there; on a
    second one ``KeyboardInterrupt`` is raised at once.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parallel.join(run.config.device)
    data = open_packed(cache)
    without_dropout(run.model)
    if run.step == 0 and run.config.clip_share > 0 and run.config.fresh_memory:
        start_memory(run.model, data)
        run.average = WeightAverage(run.parameters, run.config.ema)
    log = RunLog(folder / LOG, images=run.images, silent=parallel.rank() > 0)
    try:
        with listening() as request:
            log.write({"event": "start", "step": run.step, "config": asdict(run.config)})
            _train(run, data, Path(cache), folder, log, request)
    finally:
        log.close()
        parallel.leave()
    return run


def _train(run: Run, data: PackedData, cache: Path, folder: Path, log: RunLog, request: StopRequest) -> None:
    leads = parallel.rank() == 0
    clock = saved = validated = time.monotonic()
    streams = _Streams(run, cache)
    while run.progress < 1:
        batch = streams.take()
        run.elapsed, clock = run.elapsed + time.monotonic() - clock, time.monotonic()
        values, stop = _advance(run, batch, request)
        log.add(values, progress=run.progress)
        if run.step % EVERY == 0 or stop or run.progress >= 1:
            log.flush(step=run.step, progress=run.progress, size=run.model.image_size, images=run.images)
        if stop:
            break
        if leads and clock - validated > 60 * run.config.validate_minutes:
            _validate(run, data, log, request)
            validated = time.monotonic()
        if leads and clock - saved > 60 * run.config.save_minutes:
            save(run, folder)
            saved = time.monotonic()
    if not leads:
        return
    save(run, folder)
    if run.progress >= 1 and _validate(run, data, log, request):
        save(run, folder)
    if run.progress < 1:
        log.write({"event": "interrupted", "step": run.step})


class _Streams:
    """Batches of stills and of clips, at the sizes that the schedule asks for; sets the model's image size."""

    def __init__(self, run: Run, cache: Path) -> None:
        self.run, self.cache = run, cache
        self._images = Rescaled(run.config.sizes, self._open_images)
        self._clips = Rescaled(run.config.clip_sizes, self._open_clips)

    def take(self) -> Batch | ClipBatch:
        """The batch of the run's present step."""
        run, config = self.run, self.run.config
        clips = config.clips_before(run.step)
        if config.is_clip(run.step):
            size, batch = self._clips.take(run.progress, clips)
        else:
            size, batch = self._images.take(run.progress, run.step - clips)
        run.model.set_image_size(size)
        return batch

    def _open_images(self, size: int, first: int) -> Iterator[Batch]:
        config = self.run.config
        return batches(
            self.cache,
            SampleConfig(image_size=size, masks=config.masks),
            batch_size=max(1, round(config.batch_at(size) / parallel.world_size())),
            seed=(config.seed, parallel.rank(), _SAMPLES),
            first=first,
            workers=config.workers,
            pin=config.device.startswith("cuda"),
        )

    def _open_clips(self, size: int, first: int) -> Iterator[ClipBatch]:
        config = self.run.config
        return clip_batches(
            self.cache,
            ClipConfig(image_size=size, masks=config.clip_masks, lengths=config.lengths),
            batch_size=max(1, round(config.clips_at(size) / parallel.world_size())),
            seed=(config.seed, parallel.rank(), _CLIPS),
            first=first,
            workers=config.workers,
            pin=config.device.startswith("cuda"),
        )


def _advance(run: Run, batch: Batch | ClipBatch, request: StopRequest) -> tuple[dict[str, float], bool]:
    """One step of the optimizer; what to log of it, and whether any process wishes to stop."""
    config, progress = run.config, run.progress
    set_rate(run.optimizer, rate_at(progress, config))
    run.model.train()
    clip = isinstance(batch, ClipBatch)
    loss, values = _clip_loss(run, batch) if clip else _image_loss(run, batch)
    loss.backward()
    members = reached_parameters(run.parameters, clip=clip, trunk=config.clip_trunk)
    run.elapsed, wishes = parallel.average_gradients(members, [run.elapsed, float(request.asked)])
    norm = torch.nn.utils.clip_grad_norm_(members, config.clip)
    finite = bool(torch.isfinite(norm))
    if finite:
        run.optimizer.step()
        run.average.update(run.parameters.values())
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    run.images += (batch.images.shape[:2].numel() if clip else len(batch.images)) * parallel.world_size()
    if not finite:
        return {"skipped": 1.0}, wishes > 0
    prefix = "clip_" if clip else ""
    return {f"{prefix}loss": float(loss.detach()), f"{prefix}norm": float(norm), "skipped": 0.0, **values}, wishes > 0


def _image_loss(run: Run, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
    config = run.config
    # Chance follows from the step, so that a resumed run does what it would have done without a break.
    rng = np.random.default_rng([config.seed, parallel.rank(), _PROMPTS, run.step])
    kind = choose_kind(rng, config.simulation.kinds)
    warm = run.progress < config.bce_share
    loss_config = replace(config.loss, pixel="bce") if warm else config.loss
    # The number of rounds is common to all processes: none waits for another.
    shared = np.random.default_rng([config.seed, _ROUNDS, run.step])
    rounds = 1 + int(shared.choice(len(config.simulation.corrections), p=config.simulation.corrections))
    result = run_step(run.model, batch, kind=kind, rounds=rounds, rng=rng, config=config, loss_config=loss_config)
    values = {**result.terms, f"iou_{kind}": result.ious[0]}
    if len(result.ious) > 1:
        values["iou_corrected"] = result.ious[-1]
    return result.loss, values


def _clip_loss(run: Run, batch: ClipBatch) -> tuple[torch.Tensor, dict[str, float]]:
    config = run.config
    rng = np.random.default_rng([config.seed, parallel.rank(), _PROMPTS, run.step])
    shared = np.random.default_rng([config.seed, _ROUNDS, run.step])
    past = draw_past(shared, batch.images.shape[1], run.model.behaviour, config=config.past)
    kind = choose_kind(rng, config.clip_kinds)
    result = run_clip_step(run.model, batch, rng=rng, past=past, kind=kind, config=config, loss_config=config.loss)
    first, last = result.ious
    terms = {f"clip_{name}": value for name, value in result.terms.items()}
    return result.loss, {**terms, "tracked": first, "tracked_last": last, f"tracked_{kind}": first}


def _validate(run: Run, data: PackedData, log: RunLog, request: StopRequest) -> bool:
    """Scores of the averaged weights; False where there is nothing to measure, or a stop was asked for meanwhile."""
    run.average.swap(run.parameters)
    run.model.set_image_size(run.config.sizes[-1][0])
    try:
        objects = run.config.validation_objects
        scores = validate(run.model, data, objects=objects, go_on=lambda: not request.asked)
    finally:
        run.average.swap(run.parameters)
    if scores is None:
        return False
    clicks = scores.clicks
    tracked = {}
    if run.config.clip_share > 0:
        tracked = asdict(validate_tracking(run.model, data, clips=run.config.validation_clips))
    run.scores = {
        "image_size": run.model.image_size,
        "objects": len(scores.objects),
        "box": round(scores.box, 4),
        "one_click": round(clicks[0], 4),
        "five_clicks": round(clicks[-1], 4),
        **{name: round(value, 4) for name, value in tracked.items()},
    }
    log.write({"event": "validation", "step": run.step, "images": run.images, "elapsed": run.elapsed, **run.scores})
    return True


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
        "torch_rng": torch.get_rng_state(),
    }
    partial = Path(folder) / f"{CHECKPOINT}.partial"
    torch.save(content, partial)
    os.replace(partial, Path(folder) / CHECKPOINT)


def load_checkpoint(folder: str | Path) -> dict[str, Any]:
    """What :func:`save` wrote; ``FileNotFoundError`` where there is nothing."""
    return torch.load(Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True)


def is_over(folder: str | Path) -> bool:
    """Whether the run in ``folder`` has used the budget that it was last given."""
    if not (Path(folder) / CHECKPOINT).exists():
        return False
    content = load_checkpoint(folder)
    steps, minutes = content["config"]["steps"], content["config"]["minutes"]
    return content["step"] >= steps if steps is not None else content["elapsed"] >= 60 * minutes


def read_weights(source: str | Path) -> dict[str, torch.Tensor]:
    """Weights to start from: a ``.safetensors`` file, or the averages of the run in a folder."""
    source = Path(source)
    if source.is_dir():
        content = load_checkpoint(source)
        return {**content["model"], **content["average"]}
    return {name: value.float() for name, value in load_file(source).items()}


def resume(config: TrainConfig, folder: str | Path) -> Run:
    """The run that was saved in ``folder``, with ``config`` (which may have a larger budget) from here on.

    Learning rates stay those it began with. Raises ``FileNotFoundError`` where nothing was saved and ``ValueError``
    where the run is of another model.
    """
    content = load_checkpoint(folder)
    if content["config"]["model"] != config.model:
        raise ValueError(f"{folder} holds a run of {content['config']['model']!r}, config.model is {config.model!r}")
    model = build_model(PRESETS[config.model])
    model.load_state_dict(content["model"])
    model.to(torch.device(config.device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parameters = trained_parameters(model, video=config.clip_share > 0)
    optimizer = restore_optimizer(parameters, content["optimizer"])
    average = WeightAverage(parameters, config.ema)
    average.values = {name: content["average"][name].to(config.device) for name in parameters}
    average.updates = content["average_updates"]
    torch.set_rng_state(content["torch_rng"])
    progress = {name: content[name] for name in ("step", "images", "elapsed", "scores")}
    return Run(config, model, parameters, optimizer, average, **progress)
