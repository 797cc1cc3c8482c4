"""``sam2 image``: one photo, or thousands."""

from sam2.cli.image.command import image
from sam2.cli.options import Device, Dtype, Model, Output

__all__ = ["Device", "Dtype", "Model", "Output", "image"]
