"""Names, hub ids and files: which model is meant. The hub's client is a stand-in."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from sam2.loading import resolve
from sam2.loading.download import DownloadError
from sam2.loading.locate import find_config
from sam2.loading.resolve import resolve_model
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fine_tune.pt"
    torch.save({"model": build_model(NANO).state_dict()}, path)
    return path


class Hub(SimpleNamespace):
    """A hub with one repository of the files in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder=folder, asked=[])

    def list_repo_files(self, repo: str) -> list[str]:
        self.asked.append(repo)
        return sorted(path.name for path in self.folder.iterdir())

    def hf_hub_download(self, repo: str, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README.md").write_text("A fine-tune.")
    hub = Hub(folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub


@pytest.mark.parametrize(
    "name", ["sam2.1_hiera_tiny", "facebook/sam2.1-hiera-tiny", "configs/sam2.1/sam2.1_hiera_t.yaml"]
)
def test_official_names_need_no_hub(name: str, weights: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    asked: list[str] = []
    monkeypatch.setattr(resolve, "download", lambda name: asked.append(name) or weights)

    found = resolve_model(name)

    assert asked == ["sam2.1_hiera_tiny"]
    assert found.tree == find_config("sam2.1_hiera_t.yaml")
    assert hub.asked == []


def test_a_file_says_what_it_is(weights: Path) -> None:
    found = resolve_model(str(weights))

    assert found.tree == find_config("nano")
    assert found.source == str(weights)


def test_another_repository_of_the_hub(hub: Hub, weights: Path) -> None:
    (hub.folder / "model.pt").write_bytes(weights.read_bytes())

    assert resolve_model("someone/fine-tune").tree == find_config("nano")
    assert hub.asked == ["someone/fine-tune"]


def test_a_configuration_in_the_repository_is_taken(hub: Hub, weights: Path) -> None:
    tree = find_config("nano")
    tree["model"]["image_size"] = 256
    (hub.folder / "model.pt").write_bytes(weights.read_bytes())
    (hub.folder / "model.safetensors").write_bytes(b"in the format of transformers")
    (hub.folder / "config.yaml").write_text(yaml.safe_dump(tree))

    assert resolve_model("someone/fine-tune").tree == tree


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no .pt or .safetensors file"), (["a.pt", "b.pt"], r"several weight files \(a.pt, b.pt\)")],
)
def test_a_repository_without_one_weights_file(names: list[str], message: str, hub: Hub) -> None:
    for name in names:
        (hub.folder / name).touch()

    with pytest.raises(ValueError, match=f"someone/fine-tune has {message}"):
        resolve_model("someone/fine-tune")


def test_a_hub_that_cannot_be_reached(hub: Hub) -> None:
    def fail(repo: str) -> list[str]:
        raise RuntimeError("no route to host")

    hub.list_repo_files = fail

    with pytest.raises(DownloadError, match="could not get someone/fine-tune from Hugging Face: no route to host"):
        resolve_model("someone/fine-tune")


def test_the_hub_without_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(ImportError, match=r"install the extra 'hub'.*pip install 'sam2\[hub\]'"):
        resolve_model("someone/fine-tune")


def test_nothing_of_this_name() -> None:
    with pytest.raises(ValueError, match=r"no model 'sam5': known are .*sam2.1_hiera_large, nano.*path of a .pt"):
        resolve_model("sam5")


@pytest.mark.parametrize("name", ["gone.pt", "gone.safetensors", "folder/gone.pth"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        resolve_model(name)


@pytest.mark.parametrize("name", [None, 3, ["nano"]])
def test_refuses_other_types(name: object) -> None:
    with pytest.raises(TypeError, match="a name or a path"):
        resolve_model(name)
