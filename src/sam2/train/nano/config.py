"""Everything that a training of nano can be told."""

from dataclasses import dataclass, field
from typing import Literal

from sam2.train.losses import LossConfig
from sam2.train.nano.data.loader import Sizes
from sam2.train.nano.past import PastConfig
from sam2.train.nano.simulate import PromptKind, SimulationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NanoConfig:
    """A training run. Defaults are those of the bundled model on two CPU cores.

    Attributes:
        model: a preset's name.
        steps: of the optimizer.
        sizes: (image side, share of the steps), in order.
        batch_size: images a step at 256 px, of all processes; larger sizes take fewer (inversely to the side).
        masks: objects an image.
        learning_rate: of the layers that start from noise.
        trunk_rate: learning rate of a trunk tensor whose weights have a root mean square of 1; in proportion to that,
            within ``trunk_limits``. Folded batch norms leave tensors of very different scales.
        warm_up: share of the steps in which rates rise from zero.
        no_hints: share of steps without the high-resolution hints of drawn prompts, so that the official two calls
            (prompt encoder, mask decoder), which cannot pass them, work too.
        multimask: share of first clicks that are answered by three masks (the rest train the single one).
        ema: decay of the averaged weights.
        amp: compute in bfloat16: "off", "decoder" (what pays off on CPUs) or "all".
        plain_attention: attention as matrix products; faster than fused kernels for a handful of tokens on CPUs.
        device: "auto" takes the accelerator that there is; or "cpu".
        save_every, validate_every: steps between them.
        validation_objects: held-out objects that validation clicks on.
        clip_share: share of steps that are on clips; 0 trains on images alone, and leaves the memory parts as they are.
        clip_sizes: as ``sizes``, of clips.
        clip_batch: clips a step at 256 px; larger sizes take fewer (inversely to the area), but one a process.
        clip_masks: objects a clip.
        validation_clips: clips that validation tracks through, where there are steps on clips.
        clip_trunk: train the image encoder on clips, too; dear.
        memory_rate: learning rate of the memory parts.
        fresh_memory: give the memory parts the start of :mod:`sam2.train.nano.memory_start` at step 0.
        clip_kinds: probability of each kind of prompt on the first frame of a clip.
        lengths: (frames, probability) of clips.
        past: how their frames are remembered.
        loss: plain cross entropy in the place of the focal loss, whose weight of a quarter for an object's pixels makes
            masks too small on little data: on held-out photos a threshold of -0.6 was then better than 0.
    """

    model: str = "nano"
    steps: int
    sizes: Sizes = ((256, 0.5), (384, 0.3), (512, 0.2))
    batch_size: int = 8
    masks: int = 4
    learning_rate: float = 1e-3
    trunk_rate: float = 1e-3
    trunk_limits: tuple[float, float] = (2e-6, 3e-4)
    weight_decay: float = 0.05
    warm_up: float = 0.02
    final_rate: float = 0.01
    clip: float = 1.0
    no_hints: float = 0.15
    multimask: float = 0.85
    ema: float = 0.998
    amp: Literal["off", "decoder", "all"] = "off"
    plain_attention: bool = False
    workers: int = 1
    seed: int = 0
    device: Literal["auto", "cpu"] = "auto"
    save_every: int = 200
    validate_every: int = 500
    validation_objects: int = 100
    clip_share: float = 0.0
    clip_sizes: Sizes = ((256, 0.5), (384, 0.25), (512, 0.25))
    clip_batch: int = 8
    clip_masks: int = 3
    validation_clips: int = 8
    clip_trunk: bool = False
    memory_rate: float = 1e-3
    fresh_memory: bool = True
    clip_kinds: dict[PromptKind, float] = field(default_factory=lambda: {"mask": 0.5, "box": 0.25, "click": 0.25})
    lengths: tuple[tuple[int, float], ...] = ((3, 0.3), (5, 0.4), (8, 0.3))
    past: PastConfig = field(default_factory=PastConfig)
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(pixel="bce"))

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.amp not in ("off", "decoder", "all"):
            raise ValueError(f'amp must be "off", "decoder" or "all", got {self.amp!r}')
        if not 0 <= self.clip_share <= 1:
            raise ValueError(f"clip_share must be in 0..1, got {self.clip_share}")
        for name in ("sizes", "clip_sizes"):
            sizes: Sizes = getattr(self, name)
            total = sum(share for _, share in sizes)
            if not sizes or abs(total - 1) > 1e-6:
                raise ValueError(f"the shares of {name} must sum to 1, got {total} of {sizes}")

    @property
    def final_size(self) -> int:
        """The image side that training ends at, and that the model is meant for."""
        return self.sizes[-1][0]

    def batch_at(self, size: int) -> int:
        """Images a step at image side ``size``."""
        return max(2, round(self.batch_size * 256 / size))

    def clips_at(self, size: int) -> int:
        """Clips a step at image side ``size``."""
        return max(1, round(self.clip_batch * (256 / size) ** 2))

    def is_clip(self, step: int) -> bool:
        """Whether step ``step`` is on clips; they are spread evenly."""
        return self.clips_before(step + 1) > self.clips_before(step)

    def clips_before(self, step: int) -> int:
        """How many of the first ``step`` steps are on clips."""
        return int(step * self.clip_share + 1e-9)
