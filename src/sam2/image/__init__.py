"""Still images without state: encode once, decode any number of prompts, from any number of threads."""

from sam2.image.core import EncodedImages, ImagePrompts, MaskResult, decode, encode
from sam2.image.prompts import Prompts
from sam2.image.store import load_encoded, model_hash, save_encoded

__all__ = [
    "EncodedImages",
    "ImagePrompts",
    "MaskResult",
    "Prompts",
    "decode",
    "encode",
    "load_encoded",
    "model_hash",
    "save_encoded",
]
