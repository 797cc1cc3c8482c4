"""Everything that a training is told, in one record; YAML files and ready recipes that fill it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from sam2.interop.files import write_file
from sam2.loading.yaml_reader import read_yaml
from sam2.train.data.config import DataConfig
from sam2.train.lora import LoraConfig
from sam2.train.losses import LossConfig
from sam2.train.optim import OptimConfig
from sam2.train.prompts import PromptConfig
from sam2.train.run import RunConfig
from sam2.train.settings_io import merged, near, record_from_tree, record_to_tree

BASE = "base"
"""The key by which a file names the recipe, or the file, that it changes."""

_SUFFIXES = (".yaml", ".yml")
_OTHER = {"steps": "epochs", "epochs": "steps"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model is trained, and what it starts from.

    Attributes:
        name: ``nano``, an official name (``sam2.1_hiera_tiny``), a checkpoint, a configuration, or a Hugging Face id.
        weights: "pretrained": those that ``sam2.load`` gives for ``name``; a path: the checkpoint there; None: random.
        image_size: side of its square input; None: ``data.image_size``, which it has to equal.
        drop_path: share of Hiera's blocks that are left out in a step, rising with depth; officially 0.1 in training.
            None: as the model's configuration says.
        dropout: of the memory attention, officially 0.1. None: as the model's configuration says.
    """

    name: str = "sam2.1_hiera_tiny"
    weights: str | None = "pretrained"
    image_size: int | None = None
    drop_path: float | None = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must be that of a model or a checkpoint, got an empty text")
        for name in ("drop_path", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            raise ValueError(f"image_size must be a multiple of 32, got {self.image_size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training: what, on which data, how. The defaults are the official fine-tuning recipe's.

    Attributes:
        name: of the recipe, for people.
        model, data, prompts, loss, optim, run: see there.
        lora: train adapters of low rank in place of the weights; None: the weights.
    """

    name: str = "training"
    model: ModelChoice = field(default_factory=ModelChoice)
    data: DataConfig = field(default_factory=DataConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    lora: LoraConfig | None = None
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.model.image_size not in (None, self.data.image_size):
            raise ValueError(
                f"model.image_size is {self.model.image_size} and data.image_size {self.data.image_size}: "
                "leave the former out, or make them equal"
            )


def read_config(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a recipe or file, changed by ``overrides``.

    Args:
        source: the name of a recipe (:func:`recipe_names`), or a YAML file. A file may name another file (relative to
            itself) or a recipe as its ``base``, and has to hold no more than what differs from it.
        overrides: ``"optim.learning_rate=1e-5"``, in order. Values are YAML; an entry of a list is chosen by its
            number, ``"data.train.0.weight=2"``. ``"lora.rank=4"`` fills what is null.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no such recipe, an unknown key (with those that are known), or a value that does not do.
    """
    return config_from_tree(read_tree(source), overrides, source=str(source))


def config_from_tree(
    tree: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str | None = None
) -> TrainConfig:
    """As :func:`read_config`, of a mapping; messages start with ``source``."""
    changed = dict(tree)
    for text in overrides:
        changed = _overridden(changed, text)
    try:
        return record_from_tree(TrainConfig, changed)
    except ValueError as error:
        raise ValueError(f"{source}: {error}" if source and not overrides else str(error)) from error


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """Nested dicts, lists and plain values: what :func:`config_from_tree` reads, with every option written out."""
    return record_to_tree(config)


def config_to_yaml(config: TrainConfig) -> str:
    """The same as YAML."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True, width=120)


def write_config(config: TrainConfig, path: str | os.PathLike[str]) -> None:
    """Write ``config`` as YAML that :func:`read_config` reads; the file appears whole or not at all."""
    write_file(Path(path), config_to_yaml(config))


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    folder = files("sam2.train") / "recipes"
    return tuple(sorted(entry.name[: -len(".yaml")] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def read_tree(source: str | os.PathLike[str], *, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a recipe or file and those it is based on say, as one mapping; errors as of :func:`read_config`."""
    name, text, folder = _find(os.fspath(source))
    if name in seen:
        raise ValueError(f"{name}: {BASE} leads back to it, by way of {' and '.join(seen)}")
    try:
        tree = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ValueError(f"{name} must hold a mapping of keys to values, got {type(tree).__name__}")
    base = tree.pop(BASE, None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ValueError(f"{name}: {BASE} must be the name of a recipe or a file, got {base!r}")
    if folder is not None and _is_path(base):
        base = str(folder / Path(base).expanduser())
    return _over(read_tree(base, seen=(*seen, name)), tree)


def _find(source: str) -> tuple[str, str, Path | None]:
    """Name, text, and folder (None in the package) of a recipe or file."""
    if not _is_path(source):
        if source not in recipe_names():
            hint = near(source, recipe_names())
            raise ValueError(f"no recipe {source!r}{hint}; there are {', '.join(recipe_names())}, or name a YAML file")
        return source, (files("sam2.train") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8"), None
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{source}: there is no such file")
    try:
        return str(path), path.read_text(encoding="utf-8"), path.parent
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not a text file") from error


def _is_path(source: str) -> bool:
    return source.endswith(_SUFFIXES) or "/" in source or "\\" in source


def _overridden(tree: Mapping[str, Any], text: str) -> dict[str, Any]:
    name, sign, value = text.partition("=")
    keys = name.strip().split(".")
    if not sign or not all(keys):
        raise ValueError(f"an option is set by KEY=VALUE, as in optim.learning_rate=1e-5; got {text!r}")
    try:
        read = read_yaml(value)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    changed = _with(tree, keys, read, text)
    if read is not None and keys in (["run", "steps"], ["run", "epochs"]):
        changed["run"][_OTHER[keys[1]]] = None
    return changed


def _over(base: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` changed by ``tree``; steps in the one take the place of epochs in the other."""
    result = merged(base, tree)
    given = tree.get("run")
    if isinstance(given, Mapping):
        for name, other in _OTHER.items():
            if given.get(name) is not None and given.get(other) is None:
                result["run"][other] = None
    return result


def _with(node: Any, keys: Sequence[str], value: Any, text: str) -> Any:
    """A copy of ``node`` in which the value under ``keys`` is another one."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, (list, tuple)):
        if not key.isdigit() or int(key) >= len(node):
            raise ValueError(f"{text}: {key!r} must be the number of an entry, 0 to {len(node) - 1}")
        return [_with(item, rest, value, text) if i == int(key) else item for i, item in enumerate(node)]
    if node is not None and not isinstance(node, Mapping):
        raise ValueError(f"{text}: there is nothing below {node!r}")
    below = {} if node is None else dict(node)
    below[key] = _with(below.get(key), rest, value, text)
    return below
