"""docs/cli.md says what ``--help`` says, and ``--help`` works, quickly, for every command."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sam2

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    "sam2",
    "sam2 image",
    "sam2 video",
    "sam2 camera",
    "sam2 convert",
    "sam2 studio",
    "sam2 models",
    "sam2 models list",
    "sam2 models pull",
    "sam2 models verify",
    "sam2 train",
    "sam2 data",
    "sam2 data check",
    "sam2 eval",
    "sam2 eval clicks",
    "sam2 eval vos",
    "sam2 doctor",
]
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/update_cli.py."""
    specification = importlib.util.spec_from_file_location("update_cli", ROOT / "docs" / "update_cli.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def plain(text: str) -> str:
    """Words alone: no frames, no line ends, no Markdown."""
    return re.sub(r"[^\w@]+", " ", text)


def test_the_page_is_up_to_date(reference: ModuleType) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert reference.updated(page) == page, "run: python docs/update_cli.py"


def test_every_command_is_listed_here(reference: ModuleType) -> None:
    leaves = {name for name, _ in reference.commands()}
    assert leaves <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli: Cli, reference: ModuleType, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    outcome = cli(*command.split()[1:], "--help")
    assert outcome.status == 0
    assert outcome.err == ""
    text = plain(outcome.out)
    page = plain((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"))
    known = dict(reference.commands())
    for parameter in reference.shown(known[command]) if command in known else []:
        assert plain(parameter.help or "").strip() in text
        assert plain(parameter.help or "").strip() in page
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert option in outcome.out


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from sam2.cli import main; sys.argv = ['sam2', 'image', '--help']; status = main(); "
        "heavy = {'torch', 'numpy', 'cv2', 'PIL'} & set(sys.modules); print(status, sorted(heavy))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(sam2.__file__).resolve().parent.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.splitlines()[-1] == "0 []"


def test_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == f"sam2 {sam2.__version__}"


@pytest.mark.parametrize(("arguments", "word"), [(["paint"], "paint"), (["eval", "clicks"], "--data")])
def test_unknown_commands_and_missing_options(cli: Cli, arguments: list[str], word: str) -> None:
    outcome = cli(*arguments)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert word in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["image", "a.jpg", "--everything", "--format", "coco,gif"],
        ["image", "a.jpg", "--everything", "--effect", "sparkle"],
        ["image", "a.jpg", "--everything", "--min-area", "-1"],
        ["image", "a.jpg", "--everything", "--label", "1="],
        ["image", "a.jpg", "--boxes", "missing.json"],
        ["image", "missing/*.jpg", "--everything"],
    ],
)
def test_wrong_usage_is_said_before_torch_is_imported(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from sam2.cli import main; status = main(); "
        "print(status, sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(sam2.__file__).resolve().parent.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "2 []"
    assert len(result.stderr.splitlines()) == 1
