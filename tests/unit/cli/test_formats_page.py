"""docs/formats.md runs from top to bottom: its Python, then its command lines on what that has left."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sam2.interop.formats import FORMATS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_every_format_has_a_row() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE) == list(FORMATS)


def test_python_and_command_lines(cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (640, 480)).save("photos/photo.jpg")

    namespace: dict[str, Any] = {}
    for number, code in enumerate(blocks("python"), start=1):
        exec(compile(code, f"docs/formats.md, snippet {number}", "exec"), namespace)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    for line in lines:
        outcome = cli(*shlex.split(line, comments=True)[1:])
        assert (outcome.status, outcome.err) == (0, ""), line

    assert [path.as_posix() for path in namespace["written"]] == ["labels/coco.json", "labels/yolo"]
    assert [image.frame for image in namespace["tracks"]] == [0, 1, 2]
    assert {word for line in lines for word in re.findall(r"--to (\S+)", line)[0].split(",")} == set(FORMATS)
