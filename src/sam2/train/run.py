"""How a training runs: for how long, in which precision, how often it saves and looks at itself."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["auto", "no", "bf16", "fp16"]

_PRECISIONS = ("auto", "no", "bf16", "fp16")
_AT_LEAST_ONE = ("accumulate", "save_every", "log_every", "validation_limit", "cache_views")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The course of a training. Steps are steps of the optimizer.

    Attributes:
        steps: how many; None: ``epochs`` of them.
        epochs: passes over the training data; the official recipe's 40 where neither is given. Not with ``steps``.
        accumulate: batches whose gradients one step of the optimizer averages.
        precision: "bf16" and "fp16" compute under autocast, and keep weights and losses in float32; "no" computes in
            float32; "fp16" needs CUDA. "auto" is "bf16" where the device computes it natively, else "no".
        activation_checkpointing: recompute blocks of the trunk and layers of memory attention in the backward pass
            in place of keeping what they computed: less memory, about a third more time.
        loss_stride: side of the pixels at which losses are computed: 1 at the input's resolution, as officially; 4
            at that of the decoder's logits, for little memory.
        save_every: steps between saves of everything that a resumed training needs.
        evaluate_every: steps between validations; None: once an epoch, but every 500 steps at most; 0: at the end only.
        evaluate_first: validate before the first step too: what training starts from.
        validation_limit: stills and clips that a validation looks at, at most.
        pictures: predictions drawn at every validation; 0: none.
        log_every: steps that a line of the log averages over.
        keep: numbered checkpoints kept beside the last and the best: of the last ``keep`` validations.
        seed: of weights, samples and prompts. The same seed and configuration give the same training.
        trackers: of Hugging Face Accelerate, by name: "tensorboard", "wandb", ...; none where empty.
        device: "auto" takes the accelerator that there is; or "cpu".
        fsdp: shard weights, gradients and the optimizer's state over processes (on accelerators).
        cache_embeddings: train what comes after the image encoder, on embeddings that are computed once and kept in
            this folder (:mod:`sam2.train.cached`).
        cache_views: of each record that are kept: the first as it is, others augmented.
    """

    steps: int | None = None
    epochs: float | None = None
    accumulate: int = 1
    precision: Precision = "auto"
    activation_checkpointing: bool = False
    loss_stride: int = 1
    save_every: int = 200
    evaluate_every: int | None = None
    evaluate_first: bool = False
    validation_limit: int = 100
    pictures: int = 6
    log_every: int = 10
    keep: int = 0
    seed: int = 123
    trackers: tuple[str, ...] = ("tensorboard",)
    device: Literal["auto", "cpu"] = "auto"
    fsdp: bool = False
    cache_embeddings: str | None = None
    cache_views: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"either steps or epochs, got steps={self.steps} and epochs={self.epochs}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.epochs is not None and not self.epochs > 0:
            raise ValueError(f"epochs must be above 0, got {self.epochs}")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("evaluate_every", "pictures", "keep", "seed"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision must be 'auto', 'no', 'bf16' or 'fp16', got {self.precision!r}")
        if self.device not in ("auto", "cpu"):
            raise ValueError(f"device must be 'auto' or 'cpu', got {self.device!r}")
        if self.loss_stride not in (1, 2, 4):
            raise ValueError(f"loss_stride must be 1, 2 or 4, got {self.loss_stride}")
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("precision 'fp16' needs CUDA: take 'no' or 'bf16' on the CPU")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps of the optimizer altogether, of data of which an epoch is ``steps_per_epoch`` batches long."""
        if self.steps is not None:
            return self.steps
        epochs = 40 if self.epochs is None else self.epochs
        return max(1, round(epochs * steps_per_epoch / self.accumulate))

    def steps_between_validations(self, steps_per_epoch: int) -> int:
        """``evaluate_every`` as a number of steps; 0: at the end only."""
        if self.evaluate_every is not None:
            return self.evaluate_every
        return min(500, max(1, steps_per_epoch // self.accumulate))
