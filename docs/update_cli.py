"""Rewrites the option tables of docs/cli.md from the commands themselves: ``python docs/update_cli.py``.

A test calls :func:`updated` and compares, so that the page cannot go stale.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from sam2.cli.app import app

PAGE = Path(__file__).parent / "cli.md"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, as ("sam2 image", command)."""
    yield from _walk("sam2", get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if getattr(command, "commands", None) is None:
        yield name, command
        return
    for child in command.commands.values():
        yield from _walk(f"{name} {child.name}", child)


def table(command: Any) -> str:
    """The arguments and options of a command as Markdown."""
    lines = ["| option | meaning | default |", "|---|---|---|"]
    lines += [
        f"| {_names(parameter)} | {_meaning(parameter)} | {_default(parameter)} |" for parameter in shown(command)
    ]
    return "\n".join(lines) if len(lines) > 2 else "No options."


def shown(command: Any) -> list[Any]:
    """The parameters that ``--help`` lists, but for itself."""
    return [item for item in command.params if not getattr(item, "hidden", False) and item.name != "help"]


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"{names} `{parameter.metavar}`" if parameter.metavar else names


def _meaning(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"{text} May be repeated." if getattr(parameter, "multiple", False) else text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default() if callable(parameter.default) else parameter.default
    if parameter.secondary_opts:
        return f"`{parameter.opts[0] if value else parameter.secondary_opts[0]}`"
    return "" if value is None or value is False or value in ((), []) else f"`{value}`"


def updated(text: str) -> str:
    """``text`` with every table between ``<!-- options: NAME -->`` and ``<!-- end -->`` made anew.

    Raises:
        ValueError: a command has no place on the page, or a place has no command.
    """
    known = dict(commands())
    places = re.findall(r"<!-- options: (.*?) -->", text)
    if sorted(places) != sorted(known):
        raise ValueError(f"the page speaks of {sorted(places)}, the commands are {sorted(known)}")

    def fresh(found: re.Match[str]) -> str:
        return f"{found[1]}{table(known[found[2]])}\n{found[3]}"

    return re.sub(r"(<!-- options: (.*?) -->\n).*?(<!-- end -->)", fresh, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
