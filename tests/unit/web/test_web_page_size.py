"""The page stays small enough to be read, in files of one purpose, and asks nobody but its own server."""

import re
from pathlib import Path

import pytest

import sam2

STATIC = Path(sam2.__file__).parent / "web" / "static"
CODE = sorted(path for path in STATIC.rglob("*") if path.suffix in {".js", ".ts", ".html", ".css"})
MAX_LINES = 400
MAX_CODE = 2300
"""About 2,000 lines of code; what only documents, and what is blank, is not counted."""
NO_CODE = re.compile(r"\s*($|/\*|\*|//|<!--)")
NAMESPACES = ("http://www.w3.org/",)


def _id(path: Path) -> str:
    return path.relative_to(STATIC).as_posix()


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_the_page_is_small() -> None:
    lines = {_id(path): sum(not NO_CODE.match(line) for line in _lines(path)) for path in CODE}

    assert sum(lines.values()) <= MAX_CODE, lines


@pytest.mark.parametrize("path", CODE, ids=_id)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(_lines(path)) <= MAX_LINES


@pytest.mark.parametrize("path", CODE, ids=_id)
def test_no_line_is_packed(path: Path) -> None:
    """Few lines are worth nothing if they are long."""
    long = [line for line in _lines(path) if len(line) > 125]

    assert not long


@pytest.mark.parametrize("path", CODE, ids=_id)
def test_no_address_leads_out(path: Path) -> None:
    addresses = re.findall(r"""(?:https?:|wss?:)?//[\w-]+\.[\w.-]+|https?://[^\s"'<>)]*""", path.read_text("utf-8"))

    assert [address for address in addresses if not address.startswith(NAMESPACES)] == []


@pytest.mark.parametrize("path", [path for path in CODE if path.suffix == ".html"], ids=_id)
def test_nothing_is_inline(path: Path) -> None:
    """The content security policy refuses it, quietly: the page would just not work."""
    text = path.read_text("utf-8")

    assert not re.search(r"<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:", text)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", [path for path in CODE if path.suffix == ".js"], ids=_id)
def test_text_stays_text(path: Path) -> None:
    """Names of files and objects are people's: nothing of them becomes markup or code."""
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text("utf-8")
    )

    assert not found
