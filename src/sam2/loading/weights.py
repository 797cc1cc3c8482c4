"""A checkpoint file: read, recognised by its tensors, and copied into a model whose every weight it must name.

A checkpoint says by its tensors which model it is of, so nothing has to be configured to load one, and an error can say
what the file is instead of listing a thousand keys.
"""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sam2.modeling.config import PRESETS, HieraConfig, ModelConfig

_LISTED_KEYS = 5


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU, under the official names.

    Takes ``.safetensors``, and whatever ``torch.load`` reads: ``{"model": state_dict}`` (official, training checkpoints
    included), ``{"state_dict": ...}`` or the state dict itself. Nothing but tensors is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, no checkpoint, or of another project; the message names the file and the reason.
    """
    return read_noted(path)[0]


def read_noted(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """What :func:`read_checkpoint` gives, and what the file notes of the model under ``sam2``; nothing in most files.

    Checkpoints that ``sam2 train`` wrote note ``config``, a packaged name or a configuration tree, and ``image_size``.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {path}")
    _check_start(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    notes = content.get("sam2") if isinstance(content, Mapping) else None
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state dict: expected tensors by name, or these under 'model'")
    state_dict = {_official_key(key): value for key, value in content.items()}
    _check_origin(state_dict, path)
    return state_dict, notes if isinstance(notes, Mapping) else {}


def recognise(state_dict: Mapping[str, Tensor], *, source: str = "the checkpoint") -> ModelConfig:
    """The preset whose weights ``state_dict`` holds, from names and shapes alone.

    Raises:
        ValueError: not a SAM 2 checkpoint, or of a size that is no preset.
    """
    if "image_encoder.trunk.stem.weight" in state_dict:
        return PRESETS["nano"]
    patch_embed = state_dict.get("image_encoder.trunk.patch_embed.proj.weight")
    if patch_embed is None:
        raise ValueError(f"{source} is not a SAM 2 checkpoint: it has no image_encoder.trunk.patch_embed.proj.weight")
    version = "2.1" if "no_obj_embed_spatial" in state_dict else "2"
    width = patch_embed.shape[0]
    prefix = "image_encoder.trunk.blocks."
    depth = 1 + max((int(key[len(prefix) :].split(".")[0]) for key in state_dict if key.startswith(prefix)), default=-1)
    for preset in PRESETS.values():
        trunk = preset.trunk
        if not isinstance(trunk, HieraConfig) or preset.version != version:
            continue
        if (trunk.embed_dim, sum(trunk.stages)) == (width, depth):
            return preset
    raise ValueError(
        f"{source} is a SAM {version} of no known size: {width} channels and {depth} blocks; build it from its own"
        " configuration file"
    )


def load_strict(model: nn.Module, state_dict: Mapping[str, Tensor], *, source: str = "the checkpoint") -> None:
    """Copy ``state_dict`` into ``model``; every name and shape must agree. Nothing is copied otherwise.

    Raises:
        ValueError: they do not agree. The message says of which models the two are, or which keys differ.
    """
    expected = model.state_dict()
    missing = [key for key in expected if key not in state_dict]
    unexpected = [key for key in state_dict if key not in expected]
    reshaped = [
        f"{key} {tuple(state_dict[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    if missing or unexpected or reshaped:
        raise ValueError(f"{source} does not fit: " + _difference(model, state_dict, missing, unexpected, reshaped))
    model.load_state_dict(state_dict)


def _difference(
    model: nn.Module, state_dict: Mapping[str, Tensor], missing: list[str], unexpected: list[str], reshaped: list[str]
) -> str:
    config = getattr(model, "config", None)
    if isinstance(config, ModelConfig):
        try:
            found = recognise(state_dict)
        except ValueError:
            found = None
        if found is not None and found.name != config.name:
            return f"this checkpoint is {found.name}, the config is {config.name}"
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    return "; ".join(f"{len(keys)} {what}: {_shorten(keys)}" for what, keys in parts if keys)


def _shorten(keys: list[str]) -> str:
    more = len(keys) - _LISTED_KEYS
    return ", ".join(keys[:_LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _check_start(path: Path) -> None:
    """Refuse, in words, what people have in place of a checkpoint."""
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        raise ValueError(f"{path} is empty: download it again")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights: run 'git lfs pull'")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{path} is a web page, not a checkpoint: the download was redirected or refused")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is corrupt or no safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower():
            raise ValueError(
                f"{path} holds Python objects besides tensors, or is no checkpoint at all; it is not unpickled, because"
                " that runs whatever code it holds. Save the state dict alone and load that."
            ) from error
        raise ValueError(f"{path} is corrupt or no checkpoint: {error}") from error
    except KeyError as error:  # text taken for an instruction of the unpickler: its number says nothing
        raise ValueError(f"{path} is corrupt or no checkpoint") from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise ValueError(f"{path} is corrupt, truncated or no checkpoint: {error}") from error


def _official_key(key: str) -> str:
    """Names as the official code writes them: without wrappers, and ``gamma`` for the fuser's layer scale."""
    key = str(key).removeprefix("module.").removeprefix("_orig_mod.")
    parts = key.split(".")
    # transformers once renamed every gamma to weight on the way in and out of a file
    if parts[:3] == ["memory_encoder", "fuser", "layers"] and len(parts) == 5 and parts[4] == "weight":
        parts[4] = "gamma"
    return ".".join(parts)


def _check_origin(state_dict: Mapping[str, Tensor], path: Path) -> None:
    if any(key.startswith(("vision_encoder.", "sam2_model.", "tracker_model.")) for key in state_dict):
        raise ValueError(
            f"{path} is in the format of transformers (Sam2Model), whose names differ: use the original .pt file"
        )
    if "image_encoder.patch_embed.proj.weight" in state_dict:
        raise ValueError(f"{path} is a checkpoint of the first Segment Anything, not of SAM 2")
