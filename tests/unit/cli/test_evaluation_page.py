"""docs/evaluation.md: its Python runs, and its command lines have the options that it says they have."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.main import get_command

from sam2.checkpoints import find_local
from sam2.cli.app import app
from sam2.io.palette import write_palette_png

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_command_lines_have_these_options() -> None:
    evaluate = get_command(app).commands["eval"]  # type: ignore[attr-defined]
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("sam2 eval ")]
    assert len(lines) > 8
    for line in lines:
        name, *words = shlex.split(line, comments=True)[2:]
        # parsing finds options that are not there, and values that do not fit
        context = evaluate.commands[name].make_context(name, words, resilient_parsing=False)
        assert context.params["data"]


def test_options_that_are_talked_about() -> None:
    evaluate = get_command(app).commands["eval"]  # type: ignore[attr-defined]
    known = {word for command in evaluate.commands.values() for item in command.params for word in item.opts}
    known |= {word for command in evaluate.commands.values() for item in command.params for word in item.secondary_opts}
    text = PAGE.read_text(encoding="utf-8").split("## The official scripts")[0]
    talked_about = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert talked_about - known == set()
    assert {"--partial", "--resume", "--workers", "--masks", "--predictions", "--oracle"} <= talked_about


@pytest.mark.slow
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_file: Path) -> None:
    disk = np.hypot(*(np.mgrid[:120, :160] - np.array([60, 80])[:, None, None])) <= 30
    picture = np.where(disk[..., None], (40, 40, 210), 105).astype(np.uint8)
    davis, grabcut = tmp_path / "data" / "davis", tmp_path / "data" / "grabcut"
    folders = [davis / "JPEGImages" / "480p" / "blackswan", davis / "Annotations" / "480p" / "blackswan"]
    for folder in (*folders, grabcut / "data_GT", grabcut / "boundary_GT"):
        folder.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folders[0] / f"{number:05d}.jpg"), picture)
        write_palette_png(folders[1] / f"{number:05d}.png", disk.astype(np.uint8))
    cv2.imwrite(str(grabcut / "data_GT" / "a.jpg"), picture)
    cv2.imwrite(str(grabcut / "boundary_GT" / "a.png"), disk.astype(np.uint8) * 255)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    if find_local("nano") is None:
        code = code.replace('"nano"', repr(str(nano_file)))
    namespace: dict = {}
    exec(compile(code, str(PAGE), "exec"), namespace)
    assert [item.clip for item in namespace["scores"].objects] == ["blackswan"]
    assert len(namespace["clicks"].clicks) == 20
