"""Finding the configuration that a user names."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from sam2.loading.locate import find_config, packaged_configs, preset_of
from sam2.loading.yaml_reader import read_yaml
from sam2.modeling.config import PRESETS

LARGE = "configs/sam2.1/sam2.1_hiera_l.yaml"


@pytest.mark.parametrize(
    "spelling",
    [
        LARGE,
        "configs/sam2.1/sam2.1_hiera_l",
        "sam2.1_hiera_l.yaml",
        "sam2.1_hiera_l",
        "sam2.1_hiera_large",
        "sam2.1_hiera_large.yaml",
        "facebook/sam2.1-hiera-large",
    ],
)
def test_every_spelling_of_a_packaged_name(spelling: str) -> None:
    assert preset_of(spelling) == "sam2.1_hiera_large"
    assert find_config(spelling) == find_config(LARGE)


def test_the_official_names_are_packaged() -> None:
    assert set(packaged_configs().values()) == set(PRESETS)
    assert preset_of("sam2_hiera_b+.yaml") == "sam2_hiera_base_plus"
    assert preset_of("nano") == "nano"
    assert preset_of("sam2_hiera_huge.yaml") is None


def test_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert find_config("sam2_hiera_t.yaml")["model"]["image_size"] == 1024


@pytest.mark.parametrize("form", ["path", "absolute", "relative", "uri", "no suffix"])
def test_a_file(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = find_config(LARGE)
    tree["model"]["image_size"] = 512
    path = tmp_path / "mine.yaml"
    path.write_text("# @package _global_\n" + yaml.safe_dump(tree))
    monkeypatch.chdir(tmp_path)
    forms = {
        "path": path,
        "absolute": str(path),
        "relative": "./mine.yaml",
        "uri": f"file://{path}",
        "no suffix": str(path.with_suffix("")),
    }

    assert find_config(forms[form])["model"]["image_size"] == 512


def test_a_packaged_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sam2_hiera_t.yaml").write_text("model: {image_encoder: {}, image_size: 256}")
    monkeypatch.chdir(tmp_path)

    assert find_config("sam2_hiera_t.yaml")["model"]["image_size"] == 1024
    assert find_config("./sam2_hiera_t.yaml")["model"]["image_size"] == 256
    assert find_config(Path("sam2_hiera_t.yaml"))["model"]["image_size"] == 256


def test_a_mapping_with_or_without_the_model_key() -> None:
    tree = find_config(LARGE)

    assert find_config(tree) == tree
    assert find_config(tree["model"]) == tree


def test_a_mapping_read_by_plain_yaml_is_what_the_name_means() -> None:
    for name in packaged_configs():
        text = files("sam2").joinpath(name).read_text(encoding="utf-8")
        assert find_config(yaml.safe_load(text)) == find_config(name)  # PyYAML reads 1e-6 as a string


def test_a_mapping_that_is_no_dict() -> None:
    class Lazy(Mapping):
        """What OmegaConf's DictConfig looks like from outside: nested objects of its own."""

        def __init__(self, values: dict) -> None:
            self._values = values

        def __getitem__(self, key: str) -> object:
            value = self._values[key]
            return Lazy(value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value

        def __iter__(self) -> Iterator[str]:
            return iter(self._values)

        def __len__(self) -> int:
            return len(self._values)

    tree = find_config(LARGE)

    assert find_config(Lazy(tree)) == tree


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"Did you mean 'configs/sam2.1/sam2.1_hiera_l.yaml'.*configs/nano"
    ) as caught:
        find_config("configs/sam2.1/sam2.1_hiera_xl.yaml")
    assert all(name in str(caught.value) for name in packaged_configs())


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "model: 3\n", "training: {a: 1}\n", ""])
def test_a_file_that_is_no_model(content: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(content)

    with pytest.raises(ValueError, match=r"odd\.yaml must be a mapping with a 'model' key"):
        find_config(path)


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("model: [1,\n")

    with pytest.raises(ValueError, match=r"odd\.yaml: not valid YAML.*line"):
        find_config(path)


@pytest.mark.parametrize("config", [None, 3, ["model"]])
def test_refuses_other_types(config: object) -> None:
    with pytest.raises(TypeError, match="a name, a path or a mapping"):
        find_config(config)


def test_reads_numbers_as_yaml_1_2_does() -> None:
    assert read_yaml("[1e-6, 1E3, 1.5e+2, 1.0, 3, 1e]") == [1e-6, 1000.0, 150.0, 1.0, 3, "1e"]
