"""What ``--label`` says: ``N=NAME`` names the class of object N, ``NAME`` that of all others."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of classes.

    Attributes:
        by_id: for single objects.
        rest: for all others; None where nothing was said.
    """

    by_id: Mapping[int, str] = field(default_factory=dict)
    rest: str | None = None

    def of(self, object_id: int) -> str | None:
        """The class of an object; None where nothing was said."""
        return self.by_id.get(object_id, self.rest)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, each once, in the order of their objects: so classes are numbered."""
        named = [self.by_id[object_id] for object_id in sorted(self.by_id)]
        return tuple(dict.fromkeys([*named, *([self.rest] if self.rest is not None else [])]))

    def check(self, known: Collection[int]) -> None:
        """Raise ``ValueError`` if an object is named that there is not."""
        for object_id, name in self.by_id.items():
            if object_id not in known:
                there = ", ".join(map(str, sorted(known)))
                raise ValueError(f"--label {object_id}={name}: there is no object {object_id}, only {there}")


def parse_labels(texts: Sequence[str]) -> Labels:
    """What the values of ``--label`` say.

    Raises:
        ValueError: a name is empty or not of one line, an object has two names, or there are two names for all.
    """
    by_id: dict[int, str] = {}
    rest: str | None = None
    for text in texts:
        number, equals, name = text.partition("=")
        if not equals:
            number, name = "", text
        elif not re.fullmatch(r"\s*\d{1,9}\s*", number):
            raise ValueError(f"--label {text}: expected NAME or N=NAME with the number of an object")
        name = name.strip()
        if not name or not name.isprintable():
            raise ValueError(f"--label {text!r}: the name must be one line of text")
        if not equals:
            if rest is not None:
                raise ValueError(f"--label {text}: everything is named {rest!r} already; N=NAME names single objects")
            rest = name
        elif int(number) in by_id:
            raise ValueError(f"--label {text}: object {int(number)} is named {by_id[int(number)]!r} already")
        else:
            by_id[int(number)] = name
    return Labels(by_id, rest)
