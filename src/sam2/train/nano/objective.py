"""The objective of nano's recipe, as the training engine wants it: a batch in, the loss and what to log out."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from sam2.modeling.sam2_base import SAM2Base
from sam2.train.nano.clip_step import run_clip_step
from sam2.train.nano.config import NanoConfig
from sam2.train.nano.data.loader import Batch, ClipBatch
from sam2.train.nano.past import draw_past
from sam2.train.nano.simulate import choose_kind
from sam2.train.nano.step import run_step
from sam2.train.nano.stream import Chance, StepBatch

TERMS = ("mask", "dice", "iou", "presence")
_KINDS = ("box", "click", "mask")
LOGGED = (
    *("still_loss", "first_iou", "last_iou", *TERMS, *(f"iou_{kind}" for kind in _KINDS)),
    *("clip_loss", "tracked", "tracked_last", *(f"clip_{term}" for term in TERMS)),
    *(f"tracked_{kind}" for kind in _KINDS),
)
"""What a step reports beside its loss: not a number where the step is not of that kind."""


class NanoObjective(nn.Module):
    """What is wrapped for training on several devices: the model, and the recipe that makes a loss of it.

    Args:
        model: is trained; takes on the size of each batch.
        config: of the run.
        rank: of this process: each draws its own prompts.
    """

    def __init__(self, model: SAM2Base, config: NanoConfig, *, rank: int = 0) -> None:
        super().__init__()
        self.model, self.config, self.rank = model, config, rank

    def forward(self, batch: StepBatch) -> dict[str, Tensor]:
        """Scalars, of which "loss" alone can be differentiated; the others are :data:`LOGGED`.

        "first_iou" and "last_iou" are mean IoUs with the truth after the first prompt and the last correction,
        "tracked" and "tracked_last" those of all tracked frames and of the last one.
        """
        device = self.model.device
        self.model.set_image_size(batch.images.shape[-2])
        # Each part chooses its own precision.
        with torch.autocast(device.type, enabled=False):
            if isinstance(batch.batch, ClipBatch):
                loss, values = self._clips(batch.batch, batch.step)
            else:
                loss, values = self._stills(batch.batch, batch.step)
        found = {name: torch.tensor(values.get(name, math.nan), device=device) for name in LOGGED}
        return {"loss": loss, **found}

    def _stills(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        rng = self._rng(Chance.PROMPTS, step)
        kind = choose_kind(rng, config.simulation.kinds)
        # The number of rounds is common to all processes: none waits for another.
        shares = config.simulation.corrections
        rounds = 1 + int(self._shared(Chance.ROUNDS, step).choice(len(shares), p=shares))
        result = run_step(self.model, batch, kind=kind, rounds=rounds, rng=rng, config=config)
        first, last = result.ious[0], result.ious[-1]
        overlaps = {"first_iou": first, "last_iou": last, f"iou_{kind}": first}
        return result.loss, {"still_loss": float(result.loss.detach()), **overlaps, **result.terms}

    def _clips(self, batch: ClipBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        config, model = self.config, self.model
        rng = self._rng(Chance.PROMPTS, step)
        frames = batch.images.shape[1]
        past = draw_past(self._shared(Chance.ROUNDS, step), frames, model.behaviour, config=config.past)
        kind = choose_kind(rng, config.clip_kinds)
        result = run_clip_step(model, batch, rng=rng, past=past, kind=kind, config=config)
        first, last = result.ious
        overlaps = {"tracked": first, "tracked_last": last, f"tracked_{kind}": first}
        terms = {f"clip_{name}": value for name, value in result.terms.items()}
        return result.loss, {"clip_loss": float(result.loss.detach()), **overlaps, **terms}

    def _rng(self, stream: Chance, step: int) -> np.random.Generator:
        """Chance follows from the step, so that a resumed run does what it would have done without a break."""
        return np.random.default_rng([self.config.seed, self.rank, stream, step])

    def _shared(self, stream: Chance, step: int) -> np.random.Generator:
        """The same in all processes."""
        return np.random.default_rng([self.config.seed, stream, step])
