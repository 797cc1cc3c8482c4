"""The snippets of the README and the guides run, in order, as a reader would run them; examples too."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sam2.checkpoints import find_local
from sam2.io.video_writer import VideoWriter
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
MAX_EXAMPLE_LINES = 60
Cli = Callable[..., Any]


def snippets(page: str, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the snippets name, as the working directory."""
    noise = np.random.default_rng(0).integers(90, 120, (480, 640, 3)).astype(np.uint8)
    Image.fromarray(cv2.circle(noise, (320, 240), 120, (210, 40, 30), -1)).save(tmp_path / "photo.jpg")
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "examples" / "photos")
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def movie(reader: Path) -> Path:
    """``clip.mp4``, a disk that moves, with a folder of its frames and a mask of the first one."""
    frames = np.random.default_rng(0).integers(90, 120, (12, 240, 320, 3)).astype(np.uint8)
    (reader / "frames").mkdir()
    with VideoWriter(reader / "clip.mp4", fps=25) as writer:
        for number, frame in enumerate(frames):
            cv2.circle(frame, (160 + number, 120), 40, (210, 40, 30), -1)
            writer.write(frame)
            Image.fromarray(frame).save(reader / "frames" / f"{number}.png")
    stencil = cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), 40, 255, -1)
    Image.fromarray(stencil).save(reader / "first.png")
    return reader / "clip.mp4"


@pytest.fixture
def tiny_checkpoint(reader: Path) -> None:
    """An official-looking checkpoint of SAM 2.1 tiny, its weights random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = build_model(PRESETS["sam2.1_hiera_tiny"]).state_dict()
    torch.save({"model": weights}, "checkpoints/sam2.1_hiera_tiny.pt")


def run_snippets(page: str, nano_file: Path) -> dict[str, Any]:
    """Run a page's Python from top to bottom in one namespace, which is returned."""
    namespace: dict[str, Any] = {}
    for number, code in enumerate(snippets(page, "python"), start=1):
        if find_local("nano") is None:
            code = code.replace('"nano"', repr(str(nano_file)))
        exec(compile(code, f"{page}, snippet {number}", "exec"), namespace)
    return namespace


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
def test_image_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/image.md", nano_file)
    assert namespace["masks"][0].shape == (1, 1, 480, 640)
    assert any(parameter.grad is not None for parameter in namespace["parameters"])


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
def test_detections_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/detections.md", nano_file)
    assert (namespace["masks"].shape, namespace["names"]) == ((1, 480, 640), ["disk"])


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
def test_everything_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/everything.md", nano_file)
    assert namespace["records"][0]["segmentation"].shape == (400, 600)


@pytest.mark.slow
@pytest.mark.usefixtures("movie")
def test_everything_in_video_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/everything-in-video.md", nano_file)
    assert namespace["result"].frame_idx == 11
    assert 1 in namespace["result"].obj_ids


@pytest.mark.slow
@pytest.mark.usefixtures("movie")
def test_effects_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/effects.md", nano_file)
    assert namespace["picture"].shape == (240, 320, 3)
    with Image.open("photo_cutout.png") as picture:
        assert picture.mode == "RGBA"
    assert namespace["sheet"].shape[1] == namespace["page"].shape[1]


@pytest.mark.slow
@pytest.mark.usefixtures("reader", "tiny_checkpoint")
def test_models_guide(nano_file: Path) -> None:
    assert run_snippets("docs/models.md", nano_file)["model"].image_size == 512


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # "cuda" on a machine without one: ours and torch's own
@pytest.mark.usefixtures("movie", "tiny_checkpoint")
def test_readme(nano_file: Path) -> None:
    namespace = run_snippets("README.md", nano_file)
    assert namespace["mask"].shape == (400, 600)
    assert namespace["masks"].shape == (1, 400, 600)


@pytest.mark.slow
@pytest.mark.usefixtures("movie")
def test_video_guide(nano_file: Path) -> None:
    namespace = run_snippets("docs/video.md", nano_file)
    assert namespace["result"].masks.shape == (2, 240, 320)
    assert namespace["last"].shape == (240, 320)
    assert [result.frame_idx for result in namespace["results"]] == list(range(8, -1, -1))
    assert namespace["again"].obj_ids == namespace["session"].obj_ids
    assert Path("overlay.mp4").stat().st_size > 0
    assert Path("00003.png").is_file()
    assert namespace["masks"].shape == (1, 1, 240, 320)


@pytest.mark.slow
@pytest.mark.usefixtures("movie")
@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_video_command_lines(cli: Cli, nano_file: Path, page: str) -> None:
    """Every ``sam2 video`` and ``sam2 camera`` of a page that needs no camera, on a few frames."""
    lines = [line for block in snippets(page, "sh") for line in block.splitlines()]
    lines = [line for line in lines if re.match(r"sam2 (video|camera) (clip.mp4|frames)", line)]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        outcome = cli(*words, *([] if "--model" in words else ["--model", nano_file]), "--dtype", "float32")
        assert outcome.status == 0, outcome.err
        assert outcome.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_command_lines(cli: Cli, reader: Path, nano_file: Path, page: str) -> None:
    """Every ``sam2 image`` of a page, but for the photos it names."""
    lines = [line for block in snippets(page, "sh") for line in block.splitlines() if line.startswith("sam2 image")]
    assert lines
    (reader / "holiday").mkdir()
    (reader / "scans").mkdir()
    for name in ("holiday/a.jpg", "scans/a.tif"):
        Image.open("photo.jpg").save(name)
    Image.fromarray(np.full((480, 640), 255, np.uint8)).save("rough.png")
    (reader / "detections.json").write_text('[{"image": "photo.jpg", "box": [200, 120, 440, 360], "label": "disk"}]')
    for line in lines:
        outcome = cli(*shlex.split(line, comments=True)[1:], "--model", nano_file, "--dtype", "float32")
        assert outcome.status == 0, outcome.err
    assert list((reader / "out").glob("*_overlay.jpg"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, nano_file: Path, tmp_path: Path) -> None:
    path = ROOT / "examples" / name
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_EXAMPLE_LINES
    assert ast.get_docstring(ast.parse(text))
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "2", "PATH": "", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, path, nano_file], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout
    assert "NOT EVERY TIME" not in result.stdout
    assert "False" not in result.stdout


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
