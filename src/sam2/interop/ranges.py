"""Ascending numbers as text, as in ``0-20,25``."""

from collections.abc import Iterable


def ranges_text(numbers: Iterable[int]) -> str:
    """Ascending numbers from 0 on, as ``0-20,25``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def parse_ranges(text: str) -> list[int]:
    """The numbers that ``text`` stands for.

    Raises:
        ValueError: it is not as in ``0-20,25``.
    """
    found: list[int] = []
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isdecimal() and end.isascii() and len(end) < 10 for end in ends):
            raise ValueError(f"expected numbers as in 0-20,25, got {text!r}")
        found.extend(range(int(ends[0]), int(ends[-1]) + 1))
    return found
