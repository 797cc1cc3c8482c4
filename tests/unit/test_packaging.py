"""The wheel that users get: complete, small, and without a compiler."""

import importlib.util
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import sam2
from sam2.loading.locate import packaged_configs

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = {"all", "coco", "dev", "export", "hub", "studio", "supervision", "text", "train"}

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="needs hatchling"),
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the source tree"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_is_pure_python(wheel: zipfile.ZipFile) -> None:
    assert Path(wheel.filename or "").name == f"sam2-{sam2.__version__}-py3-none-any.whl"


def test_holds_one_package_and_all_of_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    source = ROOT / "src"

    assert {name.split("/")[0] for name in names} == {"sam2", f"sam2-{sam2.__version__}.dist-info"}
    assert {path.relative_to(source).as_posix() for path in source.rglob("*.py")} <= names
    assert {f"sam2/{name}" for name in packaged_configs()} <= names
    assert "sam2/py.typed" in names
    assert "sam2/weights/nano.safetensors" in names


def test_is_small(wheel: zipfile.ZipFile) -> None:
    assert Path(wheel.filename or "").stat().st_size < 20e6
    weights = [info for info in wheel.infolist() if info.filename.endswith(".safetensors")]
    assert all(info.file_size <= 16e6 for info in weights)


def test_says_what_it_needs_and_under_which_licence(wheel: zipfile.ZipFile) -> None:
    folder = f"sam2-{sam2.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    needed = {line.split(";")[0].split(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra" not in line}

    assert metadata["License-Expression"] == "Apache-2.0"
    assert {f"{folder}/licenses/LICENSE", f"{folder}/licenses/NOTICE"} <= set(wheel.namelist())
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert needed == {
        "av",
        "jaxtyping",
        "numpy",
        "opencv-python-headless",
        "pillow",
        "pyyaml",
        "rich",
        "safetensors",
        "torch",
        "typer",
    }
    assert "sam2 = sam2.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "sam2", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"sam2 {sam2.__version__}"
