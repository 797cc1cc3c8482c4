"""Official import path of the shared layers."""

from sam2.modeling.layers import MLP, DropPath, LayerNorm2d
from sam2.modeling.position_encoding import sine_code_1d as get_1d_sine_pe

__all__ = ["MLP", "DropPath", "LayerNorm2d", "get_1d_sine_pe"]
