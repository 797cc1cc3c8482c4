"""Find the configuration that a user names: packaged name, old name, preset, hub id, path or mapping."""

import difflib
import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from sam2.loading.yaml_reader import EXPONENT, read_yaml

_LETTERS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def packaged_configs() -> dict[str, str]:
    """The configurations inside the package: official name (``configs/sam2.1/sam2.1_hiera_l.yaml``) -> preset name."""
    names = {
        f"configs/{family}/{family}_hiera_{letter}.yaml": f"{family}_hiera_{size}"
        for family in ("sam2", "sam2.1")
        for size, letter in _LETTERS.items()
    }
    return names | {"configs/nano/nano.yaml": "nano"}


def _aliases() -> dict[str, str]:
    """Every accepted spelling of a packaged configuration, in lower case -> its official name."""
    aliases: dict[str, str] = {}
    for name, preset in packaged_configs().items():
        spellings = {name, Path(name).name, preset, f"facebook/{preset}", f"facebook/{preset.replace('_', '-')}"}
        for spelling in spellings:
            aliases[spelling.lower()] = name
            aliases[spelling.lower().removesuffix(".yaml")] = name
    return aliases


def preset_of(config_name: str) -> str | None:
    """The preset that a packaged spelling stands for, or None: ``"sam2_hiera_l.yaml"`` -> ``"sam2_hiera_large"``."""
    official = _aliases().get(config_name.strip().lower().removesuffix(".yaml"))
    return None if official is None else packaged_configs()[official]


def find_config(config: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The configuration tree that ``config`` names; the top level holds a ``model`` key.

    Args:
        config: a packaged name with or without folder and ``.yaml``, a preset (``"sam2.1_hiera_large"``), an official
            hub id, a path to a YAML file, or a mapping (an OmegaConf ``DictConfig`` included). A spelling of a packaged
            configuration wins over a file of that name in the working directory, as officially; write ``./name.yaml``
            for the file.

    Raises:
        FileNotFoundError: no such configuration; the message lists the packaged ones.
        TypeError: ``config`` is something else.
        ValueError: the file is not YAML, or neither a model nor a mapping with a ``model`` key.
    """
    if isinstance(config, (str, os.PathLike)):
        text = os.fspath(config)
        official = _aliases().get(text.strip().lower().removesuffix(".yaml")) if isinstance(config, str) else None
        if official is not None:
            source, content = official, files("sam2").joinpath(official).read_text(encoding="utf-8")
        else:
            source, content = text, _read_file(text)
        try:
            tree = read_yaml(content)
        except ValueError as error:
            raise ValueError(f"configuration {source}: {error}") from error
    elif hasattr(config, "keys") and hasattr(config, "__getitem__"):  # DictConfig is no Mapping in every version
        source, tree = "the given mapping", _plain(config)
    else:
        raise TypeError(f"config must be a name, a path or a mapping, got {type(config).__name__}")
    return _with_model_key(tree, source)


def _read_file(text: str) -> str:
    path = Path(text.removeprefix("file://")).expanduser()
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        path = path.with_name(path.name + ".yaml")
    if not path.is_file():
        raise FileNotFoundError(_unknown(text))
    return path.read_text(encoding="utf-8")


def _unknown(text: str) -> str:
    names = list(packaged_configs())
    by_file = {Path(name).name: name for name in names}
    near = difflib.get_close_matches(Path(text).name, by_file, n=1)
    hint = f" Did you mean {by_file[near[0]]!r}?" if near else ""
    return f"no configuration {text!r}: no such file, and no packaged name.{hint} Packaged are: {', '.join(names)}."


def _with_model_key(tree: Any, source: str) -> dict[str, Any]:
    if isinstance(tree, dict):
        if isinstance(tree.get("model"), dict):
            return tree
        if "image_encoder" in tree:  # the model itself
            return {"model": tree}
    raise ValueError(f"configuration {source} must be a mapping with a 'model' key or a model with 'image_encoder'")


def _plain(value: Any) -> Any:
    """Dicts, lists and scalars from any mapping or sequence; reading resolves OmegaConf's interpolations.

    Strings such as ``"1e-6"`` become numbers: plain ``yaml.safe_load`` leaves the one in the official files a string.
    """
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    if isinstance(value, str) and EXPONENT.match(value):
        return float(value)
    return value
