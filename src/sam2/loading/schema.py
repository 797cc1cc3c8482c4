"""A strict reader of nested mappings: every key is either taken or an error, and an error names the nearest key."""

import difflib
from collections.abc import Sequence
from typing import Any


class Section:
    """One mapping of a configuration, read key by key.

    A key is *taken* (a value the project can vary), *expected* (a flag that has one supported value) or *ignored*
    (no effect on the result here). :meth:`finish` refuses the rest.
    """

    def __init__(self, values: Any, path: str) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{path} must be a mapping, got {type(values).__name__}: {values!r}")
        self.path = path
        self._values: dict[str, Any] = values
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self._values

    def section(self, key: str) -> "Section":
        """The mapping under ``key``, which must be there."""
        if key not in self:
            raise ValueError(f"{self.path}.{key} is missing")
        return Section(self._values[key], f"{self.path}.{key}")

    def target(self, *allowed: str) -> str:
        """The class that ``_target_`` names, one of ``allowed`` (the first if there is no such key)."""
        value = self._values.get("_target_", allowed[0])
        self._known.add("_target_")
        if value not in allowed:
            raise ValueError(f"{self.path}._target_ must be {' or '.join(allowed)}, got {value!r}")
        return value

    def number(self, key: str, default: float) -> float:
        """A real number."""
        return float(self._take(key, default, (int, float), "a number"))

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; without ``default`` it must be there."""
        return self._take(key, default, (int,), "an integer")

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._values.get(key, default)
        self._known.add(key)
        if not isinstance(value, bool):
            raise ValueError(f"{self.path}.{key} must be true or false, got {value!r}")
        return value

    def integers(self, key: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of integers."""
        self._known.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, (list, tuple)) or any(isinstance(i, bool) or not isinstance(i, int) for i in value):
            raise ValueError(f"{self.path}.{key} must be a list of integers, got {value!r}")
        return tuple(value)

    def optional_integers(self, key: str) -> tuple[int, ...] | None:
        """A list of integers, or None if it is absent or null."""
        self._known.add(key)
        return None if self._values.get(key) is None else self.integers(key)

    def expect(self, key: str, only: Any, *, default: Any, why: str = "") -> None:
        """Accept ``key`` with the value ``only``; ``default`` is what the official class takes when it is absent."""
        present = key in self
        value = self._values[key] if present else default
        if isinstance(value, list):
            value = tuple(value)
        if value != only or isinstance(value, bool) != isinstance(only, bool):
            got = f"got {value!r}" if present else f"it is absent, which officially means {default!r}"
            raise ValueError(f"{self.path}.{key}: only {only!r} is supported, {got}{'; ' + why if why else ''}")

    def ignore(self, *keys: str) -> None:
        """Accept ``keys`` with any value: they change nothing here."""
        self._known.update(keys)

    def finish(self) -> None:
        """Raise ``ValueError`` for a key that nobody asked for, naming the nearest supported one."""
        for key in self._values:
            if key not in self._known:
                supported = sorted(self._known - {"_target_"})
                near = difflib.get_close_matches(str(key), supported, n=1, cutoff=0.0)
                hint = f"; the nearest supported key is {near[0]!r}" if near else ""
                raise ValueError(f"unknown key {self.path}.{key}{hint}")

    def _take(self, key: str, default: Any, kinds: tuple[type, ...], what: str) -> Any:
        self._known.add(key)
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, kinds):
            state = f"got {value!r}" if key in self._values else "it is missing"
            raise ValueError(f"{self.path}.{key} must be {what}, {state}")
        return value
