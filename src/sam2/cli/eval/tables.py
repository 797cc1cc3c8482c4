"""Tables of scores on a terminal."""

from collections.abc import Sequence
from typing import Protocol


class Marked(Protocol):
    """An object, a clip or a data set with its scores."""

    @property
    def j(self) -> float:
        """Mean J."""
        ...

    @property
    def f(self) -> float:
        """Mean F."""
        ...

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        ...


def row(cells: Sequence[str]) -> str:
    """A line of a table: a name, then numbers."""
    return (cells[0].ljust(16) + "".join(cell.rjust(10) for cell in cells[1:])).rstrip()


def marks(score: Marked) -> list[str]:
    """J&F, J and F."""
    return [f"{value:.3f}" for value in (score.j_and_f, score.j, score.f)]
