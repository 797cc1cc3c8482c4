"""Reading what other programs wrote: fields of JSON objects, and errors that say where they went wrong."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from sam2.interop.rle import Rle

Record = Mapping[str, Any]


@contextmanager
def within(place: object) -> Generator[None, None, None]:
    """Let messages of ``ValueError`` from inside begin with ``place``: a file, or the number of an entry."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def a_record(value: Any, what: str) -> Record:
    """``value`` as a JSON object; ``ValueError`` if it is none."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, got {_kind(value)}")
    return cast(dict[str, Any], value)


def a_list(record: Record, name: str) -> list[Any]:
    """The list in a field that has to be there; ``ValueError`` if it is not."""
    value = record.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {_kind(value)}")
    return cast(list[Any], value)


def records(record: Record, name: str) -> list[Record]:
    """The JSON objects in a list; ``ValueError`` if it is none, or not of objects."""
    return [a_record(value, f"{name}[{index}]") for index, value in enumerate(a_list(record, name))]


def a_number(record: Record, name: str) -> float:
    """The finite number in a field that has to be there, also as text; ``ValueError`` if it is not."""
    value = record.get(name)
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else float("nan")
    except (OverflowError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise ValueError(f"{name} must be a number, got {_kind(value)}")
    return number


def an_int(record: Record, name: str) -> int:
    """The whole number in a field that has to be there, also as 5.0 or text; ``ValueError`` if it is not."""
    number = a_number(record, name)
    if number != int(number):
        raise ValueError(f"{name} must be a whole number, got {record[name]!r}")
    return int(number)


def maybe_number(record: Record, name: str) -> float | None:
    """The number in a field, None where it is null or missing; ``ValueError`` if it is something else."""
    return None if record.get(name) is None else a_number(record, name)


def maybe_int(record: Record, name: str) -> int | None:
    """The whole number in a field, None where it is null or missing; ``ValueError`` if it is something else."""
    return None if record.get(name) is None else an_int(record, name)


def a_text(record: Record, name: str, default: str | None = None) -> str:
    """The text in a field, ``default`` where there is none; ``ValueError`` if it is something else or empty."""
    value = record.get(name)
    value = default if value is None else value
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text, got {_kind(value)}")
    return value


def an_rle(record: Record, name: str) -> Rle:
    """The run-length encoding in a field, compressed or not; ``ValueError`` if it is something else."""
    value = a_record(record.get(name), name)
    return {"size": value.get("size", []), "counts": value.get("counts")}


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 40 else f"{type(value).__name__} {text[:37]}..."
