"""Required packages, and what they require in turn, come under permissive licences: no GPL, no AGPL."""

import re
from importlib import metadata
from pathlib import Path

import pytest

import sam2

PYPROJECT = Path(sam2.__file__).resolve().parents[2] / "pyproject.toml"
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
EXCEPTION = re.compile(r"GPL-\S+(-with-|\sWITH\s)\S*exception\S*", re.IGNORECASE)


def _required() -> list[str]:
    if not PYPROJECT.exists():
        return list(metadata.requires("sam2") or [])
    block = re.search(r"^dependencies = \[(.*?)^\]", PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block, "pyproject.toml lists no dependencies"
    return re.findall(r'"([^"]+)"', block[1])


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0].lower()


def _closure(requirements: list[str]) -> dict[str, metadata.PackageMetadata]:
    """Installed packages that ``requirements`` need, extras left out."""
    found: dict[str, metadata.PackageMetadata] = {}
    pending = [_name(r) for r in requirements]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # wanted on another platform or Python only
            continue
        found[name] = distribution.metadata
        pending += [_name(r) for r in distribution.requires or [] if "extra ==" not in r]
    return found


def licence_of(package: metadata.PackageMetadata) -> str:
    """The licence as the package states it: expression, else classifiers, else the first line of the text."""
    if expression := package.get("License-Expression"):
        return expression
    classifiers = [c for c in package.get_all("Classifier") or [] if c.startswith("License ::")]
    return "; ".join(classifiers) or (package.get("License") or "").strip().split("\n")[0]


def test_required_packages_are_installed() -> None:
    missing = [name for name in map(_name, _required()) if name not in _closure(_required())]

    assert not missing


@pytest.mark.parametrize(("name", "package"), sorted(_closure(_required()).items()))
def test_no_copyleft(name: str, package: metadata.PackageMetadata) -> None:
    licence = EXCEPTION.sub("", licence_of(package))

    assert not COPYLEFT.search(licence), f"{name} is under {licence}"
