"""What every rule about the source needs: the files, parsed once."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

import sam2

PACKAGE = Path(sam2.__file__).resolve().parent


@dataclass(frozen=True)
class SourceFile:
    """A file of the package: its place in it and what it holds."""

    path: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The folder or module directly under ``sam2`` that this file belongs to."""
        return self.path.split("/")[0].removesuffix(".py")


@pytest.fixture(scope="session")
def sources() -> list[SourceFile]:
    """Every Python file of ``sam2``, in the order of their paths."""
    files = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        files.append(SourceFile(path.relative_to(PACKAGE).as_posix(), text, ast.parse(text, filename=str(path))))
    return files
