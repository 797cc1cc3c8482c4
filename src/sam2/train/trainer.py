"""The training: one straight loop on Hugging Face Accelerate, that can be stopped, killed and resumed.

Started by ``sam2 train``, by a script, or by any launcher of several processes (``accelerate launch``, ``torchrun``).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from sam2.eval.validate import validate_records
from sam2.train.checkpoint import BEST, CHECKPOINT, NUMBERED, has_state
from sam2.train.config import TrainConfig, write_config
from sam2.train.curve import draw_curve
from sam2.train.log import TrainLog, TrainProgress, forget_after, print_progress, read_log
from sam2.train.optim import set_rates
from sam2.train.pictures import draw_predictions
from sam2.train.processes import clip_gradients, open_accelerator, without_sync
from sam2.train.setup import check_folder, set_up
from sam2.train.state import SetUp, TrainBatch, Training
from sam2.train.stopping import StopRequest, listening

if TYPE_CHECKING:
    from accelerate import Accelerator

MAX_SKIPPED = 20
"""Steps in a row whose loss or gradient is not finite, after which training fails."""

TELL_SECONDS = 5.0
"""Between messages about embeddings that are being computed."""

CONFIG = "config.yaml"
CURVE = "curve.png"
PICTURES = "pictures"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came of a training.

    Attributes:
        folder: where everything is.
        checkpoint: the weights of the last step.
        best: the weights with the best score; None where there is nothing to validate on.
        step, total: steps done, and asked for.
        stopped: it was asked to stop before it was done, and can be resumed.
        scores: of the last validation: "score" and what it is the mean of.
        best_score: the best "score".
        elapsed: seconds.
    """

    folder: Path
    checkpoint: Path
    best: Path | None
    step: int
    total: int
    stopped: bool
    scores: dict[str, float]
    best_score: float | None
    elapsed: float


def train(
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: TrainProgress = print_progress,
    set_up: SetUp = set_up,
) -> TrainResult:
    """Train, leaving in ``folder`` checkpoints, log, curve, pictures and what is needed to resume.

    On Ctrl-C or SIGTERM the step at hand is finished and everything saved; on a second one ``KeyboardInterrupt`` is
    raised at once. Where several processes were launched, each calls this; ``folder`` is common to all.

    Args:
        config: what, on which data, how.
        folder: made if need be.
        resume: go on from what was saved in ``folder``, to the bits that a training without a break comes to. A folder
            in which nothing was saved yet is begun from the start.
        progress: called on the main process after every step; prints lines by default.
        set_up: makes the training's parts; another recipe brings its own model, batches and objective.

    Returns:
        The result; ``stopped`` tells whether to resume.

    Raises:
        FileExistsError: ``folder`` holds a training, and ``resume`` was not asked for.
        ValueError, FileNotFoundError, TypeError: a configuration that does not work, and why.
        ImportError: without the extra ``train``.
        RuntimeError: the loss is not finite again and again, or too many samples are bad.
        OSError: the disk is full; what was saved before is still there.
    """
    folder = Path(folder).expanduser()
    check_folder(folder, resume=resume)
    resume = resume and has_state(folder)
    with open_accelerator(config.run, folder) as accelerator:
        training = set_up(config, folder, accelerator, progress=_filling(progress, accelerator))
        if resume:
            training.restore()
        if accelerator.is_main_process:
            write_config(training.config, folder / CONFIG)
            forget_after(folder, training.step)
        log = TrainLog(accelerator, folder, total=training.total, progress=progress)
        with listening() as request:
            stopped = _run(training, log, request)
        if accelerator.is_main_process:
            draw_curve(read_log(folder), folder / CURVE)
        return _result(training, stopped=stopped)


def _filling(progress: TrainProgress, accelerator: "Accelerator") -> Callable[[int, int], None]:
    """Tells ``progress`` of embeddings that are being computed, on the main process, every few seconds."""
    told = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal told
        if accelerator.is_main_process and (done == total or time.monotonic() - told > TELL_SECONDS):
            told = time.monotonic()
            progress(0, 0, {"event": "embeddings", "done": done, "of": total})

    return show


def _run(training: Training, log: TrainLog, request: StopRequest) -> bool:
    """Step after step, validating and saving in between; whether it was stopped before the end."""
    run = training.config.run
    batches = _batches(training) if not training.is_over else iter(())
    training.fruitful = training.step
    stopped = False
    while True:
        if not stopped and _is_due(training):
            stopped = _evaluate(training, log, request)
        if training.is_over or stopped:
            break
        stopped = _step(training, batches, log, request)
        if training.step % run.log_every == 0 or training.is_over or stopped:
            means = log.flush(training.step, epoch=training.epoch, **_rates(training), **_bad_samples(training))
            _mind_emptiness(training, log, objects=means.get("objects"))
        if training.step % run.save_every == 0:
            _save(training, log)
        log.show(training.step)
    _save(training, log)
    return stopped


def _is_due(training: Training) -> bool:
    """Whether it is time to validate, and was not done yet."""
    run, step = training.config.run, training.step
    every = run.steps_between_validations(training.stream.steps_per_epoch)
    if step == training.evaluated:
        return False
    return run.evaluate_first if step == 0 else training.is_over or (every > 0 and step % every == 0)


def _step(training: Training, batches: Iterator[TrainBatch], log: TrainLog, request: StopRequest) -> bool:
    """One step of the optimizer; whether any process was asked to stop."""
    accelerator, config = training.accelerator, training.config
    set_rates(training.optimizer, training.step, training.total, config.optim)
    training.objective.train()
    sums: dict[str, Tensor] = {}
    images = 0
    for number in range(config.run.accumulate):
        batch = next(batches).to(training.device, non_blocking=True)
        with without_sync(accelerator, training.objective, last=number + 1 == config.run.accumulate):
            with accelerator.autocast():
                terms = training.objective(batch)
            accelerator.backward(terms["loss"])
        for name, value in terms.items():
            sums[name] = sums.get(name, 0) + value.detach() / config.run.accumulate
        images += batch.images.shape[0] * batch.frames
    norm = clip_gradients(accelerator, training.objective, config.optim.clip)
    finite, stop = _agree(training, bool(torch.isfinite(sums["loss"]) & torch.isfinite(norm)), request.asked)
    if finite:
        training.loss = float(sums["loss"])
        training.optimizer.step()
        if training.average is not None:
            training.average.update()
        sums["norm"] = norm
    elif accelerator.scaler is not None:
        accelerator.scaler.update()  # a smaller scale next time
    training.optimizer.zero_grad(set_to_none=True)
    training.step += 1
    sums["skipped"] = torch.tensor(float(not finite))
    _count_skipped(training, finite)
    log.add(sums, images=images)
    return stop


def _agree(training: Training, finite: bool, asked: bool) -> tuple[bool, bool]:
    """Whether the numbers of all processes are finite, and whether any was asked to stop: the same answer for all."""
    if training.accelerator.num_processes == 1:
        return finite, asked
    flags = torch.tensor([float(not finite), float(asked)], device=training.device)
    reduced = training.accelerator.reduce(flags, reduction="sum")
    assert isinstance(reduced, Tensor)
    bad, wishes = reduced.tolist()
    return bad == 0, wishes > 0


def _count_skipped(training: Training, finite: bool) -> None:
    training.skipped = 0 if finite else training.skipped + 1
    if training.skipped >= MAX_SKIPPED:
        raise RuntimeError(
            f"the loss or its gradient was not finite in {MAX_SKIPPED} steps in a row, up to step {training.step}:"
            " lower optim.learning_rate, or look at the data; what was saved before is still there"
        )


def _mind_emptiness(training: Training, log: TrainLog, *, objects: float | None) -> None:
    """Say so when an epoch had no object in it: single samples may be empty, but nothing is learnt of such data."""
    if objects != 0:
        training.fruitful = training.step
        return
    epoch = max(1, training.stream.steps_per_epoch // training.config.run.accumulate)
    if training.step - training.fruitful >= min(epoch, training.total):
        cause = f"no sample of steps {training.fruitful + 1} to {training.step} has an object: see 'sam2 data check'"
        log.write(training.step, {"event": "nothing to learn", "cause": cause})
        training.fruitful = training.step


def _evaluate(training: Training, log: TrainLog, request: StopRequest) -> bool:
    """Validate the weights as they would be saved, on the main process; the others wait. Whether to stop."""
    log.pause()
    weights = training.weights()
    if training.accelerator.is_main_process:
        with training.undisturbed(), training.accelerator.autocast():
            _examine(training, weights, log, request)
    training.accelerator.wait_for_everyone()
    _, stop = _agree(training, True, request.asked)
    if not stop:
        training.evaluated = training.step
    log.go_on()
    return stop


def _examine(training: Training, weights: dict[str, Tensor], log: TrainLog, request: StopRequest) -> None:
    run, folder, step = training.config.run, training.folder, training.step
    if not len(training.validation):
        return
    model = training.examined(weights)
    try:
        scores = validate_records(
            model, training.validation, limit=run.validation_limit, go_on=lambda: not request.asked
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of records, none of which can be used: no reason to end what took hours
        log.write(step, {"event": "validation failed", "cause": str(error)})
        return
    if request.asked or "score" not in scores:
        return
    training.scores = {name: float(value) for name, value in scores.items()}
    log.write(step, {"event": "validation", "epoch": training.epoch, **training.scores})
    if training.best is None or training.scores["score"] > training.best[0]:
        training.best = (training.scores["score"], step)
        training.write(folder / BEST, weights)
    if run.keep:
        training.write(folder / NUMBERED / f"{step}.pt", weights)
        for old in _numbered(folder)[: -run.keep]:
            old.unlink()
    if run.pictures:
        sheet = draw_predictions(model, training.validation, count=run.pictures)
        if sheet is not None:
            (folder / PICTURES).mkdir(exist_ok=True)
            Image.fromarray(sheet).save(folder / PICTURES / f"{step}.png")


def _numbered(folder: Path) -> list[Path]:
    """Numbered checkpoints, oldest first."""
    paths = (path for path in (folder / NUMBERED).glob("*.pt") if path.stem.isdigit())
    return sorted(paths, key=lambda path: int(path.stem))


def _save(training: Training, log: TrainLog) -> None:
    """The state to resume from, and the weights to use."""
    log.pause()
    training.save()
    weights = training.weights()
    if training.accelerator.is_main_process:
        training.write(training.folder / CHECKPOINT, weights)
    training.accelerator.wait_for_everyone()
    log.go_on()


def _batches(training: Training) -> Iterator[TrainBatch]:
    """Batches from the next one on; the first is drawn before the random state is set."""
    batches = training.stream.batches(training.step * training.config.run.accumulate)
    first = next(batches)
    training.settle_random_state()
    return chain([first], batches)


def _rates(training: Training) -> dict[str, float]:
    """The least and the greatest learning rate."""
    rates = [float(group["lr"]) for group in training.optimizer.param_groups]
    return {"rate": max(rates), "lowest_rate": min(rates)}


def _bad_samples(training: Training) -> dict[str, int]:
    """How many records had to be skipped so far, if any."""
    count = len(training.stream.bad_samples)
    return {"bad_samples": count} if count else {}


def _result(training: Training, *, stopped: bool) -> TrainResult:
    folder = training.folder
    return TrainResult(
        folder=folder,
        checkpoint=folder / CHECKPOINT,
        best=folder / BEST if training.best is not None else None,
        step=training.step,
        total=training.total,
        stopped=stopped,
        scores=dict(training.scores),
        best_score=None if training.best is None else training.best[0],
        elapsed=training.elapsed,
    )
