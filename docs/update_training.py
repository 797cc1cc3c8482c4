"""Rewrites the option tables of docs/training.md from the configuration itself: ``python docs/update_training.py``.

Meanings are those of the docstrings. A test calls :func:`updated` and compares, so that the page cannot go stale.
"""

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sam2.train.config import ModelChoice
from sam2.train.data.config import AugmentConfig, DataConfig
from sam2.train.data.sources import SourceConfig
from sam2.train.lora import LoraConfig
from sam2.train.losses import LossConfig
from sam2.train.optim import OptimConfig
from sam2.train.prompts import PastConfig, PromptConfig
from sam2.train.run import RunConfig
from sam2.train.settings_io import record_to_tree

PAGE = Path(__file__).parent / "training.md"

SECTIONS: dict[str, type] = {
    "model": ModelChoice,
    "data": DataConfig,
    "data.train": SourceConfig,
    "data.augment": AugmentConfig,
    "prompts": PromptConfig,
    "prompts.past": PastConfig,
    "loss": LossConfig,
    "optim": OptimConfig,
    "lora": LoraConfig,
    "run": RunConfig,
}
_ENTRY = re.compile(r"((?:\w+, )*\w+): (.*)")


def plain_fields(record: type) -> list[Any]:
    """The options of a record that are no records themselves."""
    hints = get_type_hints(record)
    return [field for field in fields(record) if not is_dataclass(hints[field.name])]


def meanings(record: type) -> dict[str, str]:
    """What the docstring of a configuration record says of each option; one that shares a line says "see ...".

    Raises:
        ValueError: an option is not in the docstring.
    """
    names = [field.name for field in plain_fields(record)]
    _, _, text = (inspect.getdoc(record) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    current: list[str] = []
    for line in text.splitlines():
        match = _ENTRY.fullmatch(line.strip())
        if match and set(match[1].split(", ")) <= {field.name for field in fields(record)}:
            current = match[1].split(", ")
            found[current[0]] = match[2]
            found |= {name: f"see `{current[0]}`" for name in current[1:]}
        elif current and line.strip():
            found[current[0]] += f" {line.strip()}"
    for name in names:
        if name not in found:
            told = [other for other, text in found.items() if f"``{name}``" in text]
            if not told:
                raise ValueError(f"the docstring of {record.__name__} does not say what {name} is")
            found[name] = f"see `{told[0]}`"
    return found


def table(record: type) -> str:
    """The options of a record as Markdown."""
    told = meanings(record)
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for field in plain_fields(record):
        text = told[field.name].replace("``", "`").replace("|", "\\|")
        text = re.sub(r"\bNone\b", "null", text)
        text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text)
        lines.append(f"| `{field.name}` | {_default(field)} | {text} |")
    return "\n".join(lines)


def _default(field: Any) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "required"
    value = field.default if field.default is not MISSING else field.default_factory()
    return f"`{_yaml(record_to_tree(value))}`"


def _yaml(value: Any) -> str:
    """A value in the way one writes it in YAML, in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def updated(text: str) -> str:
    """``text`` with every table between ``<!-- options: NAME -->`` and ``<!-- end -->`` made anew.

    Raises:
        ValueError: a section has no place on the page, or a place has no section.
    """
    places = re.findall(r"<!-- options: (.*?) -->", text)
    if sorted(places) != sorted(SECTIONS):
        raise ValueError(f"the page speaks of {sorted(places)}, the sections are {sorted(SECTIONS)}")

    def fresh(found: re.Match[str]) -> str:
        return f"{found[1]}{table(SECTIONS[found[2]])}\n{found[3]}"

    return re.sub(r"(<!-- options: (.*?) -->\n).*?(<!-- end -->)", fresh, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
