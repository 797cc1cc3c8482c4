"""``hydra_overrides_extra`` without Hydra: ``++model.image_size=512`` and its relatives, applied to a nested dict."""

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sam2.loading.yaml_reader import read_yaml

_PATTERN = re.compile(r"(?P<prefix>\+\+|\+|~|)(?P<path>[\w@/-]+(?:\.[\w@/-]+)*)(?P<assign>=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Override:
    """One override string, parsed.

    Attributes:
        prefix: ``""`` changes a key that is there, ``"+"`` adds one that is not, ``"++"`` does either, ``"~"`` deletes.
        path: the keys from the top, e.g. ``("model", "image_size")``.
        value: what to write; None for a deletion.
    """

    prefix: str
    path: tuple[str, ...]
    value: Any


def parse_override(text: str) -> Override:
    """Read one override string.

    Raises:
        TypeError: ``text`` is not a string.
        ValueError: it is not of the form ``[+|++|~]a.b=value``.
    """
    if not isinstance(text, str):
        raise TypeError(f"hydra_overrides_extra must hold strings, got {type(text).__name__}: {text!r}")
    match = _PATTERN.fullmatch(text.strip())
    if match is None or (match["assign"] is None and match["prefix"] != "~"):
        raise ValueError(f"override {text!r} is not of the form '++model.key=value'")
    value = None if match["prefix"] == "~" else _parse_value(match["value"], text)
    return Override(match["prefix"], tuple(match["path"].split(".")), value)


def _parse_value(value: str, text: str) -> Any:
    value = value.strip()
    if value.startswith("{"):  # Hydra allows {a:1}, YAML wants a space after the colon
        value = re.sub(r":(?=\S)", ": ", value)
    if not value:
        return ""
    try:
        return read_yaml(value)
    except ValueError as error:
        raise ValueError(f"the value of override {text!r} cannot be read: {error}") from error


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``tree`` with ``overrides`` applied in order, as Hydra's compose API would.

    Raises:
        ValueError: an override is malformed, changes or deletes a key that is not there, or adds one that is.
        TypeError: ``overrides`` is a single string, or holds something else than strings.
    """
    if isinstance(overrides, str):
        raise TypeError(f"hydra_overrides_extra must be a list of strings, got the string {overrides!r}")
    changed = copy.deepcopy(tree)
    for text in overrides:
        _apply(changed, parse_override(text), text)
    return changed


def _apply(tree: dict[str, Any], override: Override, text: str) -> None:
    *parents, last = override.path
    may_create = override.prefix in ("+", "++")
    node = tree
    for depth, key in enumerate(parents):
        child = node.get(key)
        if child is None and may_create:
            child = node[key] = {}
        if child is None:
            raise ValueError(_missing(text, override.path[: depth + 1], node))
        if not isinstance(child, dict):
            raise ValueError(f"override {text!r}: {'.'.join(override.path[: depth + 1])} is {child!r}, no section")
        node = child
    if override.prefix == "+" and node.get(last) is not None:
        raise ValueError(f"override {text!r} adds a key that is there already; write '++' to change it")
    if not may_create and last not in node:
        raise ValueError(_missing(text, override.path, node))
    if override.prefix == "~":
        del node[last]
    else:
        node[last] = override.value


def _missing(text: str, path: tuple[str, ...], node: dict[str, Any]) -> str:
    near = difflib.get_close_matches(path[-1], [str(key) for key in node], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"override {text!r}: the configuration has no key {'.'.join(path)!r}{hint}"
