"""The model of an evaluation: said once, loaded in each process."""

from dataclasses import dataclass

import torch

from sam2.build_sam import load_pretrained
from sam2.loading.devices import resolve_device, resolve_dtype
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.allocator import keep_freed_memory


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """A model by name, as :func:`sam2.load` takes it.

    Attributes:
        name: a known name, or a checkpoint.
        device: None picks cuda, mps, xpu, cpu. "cuda" without a number is spread over all GPUs.
        dtype: "auto", "float32", ...
        postprocessing: what the official builders add by ``apply_postprocessing``: fill small holes in masks of
            videos, and fall back on the best of three masks where the single one is unstable.
    """

    name: str
    device: str | None = None
    dtype: str = "auto"
    postprocessing: bool = True

    def settled(self) -> dict[str, str]:
        """Model, device and dtype as they will be, without loading anything.

        Raises:
            ValueError: no such device or dtype.
        """
        device = resolve_device(self.device)
        dtype = str(resolve_dtype(self.dtype, device)).removeprefix("torch.")
        return {"model": self.name, "device": str(device), "dtype": dtype}

    def load(self, worker: int = 0) -> SAM2Base:
        """The model, in evaluation mode. This process keeps freed memory from now on, which is faster."""
        keep_freed_memory()
        device = self.device_of(worker)
        return load_pretrained(
            self.name, device=device, dtype=self.dtype, apply_postprocessing=self.postprocessing, for_video=True
        )

    def device_of(self, worker: int) -> torch.device:
        """The device of a worker: GPUs take turns."""
        device = resolve_device(self.device)
        if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
            return torch.device("cuda", worker % torch.cuda.device_count())
        return device
