"""JSON objects of other people's files: fields are checked as they are read, and errors say where they stand."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from sam2.interop.files import read_json

T = TypeVar("T")

_MOST_PIXELS = 1 << 34
_KINDS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


class Entry:
    """A JSON object and where it stands, such as ``labels.json: annotations[3]``.

    Raises:
        ValueError: ``value`` is no object.
    """

    __slots__ = ("fields", "place")

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{place} must be a JSON object, got {_kind_of(value)}")
        self.fields = cast(Mapping[str, Any], value)
        self.place = place

    @classmethod
    def read(cls, path: Path) -> "Entry":
        """The object that a JSON file holds.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not JSON, or no object.
        """
        return cls(read_json(path), str(path))

    def __contains__(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def get(self, name: str, kind: type[T]) -> T:
        """The field ``name``, of type str, int, float (whole numbers too), list or dict.

        Raises:
            ValueError: it is missing, null or of another type.
        """
        found = self.find(name, kind)
        if found is None:
            raise ValueError(f"{self.place}: {name!r} is missing")
        return found

    @overload
    def find(self, name: str, kind: type[T]) -> T | None:
        """Without a default."""
        ...

    @overload
    def find(self, name: str, kind: type[T], default: T) -> T:
        """With one."""
        ...

    def find(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """The same, or ``default`` where it is missing or null."""
        value = self.fields.get(name)
        if value is None:
            return default
        try:
            return as_kind(value, kind)
        except ValueError as error:
            raise ValueError(f"{self.place}: {name!r} {error}") from None

    def key(self, name: str) -> int | str:
        """An identifier, a whole number or text."""
        value = self.fields.get(name)
        if isinstance(value, str):
            return value
        return self.get(name, int)

    def child(self, name: str) -> "Entry":
        """The object in the field ``name``."""
        return Entry(self.get(name, dict), f"{self.place}: {name}")

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        return cast(list[Any], self.get(name, list))

    def entries(self, name: str) -> "Iterator[Entry]":
        """The objects of the list ``name``; none where it is missing or null."""
        for number, value in enumerate(self.items(name) if name in self else ()):
            yield Entry(value, f"{self.place}: {name}[{number}]")

    def size(self, width: str = "width", height: str = "height") -> tuple[int, int]:
        """(height, width) of a picture, from the fields of these names; no larger than any picture is."""
        found = self.get(height, int), self.get(width, int)
        if min(found) < 1 or found[0] * found[1] > _MOST_PIXELS:
            raise ValueError(f"{self.place}: {width!r} and {height!r} must be a picture's, got {found[1]} x {found[0]}")
        return found

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """A list of ``count`` finite numbers."""
        values = self.items(name)
        with at(f"{self.place}: {name!r}"):
            if len(values) != count:
                raise ValueError(f"must hold {count} numbers, got {len(values)}")
            return tuple(as_kind(value, float) for value in values)


def as_kind(value: Any, kind: type[T]) -> T:
    """``value`` if it is of type ``kind``, where whole numbers are numbers too and 3.0 is a whole one.

    Raises:
        ValueError: it is not; the message begins with "must be".
    """
    if kind is int or kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # larger whole numbers than this make no float
        if number and abs(value) < 2**63 and (kind is float or value == int(value)):
            return cast(Any, kind)(value)
    elif isinstance(value, kind):
        return value
    raise ValueError(f"must be {_KINDS[kind]}, got {_kind_of(cast(object, value))}")


@contextmanager
def at(place: str) -> Generator[None, None, None]:
    """Let ``ValueError`` from inside say where it was."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _kind_of(value: object) -> str:
    if isinstance(value, str | int | float) or value is None:
        text = repr(value)
        return text if len(text) < 40 else text[:37] + "..."
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__
