"""Weights: the official checkpoints and the bundled one by name, any file by its contents.

A checkpoint says by its tensors which model it is of, so nothing has to be configured to load one, and an error can say
what the file is instead of listing a thousand keys.
"""

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sam2.loading.download import Progress, fetch, terminal_progress
from sam2.modeling.config import PRESETS, HieraConfig, ModelConfig

_URL = "https://dl.fbaipublicfiles.com/segment_anything_2"
_LISTED_KEYS = 5


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint known by name.

    Attributes:
        name: also the name of its preset, e.g. ``"sam2.1_hiera_tiny"``.
        filename: what the file is called.
        url: where it comes from; None for the bundled model.
        size: in bytes.
        sha256: in hexadecimal.
    """

    name: str
    filename: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def hub_id(self) -> str | None:
        """The official Hugging Face id of the same weights, e.g. ``"facebook/sam2.1-hiera-tiny"``."""
        return None if self.url is None else f"facebook/{self.name.replace('_', '-')}"


# Meta publishes no checksums. These sizes and hashes are what several independent projects recorded of the files.
_OFFICIAL = """
092824 sam2.1_hiera_tiny      156008466 7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69
092824 sam2.1_hiera_small     184416285 6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38
092824 sam2.1_hiera_base_plus 323606802 a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5
092824 sam2.1_hiera_large     898083611 2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318
072824 sam2_hiera_tiny        155906050 65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125
072824 sam2_hiera_small       184309650 95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3
072824 sam2_hiera_base_plus   323493298 d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071
072824 sam2_hiera_large       897952466 7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b
"""


def _official() -> list[Checkpoint]:
    rows = (line.split() for line in _OFFICIAL.strip().splitlines())
    return [
        Checkpoint(name, f"{name}.pt", f"{_URL}/{folder}/{name}.pt", int(size), sha256)
        for folder, name, size, sha256 in rows
    ]


CHECKPOINTS: dict[str, Checkpoint] = {
    entry.name: entry for entry in (Checkpoint("nano", "nano.safetensors"), *_official())
}
"""Every checkpoint known by name: ``nano`` and the eight official ones."""


def cache_dir() -> Path:
    """Where downloads go: ``SAM2_CACHE``, else ``sam2`` in the platform's cache folder."""
    if chosen := os.environ.get("SAM2_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "sam2" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sam2"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sam2"


def checkpoint(name: str) -> Checkpoint:
    """The entry of :data:`CHECKPOINTS`, or a ``ValueError`` that lists the names."""
    if name not in CHECKPOINTS:
        raise ValueError(f"no checkpoint {name!r}; known are: {', '.join(CHECKPOINTS)}")
    return CHECKPOINTS[name]


def find_local(name: str) -> Path | None:
    """The file of a known checkpoint on this machine, or None.

    Looked for in the package (nano), the cache, ``./checkpoints``, torch's hub folder and Hugging Face's cache; a file
    counts if it has the right size.
    """
    entry = checkpoint(name)
    if entry.url is None:
        bundled = Path(str(files("sam2") / "weights" / entry.filename))
        return bundled if bundled.is_file() else None
    folders = [cache_dir(), Path("checkpoints"), Path(torch.hub.get_dir()) / "checkpoints", *_hub_snapshots(entry)]
    for folder in folders:
        path = folder / entry.filename
        if path.is_file() and path.stat().st_size == entry.size:
            return path
    return None


def _hub_snapshots(entry: Checkpoint) -> list[Path]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return sorted((hub / f"models--{(entry.hub_id or '').replace('/', '--')}" / "snapshots").glob("*"))


def download(name: str, progress: Progress | None = None) -> Path:
    """The file of a known checkpoint, downloaded to the cache if it is not on this machine.

    A broken download is continued by the next call. Without ``progress`` a bar is drawn on a terminal.

    Raises:
        ValueError: no checkpoint of this name.
        DownloadError: (an ``OSError``) offline, no room, or a corrupt file; the message says which file to put where.
        FileNotFoundError: the bundled model was left out of this installation.
    """
    entry = checkpoint(name)
    if (local := find_local(name)) is not None:
        return local
    if entry.url is None:
        raise FileNotFoundError(f"this installation lacks the bundled weights {entry.filename}; reinstall sam2")
    destination = cache_dir() / entry.filename
    if progress is not None:
        return fetch(entry.url, destination, size=entry.size, sha256=entry.sha256, progress=progress)
    with terminal_progress(entry.filename) as bar:
        return fetch(entry.url, destination, size=entry.size, sha256=entry.sha256, progress=bar)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU, under the official names.

    Takes ``.safetensors``, and whatever ``torch.load`` reads: ``{"model": state_dict}`` (official, training checkpoints
    included), ``{"state_dict": ...}`` or the state dict itself. Nothing but tensors is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, no checkpoint, or of another project; the message names the file and the reason.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {path}")
    _check_start(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state dict: expected tensors by name, or these under 'model'")
    state_dict = {_official_key(key): value for key, value in content.items()}
    _check_origin(state_dict, path)
    return state_dict


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
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
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
