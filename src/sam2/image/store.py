"""Image features on disk: safetensors, bound to the weights that made them."""

import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sam2.image.core import EncodedImages, one_layout
from sam2.modeling.sam2_base import SAM2Base
from sam2.utils.fingerprint import model_hash

FORMAT = "sam2-image-features-1"
_NAMES = ("embed", "high_res_0", "high_res_1")


def save_encoded(path: str | Path, encoded: EncodedImages, model: SAM2Base) -> None:
    """Write features to a safetensors file; an existing file is replaced only when the new one is complete.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "model": model.config.name,
        "model_hash": model_hash(model),
        "image_size": str(encoded.image_size),
        "sizes": json.dumps(encoded.sizes),
        "dtype": str(encoded.embed.dtype).removeprefix("torch."),
    }
    maps = (encoded.embed, *encoded.high_res)
    tensors = {name: x.detach().cpu().clone().contiguous() for name, x in zip(_NAMES, maps, strict=True)}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, name, metadata)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_encoded(path: str | Path, model: SAM2Base) -> EncodedImages:
    """Read features that ``model`` made, onto its device.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one of image features, is damaged, or comes of other weights or another size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such features file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_origin(path, metadata, model)
            embed, fine, middle = (one_layout(file.get_tensor(name).to(model.device)) for name in _NAMES)
            sizes = tuple((int(h), int(w)) for h, w in json.loads(metadata["sizes"]))
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a complete file of image features: {error}") from error
    return EncodedImages(embed, (fine, middle), sizes)


def _check_origin(path: Path, metadata: dict[str, str], model: SAM2Base) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} holds no image features of this package (format {metadata.get('format')!r})")
    made_by, size = metadata.get("model", "an unknown model"), metadata.get("image_size")
    if size != str(model.image_size):
        raise ValueError(
            f"{path} was made by {made_by} at image_size {size}, this is {model.config.name} at {model.image_size}"
        )
    if metadata.get("model_hash") != model_hash(model):
        raise ValueError(
            f"{path} was made by {made_by} with weights {metadata.get('model_hash', '')[:8]} "
            f"({metadata.get('dtype')} features), this is {model.config.name} with weights {model_hash(model)[:8]}"
        )
