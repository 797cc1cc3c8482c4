"""Configurations of trainings: recipes, files, overrides, and errors that say what is wrong."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import yaml

from sam2.train.config import (
    ModelChoice,
    TrainConfig,
    config_from_tree,
    config_to_dict,
    read_config,
    recipe_names,
    write_config,
)
from sam2.train.data.config import DataConfig
from sam2.train.data.sources import SourceConfig
from sam2.train.settings_io import record_from_tree, record_to_tree


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_read_and_written_as_it_was(name: str, tmp_path: Path) -> None:
    config = read_config(name, ["data.train=[{path: somewhere, weight: 0.5}]"])
    assert config.name == name
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    # Other readers of YAML 1.1 see numbers where there are numbers.
    assert (
        yaml.safe_load((tmp_path / "config.yaml").read_text())["optim"]["learning_rate"] == config.optim.learning_rate
    )


def test_there_is_a_recipe_for_every_model_and_kind() -> None:
    for model in ("tiny", "small", "base_plus", "large"):
        for kind in ("image", "video", "mixed"):
            config = read_config(f"{model}_{kind}")
            assert config.model.name == f"sam2.1_hiera_{model}"
            assert (config.data.frames == 1) == (kind == "image")
    assert read_config("nano_video").model.name == "nano"
    assert read_config("nano_image").data.image_size == 512


def test_the_video_recipe_has_the_official_numbers() -> None:
    config = read_config("base_plus_video")
    assert (config.data.frames, config.data.max_objects, config.data.image_size) == (8, 3, 1024)
    assert (config.optim.learning_rate, config.optim.encoder_rate, config.optim.layer_decay) == (5e-6, 3e-6, 0.9)
    assert (config.optim.weight_decay, config.optim.clip, config.optim.final_rate) == (0.1, 0.1, 0.1)
    assert (config.loss.focal, config.loss.dice, config.loss.iou, config.loss.presence) == (20, 1, 1, 1)
    assert (config.prompts.point_share, config.prompts.box_share, config.prompts.truth_share) == (0.5, 0.5, 0.1)
    assert (config.model.drop_path, config.run.epochs) == (0.1, 40)


def test_the_image_recipe_leaves_alone_what_stills_do_not_reach() -> None:
    import torch

    from sam2.modeling.build import build_model
    from sam2.modeling.config import PRESETS
    from sam2.train.optim import freeze

    for name in ("nano", "sam2_hiera_tiny", "sam2.1_hiera_tiny"):
        with torch.device("meta"):
            model = build_model(PRESETS[name])
        freeze(model, read_config("image").optim)
        trained = {key.split(".")[0] for key, value in model.named_parameters() if value.requires_grad}
        assert trained == {"image_encoder", "sam_prompt_encoder", "sam_mask_decoder", "no_mem_embed"}


def test_a_file_says_no_more_than_what_differs_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.yaml").write_text("base: tiny_video\noptim: {learning_rate: 1e-5}\nrun: {steps: 70}\n")
    (tmp_path / "sub" / "other.yaml").write_text("base: ../mine.yaml\nname: other\ndata: {frames: 4}\n")
    config = read_config(tmp_path / "sub" / "other.yaml")
    assert (config.name, config.data.frames, config.optim.learning_rate) == ("other", 4, 1e-5)
    assert config.optim.encoder_rate == 3e-6
    assert (config.run.steps, config.run.epochs) == (70, None)
    assert config.model.name == "sam2.1_hiera_tiny"


def test_overrides() -> None:
    sources = "data.train=[{path: a}, {path: b}]"
    config = read_config(
        "tiny_video",
        [sources, "data.train.1.weight=2", "optim.learning_rate=1e-5", "optim.frozen=[image_encoder.*]", "run.steps=5"],
    )
    assert config.data.train == (SourceConfig(path="a"), SourceConfig(path="b", weight=2.0))
    assert (config.optim.learning_rate, config.optim.frozen) == (1e-5, ("image_encoder.*",))
    assert (config.run.steps, config.run.epochs) == (5, None)
    assert read_config("tiny_video", ["run.epochs=2"]).run == replace(config.run, steps=None, epochs=2)
    assert config.lora is None
    with_lora = read_config("tiny_video", ["lora.rank=3"]).lora
    assert with_lora is not None
    assert with_lora.rank == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.learning_rat=1", ["unknown key optim.learning_rat", "'learning_rate'", "weight_decay"]),
        ("optimizer=1", ["unknown key optimizer", "did you mean 'optim'", "lora"]),
        ("optim.learning_rate=fast", ["optim.learning_rate", "a number", "'fast'"]),
        ("optim.learning_rate=-1", ["optim: learning_rate", "-1"]),
        ("optim.betas=[0.9]", ["optim.betas", "2 values"]),
        ("optim.schedule=cosin", ["optim.schedule", "cosine, linear, constant", "did you mean 'cosine'"]),
        ("run.steps=true", ["run.steps", "an integer", "True"]),
        ("run.steps=2.5", ["run.steps", "2.5"]),
        ("data.train=[{}]", ["data.train[0].path is missing"]),
        ("data.train=[a]", ["data.train[0]", "mapping", "'a'"]),
        ("data.train.0.path=a", ["data.train.0.path=a", "entry"]),
        ("run.epochs.x=1", ["run.epochs.x=1", "below 40"]),
        ("data.frames.x=1", ["data.frames must be an integer"]),
        ("data.image_size=500", ["data: image_size", "500"]),
        ("model.image_size=512", ["model.image_size is 512", "1024"]),
        ("prompts.past=[]", ["prompts.past", "mapping"]),
        ("run.trackers=tensorboard", ["run.trackers", "a list"]),
        ("frames", ["KEY=VALUE", "'frames'"]),
        ("run.seed=[", ["run.seed=[", "YAML"]),
    ],
)
def test_what_is_wrong_is_said(override: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_config("tiny_video", ["data.train=[]", override])
    for word in words:
        assert word in str(caught.value)


def test_errors_of_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(FileNotFoundError, match=r"mine\.yaml"):
        read_config(path)
    with pytest.raises(ValueError, match=r"no recipe 'tiny_vidio'.*did you mean 'tiny_video'"):
        read_config("tiny_vidio")
    path.write_text("a: [1")
    with pytest.raises(ValueError, match=r"mine\.yaml.*YAML"):
        read_config(path)
    path.write_text("- 1")
    with pytest.raises(ValueError, match=r"mine\.yaml.*mapping"):
        read_config(path)
    path.write_text("base: mine.yaml")
    with pytest.raises(ValueError, match="leads back"):
        read_config(path)
    path.write_text("base: tiny_video\nruns: {}")
    with pytest.raises(ValueError, match=r"mine\.yaml: unknown key runs"):
        read_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        read_config(path)
    path.write_text("")
    assert read_config(path) == TrainConfig()


def test_a_tree_of_plain_values() -> None:
    config = TrainConfig(model=ModelChoice(name="nano"), data=DataConfig(train=(SourceConfig(path="x"),)))
    tree = config_to_dict(config)
    assert tree["data"]["train"][0]["path"] == "x"
    assert config_from_tree(tree) == config
    assert config_from_tree({}) == TrainConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    kind: Literal["a", 2] = "a"
    pairs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    either: int | str | None
    shares: dict[str, float]
    number: float = 0.0
    flag: bool | int = False
    inner: Inner | None = None


def test_every_kind_of_field() -> None:
    tree = {
        "either": "x",
        "shares": {"a": 1},
        "number": 2,
        "flag": 3,
        "inner": {"kind": 2, "pairs": [[1, 2], [3, 0.5]]},
    }
    record = record_from_tree(Outer, tree)
    assert record == Outer(
        either="x", shares={"a": 1.0}, number=2.0, flag=3, inner=Inner(kind=2, pairs=((1, 2.0), (3, 0.5)))
    )
    assert isinstance(record.number, float)
    assert record_from_tree(Outer, record_to_tree(record)) == record
    assert record_from_tree(Outer, {"either": None, "shares": {}}).flag is False
    assert record_from_tree(Outer, {"either": 4, "shares": {}, "flag": True}).flag is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"either": 1.5}, ["either must be", "an integer", "a text", "1.5"]),
        ({"shares": {"a": "x"}}, ["shares.a must be a number"]),
        ({"shares": [1]}, ["shares must be a mapping"]),
        ({"number": None}, ["number must be a number, got None"]),
        ({"inner": {"kind": "b"}}, ["inner.kind must be one of a, 2"]),
        ({"inner": {"pairs": [[1, 2, 3]]}}, ["inner.pairs[0]", "2 values"]),
        ({"inner": {"other": 1}}, ["unknown key inner.other", "kind, pairs"]),
    ],
)
def test_fields_refuse_other_values(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        record_from_tree(Outer, {"either": None, "shares": {}, **change})
    for word in words:
        assert word in str(caught.value)
