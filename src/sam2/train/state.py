"""All that changes while training: how it is set up, saved, and restored bit by bit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from sam2.modeling.build import build_model
from sam2.modeling.config import with_postprocessing
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.checkpoint import STATE, random_state, read_state, restore_random_state, write_checkpoint, write_state
from sam2.train.config import TrainConfig, config_to_dict
from sam2.train.data.clip import BadSample
from sam2.train.data.sources import ClipRecord
from sam2.train.lora import merged_state_dict
from sam2.train.optim import WeightAverage
from sam2.train.processes import full_optimizer_state, full_weights, load_optimizer_state, load_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainBatch(Protocol):
    """What one step looks at."""

    @property
    def images(self) -> Tensor:
        """[b, ...] frames."""
        ...

    @property
    def frames(self) -> int:
        """Of each of the b clips; 1 of stills."""
        ...

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "TrainBatch":
        """The same, where it is wanted on ``device``."""
        ...


class TrainBatches(Protocol):
    """Where batches come from. What a batch holds follows from its number, so that resuming is counting."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which the data are gone through once."""
        ...

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """What could not be read so far."""
        ...

    def batches(self, first_step: int = 0) -> Iterator[TrainBatch]:
        """Those of number ``first_step``, ``first_step`` + 1, ... for ever."""
        ...


@dataclass(slots=True)
class Training:
    """A training: its parts, and how far it has come.

    Attributes:
        model: what is trained, with adapters if there are any; never wrapped.
        objective: what has ``model`` inside and makes scalars of a batch, "loss" among them; wrapped for the processes
            that train together.
        notes: what checkpoints say of their configuration.
        total: steps altogether.
        step: steps done.
        evaluated: the step of the last validation; -1 before the first.
        skipped: steps in a row that were not taken, because the loss or the gradient was not finite.
        fruitful: the last step known to have had an object in it, or the one this process began after.
        elapsed: seconds of all processes' clocks, those before a resumption included.
        loss: of the last step, of this process.
        scores: of the last validation.
        best: the best score so far, and the step it was reached at.
        random: of this process, to go back to once the first batch has been drawn.
        clock: when ``elapsed`` was last brought up to date.
    """

    config: TrainConfig
    folder: Path
    accelerator: "Accelerator"
    model: SAM2Base
    objective: nn.Module
    optimizer: Any
    average: WeightAverage | None
    stream: TrainBatches
    validation: Sequence[ClipRecord]
    notes: Mapping[str, Any]
    total: int
    step: int = 0
    evaluated: int = -1
    skipped: int = 0
    fruitful: int = 0
    elapsed: float = 0.0
    loss: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    best: tuple[float, int] | None = None
    random: dict[str, Any] | None = None
    clock: float = field(default_factory=time.monotonic)
    _examined: SAM2Base | None = None

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.accelerator.device

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.step * self.config.run.accumulate / self.stream.steps_per_epoch

    @property
    def is_over(self) -> bool:
        """Whether every step was done."""
        return self.step >= self.total

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint holds: averaged weights where they are averaged, adapters merged, official names.

        Every process has to ask.
        """
        with self._averaged():
            if self.config.lora is not None:
                return merged_state_dict(self.model)
            return full_weights(self.model)

    def examined(self, weights: Mapping[str, Tensor]) -> SAM2Base:
        """A model to validate that has ``weights``: as ``sam2.load`` would make it of a checkpoint, on the device."""
        if self._examined is None:
            behaviour = with_postprocessing(self.model.behaviour, video=True)
            self._examined = build_model(self.model.config, behaviour).eval().requires_grad_(False)
        self._examined.load_state_dict(weights)
        return self._examined.to(self.device)

    def save(self) -> None:
        """Write the state to resume from; every process has to call it. ``OSError`` where that cannot be."""
        from accelerate.utils import gather_object

        now = time.monotonic()
        self.elapsed, self.clock = self.elapsed + now - self.clock, now
        state = {
            "config": config_to_dict(self.config),
            "model": full_weights(self.model),
            "optimizer": full_optimizer_state(self.optimizer),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
            "random": gather_object([random_state(self.device)]),
            **{name: getattr(self, name) for name in _COURSE},
        }
        if self.accelerator.is_main_process:
            write_state(self.folder, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Go on from what was saved in the folder.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: by a training of another model, or with other adapters or trained parts.
        """
        state = read_state(self.folder)
        _check_same(state["config"], config_to_dict(self.config), self.folder)
        load_weights(self.model, state["model"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        for name in _COURSE:
            setattr(self, name, state[name])
        rank = self.accelerator.process_index
        self.random = state["random"][rank] if rank < len(state["random"]) else None

    def write(self, path: Path, weights: Mapping[str, Tensor]) -> None:
        """Write ``weights`` to ``path`` in the official layout; the main process does."""
        course = {
            "epoch": int(self.epoch),
            "loss": {"train": self.loss},
            "steps": {"train": self.step},
            "time_elapsed": self.elapsed,
            "best_meter_values": dict(self.scores),
        }
        write_checkpoint(path, weights, notes=self.notes, course=course)

    def settle_random_state(self) -> None:
        """Seed this process, or go back to the state it was saved in. To be called once the first batch is there.

        Starting the processes that draw batches takes a number from torch's generator, which a training without a break
        does once.
        """
        if self.random is not None:
            restore_random_state(self.random, self.device)
            return
        seed_everything(self.config.run.seed + self.accelerator.process_index)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """What happens in here takes nothing from the generators that training draws from."""
        before = random_state(self.device)
        try:
            yield
        finally:
            restore_random_state(before, self.device)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
            return
        self.average.swap()
        try:
            yield
        finally:
            self.average.swap()


class SetUp(Protocol):
    """From a configuration to the parts of a training at step 0."""

    def __call__(
        self,
        config: TrainConfig,
        folder: Path,
        accelerator: "Accelerator",
        /,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Training:
        """``progress`` is told of long preparations: how much is done, of how much."""
        ...


_COURSE = ("step", "evaluated", "skipped", "elapsed", "loss", "scores", "best")
"""Plain values of a training that are saved as they are."""


def seed_everything(seed: int) -> None:
    """Seed every global generator of random numbers."""
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _check_same(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """What decides which numbers there are must be as it was; data, rates and the number of steps may change."""
    for part in ("model", "lora"):
        if saved.get(part) != now.get(part):
            raise ValueError(
                f"{folder / STATE} was saved by a training with {part} {saved.get(part)}, the configuration has"
                f" {now.get(part)}: train in another folder"
            )
