"""``${...}`` in the YAML of the official training code, without Hydra: references, and its resolvers of arithmetic."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from sam2.loading.yaml_reader import read_yaml

_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_DEEPEST = 50

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda *values: sum(values),
    "times": lambda *values: math.prod(values),
    "subtract": operator.sub,
    "divide": operator.truediv,
    "pow": operator.pow,
    "int": int,
    "ceil_int": math.ceil,
    "range": lambda *values: list(range(*values)),
}


class References:
    """A tree whose references are filled in when they are read.

    Attributes:
        used: dotted names that something referred to.
        unresolved: what could not be filled in, as it is written; it stays text.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self.used: set[str] = set()
        self.unresolved: list[str] = []

    def resolve(self) -> dict[str, Any]:
        """A copy of the tree without references."""
        return self._filled(self._tree, 0)

    def _filled(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its references lead back to themselves")
        if isinstance(value, Mapping):
            return {str(key): self._filled(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item, depth + 1) for item in value]
        return self._text(value, depth) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, depth: int) -> Any:
        """A string's references, the innermost first; a string that is one reference becomes what it stands for."""
        rest = text
        while match := _INNERMOST.search(rest):
            try:
                value = self._value(match[1].strip(), depth)
            except (KeyError, TypeError, ZeroDivisionError, IndexError):
                self.unresolved.append(text)
                return text
            if match.span() == (0, len(rest)):
                return value
            rest = rest[: match.start()] + _written(value) + rest[match.end() :]
        return rest

    def _value(self, content: str, depth: int) -> Any:
        name, colon, arguments = content.partition(":")
        if colon:
            values = [read_yaml(word) for word in arguments.split(",") if word.strip()]
            return _FUNCTIONS[name.strip()](*values)
        node: Any = self._tree
        for key in content.split("."):
            place: Any = int(key) if isinstance(node, list) and key.isdigit() else key
            node = node[place]
        self.used.add(content)
        return self._filled(node, depth + 1)


def _written(value: Any) -> str:
    """A value in the middle of a string, where nothing but plain ones can stand."""
    if isinstance(value, (dict, list)):
        raise TypeError(f"{value!r} cannot be part of a string")
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
