"""One answer to "which model is meant?": a name, a hub id or a file, to a configuration tree and a weights file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sam2.loading.download import DownloadError
from sam2.loading.locate import find_config, preset_of
from sam2.loading.overrides import apply_overrides
from sam2.loading.registry import download
from sam2.loading.weights import read_checkpoint, read_noted, recognise
from sam2.modeling.config import PRESETS

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_WEIGHTS = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Where a model's configuration and weights come from.

    Attributes:
        tree: the configuration, as :func:`sam2.loading.locate.find_config` gives it.
        state_dict: the weights, under the official names, on the CPU.
        source: what to call the weights in messages.
    """

    tree: dict[str, Any]
    state_dict: dict[str, Tensor]
    source: str


def resolve_model(name_or_path: str | os.PathLike[str]) -> ResolvedModel:
    """Find, and download if need be, the model that ``name_or_path`` means.

    Args:
        name_or_path: ``"nano"``, an official name in any spelling (``"sam2.1_hiera_tiny"``, ``"sam2.1_hiera_t.yaml"``,
            ``"facebook/sam2.1-hiera-tiny"``), another hub id (``"user/fine-tune"``), or a ``.pt`` or ``.safetensors``
            file, whose architecture is recognised.

    Raises:
        ValueError: nothing of this name, or a file that is no SAM 2 checkpoint.
        FileNotFoundError: the path of a file that is not there.
        DownloadError: an ``OSError``; the weights cannot be had.
        ImportError: another hub id, without the extra ``hub``.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(f"the model must be a name or a path, got {type(name_or_path).__name__}")
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if path.suffix in _WEIGHTS or path.is_file():
        return _from_file(path)
    preset = preset_of(text)
    if preset is not None:
        weights = download(preset)  # Meta's file, under the hub's name too: the eight ids need no hub client
        return ResolvedModel(find_config(preset), read_checkpoint(weights), str(weights))
    if _HUB_ID.fullmatch(text):
        return _from_hub(text)
    raise ValueError(
        f"no model {text!r}: known are {', '.join(PRESETS)}, a Hugging Face id ('facebook/sam2.1-hiera-tiny'), or the"
        " path of a .pt or .safetensors file"
    )


def _from_file(path: Path, tree: dict[str, Any] | None = None) -> ResolvedModel:
    state_dict, notes = read_noted(path)
    if tree is None and "config" in notes:
        tree = find_config(notes["config"])
    elif tree is None:
        config = recognise(state_dict, source=str(path))
        name = next(name for name, preset in PRESETS.items() if preset == config)
        tree = find_config(name)
    if "image_size" in notes:  # of a fine-tune: no weight tells it
        tree = apply_overrides(tree, [f"++model.image_size={notes['image_size']}"])
    return ResolvedModel(tree, state_dict, str(path))


def _from_hub(repo: str) -> ResolvedModel:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"{repo!r} is a Hugging Face id; install the extra 'hub' to load it: pip install 'sam2[hub]'"
        ) from error

    def get(call: Any, *args: str) -> Any:
        try:
            return call(repo, *args)
        except Exception as error:  # the client's errors share no base class, and some are those of its HTTP library
            raise DownloadError(f"could not get {repo} from Hugging Face: {error}") from error

    names: list[str] = get(huggingface_hub.list_repo_files)
    weights = [name for name in names if name.endswith((".pt", ".pth"))] or [
        name for name in names if name.endswith(".safetensors")
    ]
    if len(weights) != 1:
        found = f"several weight files ({', '.join(sorted(weights))})" if weights else "no .pt or .safetensors file"
        raise ValueError(f"{repo} has {found}: download the one you want and pass its path")
    configs = [name for name in names if name.endswith((".yaml", ".yml"))]
    tree = find_config(Path(get(huggingface_hub.hf_hub_download, configs[0]))) if len(configs) == 1 else None
    return _from_file(Path(get(huggingface_hub.hf_hub_download, weights[0])), tree)
