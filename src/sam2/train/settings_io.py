"""Nested mappings to configuration records and back: the one reader of everything that a training can be told.

Works on any frozen dataclass whose fields are numbers, strings, flags, None, ``Literal``, tuples and dicts of those,
unions of them, and other such dataclasses. What is written can be read again and gives an equal record.
"""

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_WORDS: dict[type, str] = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


def record_from_tree(kind: type[T], tree: Any, path: str = "") -> T:
    """A record of the dataclass ``kind``. Keys that ``tree`` lacks keep their defaults.

    Args:
        kind: the dataclass.
        tree: nested mapping of plain values, as YAML gives it; None counts as empty.
        path: where ``tree`` stands, for messages: ``"data.augment"``.

    Raises:
        ValueError: a key is not known (the message names those that are, and the nearest), one is missing, a value is
            of another type, or the record itself refuses it.
    """
    values = {} if tree is None else tree
    if not isinstance(values, Mapping):
        raise ValueError(f"{path or 'the configuration'} must be a mapping of keys to values, got {values!r}")
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key {_joined(path, str(key))}{near(str(key), known)}; known are {_list(known)}")
    hints = get_type_hints(kind)
    given = {key: value_from_tree(hints[key], value, _joined(path, key)) for key, value in values.items()}
    missing = [name for name, field in known.items() if name not in given and _is_required(field)]
    if missing:
        raise ValueError(f"{_joined(path, missing[0])} is missing")
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from error


def value_from_tree(kind: Any, value: Any, path: str) -> Any:
    """``value`` as the type ``kind`` of a field; the message of a ``ValueError`` starts with ``path``."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if kind is None or kind is type(None):
        if value is not None:
            raise ValueError(f"{path} must be null, got {value!r}")
        return None
    if origin in (Union, types.UnionType):
        return _any_of(get_args(kind), value, path)
    if origin is Literal:
        return _choice(get_args(kind), value, path)
    if origin is tuple:
        return _tuple(get_args(kind), value, path)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(kind), value, path)
    if is_dataclass(kind):
        return record_from_tree(kind, value, path)  # type: ignore[arg-type]
    return _plain(kind, value, path)


def record_to_tree(record: Any) -> Any:
    """The inverse: nested dicts, lists and plain values, every field written out."""
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: record_to_tree(getattr(record, field.name)) for field in fields(record) if field.init}
    if isinstance(record, (tuple, list)):
        return [record_to_tree(item) for item in record]
    if isinstance(record, Mapping):
        return {key: record_to_tree(value) for key, value in record.items()}
    return record


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``; mappings are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def near(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing where no known word is like it."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def _any_of(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    """The first of the types of a union that takes ``value``."""
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if bool in rest and isinstance(value, bool):
        return value
    problem: ValueError | None = None
    for kind in rest:
        try:
            return value_from_tree(kind, value, path)
        except ValueError as error:
            problem = problem or error
    if len(rest) == 1 and problem is not None:
        raise problem
    raise ValueError(f"{path} must be {' or '.join(_name(kind) for kind in kinds)}, got {value!r}")


def _choice(allowed: tuple[Any, ...], value: Any, path: str) -> Any:
    if not any(value == one and type(value) is type(one) for one in allowed):
        words = ", ".join(str(one) for one in allowed)
        raise ValueError(f"{path} must be one of {words}; got {value!r}{near(str(value), map(str, allowed))}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{path} must be a list, got {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{path} must be a list of {len(kinds)} values, got {value!r}")
    return tuple(value_from_tree(k, v, f"{path}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _mapping(kinds: tuple[Any, ...], value: Any, path: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path} must be a mapping of keys to values, got {value!r}")
    keys, values = kinds
    return {value_from_tree(keys, k, path): value_from_tree(values, v, _joined(path, str(k))) for k, v in value.items()}


def _plain(kind: type, value: Any, path: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{path} must be {_name(kind)}, got {value!r}")
    return value


def _name(kind: Any) -> str:
    """A type in words."""
    if kind is type(None):
        return "null"
    if get_origin(kind) is Literal:
        return " or ".join(str(one) for one in get_args(kind))
    return _WORDS.get(kind, "a list" if get_origin(kind) is tuple else "a mapping")


def _is_required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _list(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))
