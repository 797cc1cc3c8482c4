"""Still images without state: encode once, decode any number of prompts, from any number of threads."""

from sam2.image.core import EncodedImages, ImagePrompts, MaskResult, decode, encode
from sam2.image.prompts import Prompts
from sam2.image.store import load_encoded, save_encoded
from sam2.utils.fingerprint import model_hash

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
