"""What ``sam2 train`` does with its options: the configuration they come to, a report of it, progress."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sam2.cli.errors import say

if TYPE_CHECKING:  # these import torch
    from sam2.train.config import TrainConfig

CONFIG = "config.yaml"
"""Where a training keeps its configuration."""
_YAML = (".yaml", ".yml")
_KEYS = {
    "image_size": "data.image_size",
    "frames": "data.frames",
    "steps": "run.steps",
    "epochs": "run.epochs",
    "batch": "data.batch_size",
    "accumulate": "run.accumulate",
    "learning_rate": "optim.learning_rate",
    "precision": "run.precision",
    "device": "run.device",
}
"""Keys of the configuration that options set, by the options' names."""
_LORA_OPTIONS = ("optim.learning_rate=1e-4", "optim.encoder_rate=1e-4", "optim.layer_decay=1.0")
"""Adapters start from nothing, and learn at rates that would undo weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options as they were given; None and empty where they were not.

    Attributes:
        recipe: a recipe's name or a YAML file.
        data, validation: paths of data sets.
        format: of all of them.
        split, validation_split: which part of them.
        model: a name or checkpoint.
        options: values of keys of the configuration.
        lora: rank of adapters.
        freeze: patterns.
        settings: ``KEY=VALUE``, which go before everything else.
        official: a YAML file of the official code.
        resume: go on with the training in ``output``.
        output: folder, or YAML file.
    """

    recipe: str | None
    data: tuple[str, ...]
    validation: tuple[str, ...]
    format: str | None
    split: str | None
    validation_split: str | None
    model: str | None
    options: Mapping[str, Any]
    lora: int | None
    freeze: tuple[str, ...]
    settings: tuple[str, ...]
    official: Path | None
    resume: bool
    output: Path | None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Asked":
        """What the command was given, by the names of its parameters."""
        lists = ("data", "validation", "freeze", "settings")
        plain = ("recipe", "format", "split", "validation_split", "model", "lora", "official", "resume", "output")
        return cls(
            options={key: parameters[name] for name, key in _KEYS.items()},
            **{name: tuple(parameters[name] or ()) for name in lists},
            **{name: parameters[name] for name in plain},
        )

    def check(self, *, dry_run: bool) -> None:
        """What can be seen to be wrong before anything is imported.

        Raises:
            ValueError: options that exclude each other, or one that is missing.
            FileNotFoundError: there are no such data.
        """
        if self.output is None and not (dry_run and self.starts_anew):
            raise ValueError("--output RUN is missing: the folder of the training")
        if self.recipe is not None and self.official is not None:
            raise ValueError("RECIPE and --from-official-yaml exclude each other")
        if self.options.get("run.steps") is not None and self.options.get("run.epochs") is not None:
            raise ValueError("--steps and --epochs exclude each other")
        for option, paths in (("--data", self.data), ("--val", self.validation)):
            for path in paths:
                if not Path(path).expanduser().exists():
                    raise FileNotFoundError(f"{option} {path}: no such file or folder")
        for text in self.settings:
            if "=" not in text:
                raise ValueError(f"--set takes KEY=VALUE, as in optim.learning_rate=1e-5; got {text!r}")
        if self.resume and self.output is not None and not self.output.is_dir() and not self.starts_anew:
            raise FileNotFoundError(f"--output {self.output}: there is no training to go on with")
        if not self.resume and not self.starts_anew:
            raise ValueError("--data PATH is missing: what to train on (or a RECIPE that says it)")

    @property
    def starts_anew(self) -> bool:
        """Whether the command says what to train on, and does not leave it to the folder of a training."""
        return bool(self.data or self.recipe or self.official)

    @property
    def leaves_the_recipe_open(self) -> bool:
        """Whether the recipe is to be chosen by model and data."""
        goes_on = self.resume and not self.starts_anew
        return self.recipe is None and self.official is None and not goes_on


def assemble(asked: Asked) -> "TrainConfig":
    """The configuration that the options come to. What an official file holds in vain is said on stderr.

    Raises:
        ValueError, FileNotFoundError: options, recipes, files or data that do not do.
    """
    from sam2.train.config import config_from_tree

    tree = _start(asked)
    data = dict(tree.get("data") or {})
    data["train"] = _sources(asked, data.get("train") or [])
    if asked.validation:
        data["validation"] = [_source(path, asked.format, asked.validation_split) for path in asked.validation]
    elif asked.validation_split is not None:
        data["validation"] = [{**source, "split": asked.validation_split} for source in data["train"]]
    tree["data"] = data
    frozen = (tree.get("optim") or {}).get("frozen") or ()
    config = config_from_tree(tree, _overrides(asked, frozen))
    if not config.data.train:
        raise ValueError("--data PATH is missing: what to train on")
    return config


def _start(asked: Asked) -> dict[str, Any]:
    """What the options are put on top of."""
    from sam2.train.config import read_tree

    if asked.official is not None:
        from sam2.train.official.translate import translate_official

        translation = translate_official(asked.official)
        if is_main_process():
            for entry in translation.ignored:
                say(f"ignored {entry}")
        return translation.tree
    if asked.recipe is not None:
        return read_tree(asked.recipe)
    if asked.leaves_the_recipe_open:
        return _chosen(asked)
    assert asked.output is not None
    path = asked.output / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"--output {asked.output}: there is no {CONFIG}, so no training to go on with")
    return read_tree(str(path))


def _chosen(asked: Asked) -> dict[str, Any]:
    """The recipe for the model and the kind of data."""
    from sam2.train.config import read_tree
    from sam2.train.data.sources import SourceConfig, open_records
    from sam2.train.recipe_choice import choose_recipe
    from sam2.train.settings_io import record_from_tree

    videos = set()
    for place, source in enumerate(_sources(asked, [])):
        videos.add(open_records(record_from_tree(SourceConfig, source, f"data.train[{place}]")).videos)
    recipe, changes = choose_recipe(asked.model or "nano", stills=False in videos, videos=True in videos)
    tree = read_tree(recipe)
    for section, values in changes.items():
        tree[section] = {**(tree.get(section) or {}), **values}
    return tree


def _sources(asked: Asked, before: list[Any]) -> list[Any]:
    """What to train on: --data in place of what the recipe says, if it is given.

    Where an official file names as many data sets as there are paths, their lists of names and weights are kept.
    """
    if not asked.data:
        return before
    given = [_source(path, asked.format, asked.split) for path in asked.data]
    if asked.official is not None and len(before) == len(given):
        kept = ("split", "weight", "frames")
        return [
            {**{key: old[key] for key in kept if key in old}, **new} for old, new in zip(before, given, strict=True)
        ]
    return given


def _source(path: str, format: str | None, split: str | None) -> dict[str, Any]:
    source: dict[str, Any] = {"path": str(Path(path).expanduser().absolute())}
    if format is not None:
        source["format"] = format
    if split is not None:
        source["split"] = split
    return source


def _overrides(asked: Asked, frozen: Sequence[str]) -> list[str]:
    """The options as ``KEY=VALUE``, the most particular last; ``frozen`` are the recipe's patterns."""
    import json

    overrides = []
    if asked.lora is not None:
        overrides += [f"lora.rank={asked.lora}", *_LORA_OPTIONS]
    if asked.model is not None and not asked.leaves_the_recipe_open:
        name = asked.model
        if Path(name).expanduser().is_file():
            name = str(Path(name).expanduser().absolute())
        overrides.append(f"model.name={json.dumps(name)}")
    overrides += [f"{key}={json.dumps(value)}" for key, value in asked.options.items() if value is not None]
    if asked.freeze:
        overrides.append(f"optim.frozen={json.dumps(list(dict.fromkeys((*frozen, *asked.freeze))))}")
    return [*overrides, *asked.settings]


def report(config: "TrainConfig") -> None:
    """Print the configuration, what is trained, and what the data hold."""
    from sam2.train.config import config_to_yaml
    from sam2.train.summary import describe_data, describe_model

    typer.echo(config_to_yaml(config))
    for line in (*describe_model(config), *describe_data(config)):
        typer.echo(line)


def is_main_process() -> bool:
    """Whether this is the process that speaks, of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"
