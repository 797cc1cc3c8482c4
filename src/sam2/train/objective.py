"""The objective: a batch of clips in, the loss of the SAM 2 recipe out."""

from torch import Tensor, nn

from sam2.modeling.sam2_base import SAM2Base
from sam2.train.data.clip import ClipBatch
from sam2.train.losses import LossConfig
from sam2.train.prompts import PromptConfig


class Objective(nn.Module):
    """What is wrapped for training on several devices: the model, and the recipe that makes a loss of it.

    Args:
        model: is trained; put into training mode by :meth:`train`.
        prompts: the simulated user.
        loss: weights of the terms.
        loss_stride: side of the pixels at which losses are computed, 1, 2 or 4: 1 officially.
        frozen_encoder: trunk and neck are not trained, and are run in evaluation mode without a graph.
        activation_checkpointing: what the trunk, memory attention, the decoder and the losses compute on the way is
            computed again in the backward pass in place of being kept.
    """

    def __init__(
        self,
        model: SAM2Base,
        *,
        prompts: PromptConfig,
        loss: LossConfig,
        loss_stride: int = 1,
        frozen_encoder: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.prompts = prompts
        self.loss = loss
        self.loss_stride = loss_stride
        self.frozen_encoder = frozen_encoder
        self.activation_checkpointing = activation_checkpointing

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        raise NotImplementedError
