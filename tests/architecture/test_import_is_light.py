"""``import sam2``: quick, without side effects, from any folder, and of required packages only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sam2

SOURCE = Path(sam2.__file__).resolve().parent.parent
OPTIONAL = {
    *("torchvision", "hydra", "omegaconf", "iopath", "transformers", "huggingface_hub", "pycocotools", "supervision"),
    *("accelerate", "tensorboard", "onnx", "onnxruntime", "fastapi", "uvicorn", "typer", "rich", "click", "av"),
    *("matplotlib", "scipy", "skimage", "pandas", "tqdm"),
}
FACADES = ("sam2.build_sam", "sam2.checkpoints", "sam2.sam2_image_predictor", "sam2.automatic_mask_generator")


def run_python(code: str, cwd: Path, **environment: str) -> str:
    """Run ``code`` in a fresh interpreter in ``cwd`` and return what it printed."""
    env = {**os.environ, "PYTHONPATH": str(SOURCE), **environment}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("module", ["sam2", *FACADES])
def test_no_optional_package_is_imported(module: str, tmp_path: Path) -> None:
    listing = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    torch_alone = json.loads(run_python(f"import torch; {listing}", tmp_path))
    loaded = json.loads(run_python(f"import torch, {module}; {listing}", tmp_path))

    assert OPTIONAL & set(loaded) <= set(torch_alone)


def test_import_costs_little_beyond_torch(tmp_path: Path) -> None:
    # CPU time, best of three: what other processes do meanwhile does not count
    code = "import torch, time; a = time.process_time(); import sam2; print(time.process_time() - a)"
    seconds = min(float(run_python(code, tmp_path)) for _ in range(3))

    assert seconds < 0.5


def test_import_has_no_side_effect(tmp_path: Path) -> None:
    code = """
import logging, os, random, signal, warnings
import numpy, torch
def state():
    return (
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), str(torch.get_rng_state().sum()),
        str(random.getstate())[:200], len(logging.getLogger().handlers), len(warnings.filters), os.listdir("."),
        str(signal.getsignal(signal.SIGINT)), torch.backends.cuda.matmul.allow_tf32, dict(os.environ),
    )
before = state()
import sam2
print(before == state())
"""
    assert run_python(code, tmp_path) == "True"
    assert list(tmp_path.iterdir()) == []


def test_import_from_the_parent_of_a_clone(tmp_path: Path) -> None:
    """A folder named ``sam2`` (the clone) beside the script must not hide the package."""
    root = SOURCE.parent if (SOURCE.parent / "pyproject.toml").exists() else None
    clone = tmp_path / "sam2"
    clone.mkdir()
    for entry in root.iterdir() if root else []:
        if not entry.name.startswith("."):
            (clone / entry.name).mkdir() if entry.is_dir() else (clone / entry.name).touch()

    found = run_python("import sam2; from sam2.build_sam import build_sam2; print(sam2.__file__)", tmp_path)

    assert Path(found).resolve() == Path(sam2.__file__).resolve()


def test_import_in_a_read_only_home_without_a_network(tmp_path: Path) -> None:
    """Nothing is written and nothing is fetched: an unusable home and proxy change nothing."""
    nowhere = str(tmp_path / "missing")
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "https_proxy": "http://127.0.0.1:9"}

    assert run_python("import sam2; print(len(sam2.__version__) > 0)", tmp_path, **environment) == "True"
    assert not Path(nowhere).exists()
