"""``python -m sam2.train.nano``: what it understands, and the order in which the recipe does things."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import miniature
import pytest

command = importlib.import_module("sam2.train.nano.__main__")


@pytest.fixture
def done(monkeypatch):
    """What was done, in order, instead of labelling, training and exporting; every training comes to its end."""
    steps, over = [], set()

    def run_together(program, count):
        assert program[1:3] == ["-m", "sam2.train.nano"]
        given = program[3:]
        steps.append(("together", given, count))
        over.add(given[len(given) - 1 - given[::-1].index("--out") + 1])
        return 0

    monkeypatch.setattr(command, "find_imagenet_weights", lambda: None)
    monkeypatch.setattr(command, "run_together", run_together)
    monkeypatch.setattr(command, "is_over", lambda folder: str(folder) in over)
    monkeypatch.setattr(
        command, "_train", lambda config, cache, out, **options: steps.append(("train", config, options))
    )
    monkeypatch.setattr(command, "_label", lambda data, folder: steps.append(("label", folder)) or folder)
    monkeypatch.setattr(command, "export_weights", lambda run, path: steps.append(("export", run, path)))
    for variable in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    return SimpleNamespace(steps=steps, over=over, names=lambda: [step[0] for step in steps])


def test_the_recipe_labels_packs_trains_in_two_stages_and_exports(done, tmp_path):
    data, out = miniature.write_all(tmp_path / "data"), tmp_path / "run"
    given = ["--data", str(data), "all", "--out", str(out), "--steps", "730"]

    assert command.main(given) == 0

    assert done.names() == ["label", "together", "together", "export"]
    assert (out / "cache" / "index.npz").exists()
    stills, clips = done.steps[1:3]
    shared = [*given, "--stage", "stills", "--cache", str(out / "cache"), "--out", str(out / "stills")]
    assert stills == ("together", [*shared, "--steps", "530"], 2)
    shared = [*given, "--stage", "clips", "--cache", str(out / "cache"), "--out", str(out / "clips")]
    assert clips == ("together", [*shared, "--init", str(out / "stills"), "--steps", "200"], 2)
    assert done.steps[3] == ("export", out / "clips", out / "nano.safetensors")


def test_the_recipe_goes_on_where_it_was(done, tmp_path):
    data, out = miniature.write_all(tmp_path / "data"), tmp_path / "run"
    given = ["all", "--data", str(data), "--out", str(out), "--resume"]
    done.over.add(str(out / "stills"))
    assert command.main(given) == 0
    assert done.names() == ["label", "together", "export"]
    assert done.steps[1][1][-2:] == ["--init", str(out / "stills")]


def test_a_stage_that_was_stopped_ends_the_recipe(done, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "is_over", lambda folder: False)
    data = miniature.write_all(tmp_path / "data")
    assert command.main(["all", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    assert done.names() == ["label", "together"]
    assert "--resume goes on" in capsys.readouterr().out


@pytest.mark.parametrize(("stage", "clip_share"), [("stills", 0), ("clips", 0.5)])
def test_a_process_of_a_stage_trains_alone(done, tmp_path, monkeypatch, stage, clip_share):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    given = ["all", "--out", str(tmp_path), "--steps", "3", "--stage", stage, "--init", "weights.safetensors"]
    assert command.main(given) == 0
    ((_, config, options),) = done.steps
    assert (config.steps, config.clip_share) == (3, clip_share)
    assert config.simulation.kinds["click"] == (0.45 if clip_share else 0.4)
    assert config.simulation.loose_share == (0.35 if clip_share else 0)
    assert options == {"resume": False, "threads": 1, "initial": Path("weights.safetensors")}


def test_a_failed_training_exports_nothing(done, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_together", lambda program, count: 3)
    data = miniature.write_all(tmp_path / "data")
    assert command.main(["all", "--data", str(data), "--out", str(tmp_path / "run")]) == 3
    assert "export" not in done.names()


def test_without_the_recipe_nothing_is_labelled_or_exported(done, tmp_path):
    data = miniature.write_all(tmp_path / "data")
    cache = tmp_path / "cache"
    given = ["--data", str(data), "--cache", str(cache), "--out", str(tmp_path / "run"), "--steps", "1", "--resume"]
    assert command.main([*given, "--sizes", "256:0.25,512:0.75"]) == 0
    ((_, config, options),) = done.steps
    assert config.sizes == ((256, 0.25), (512, 0.75))
    assert options == {"resume": True, "threads": None, "initial": None}
    assert (cache / "index.npz").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--steps", "1"], "--out"),
        (["--out", "OUT"], "give --steps, or train by the recipe"),
        (["--out", "OUT", "--steps", "1"], "holds no packed data: give --data"),
        (["tiny", "--out", "OUT"], "invalid choice"),
        (["--out", "OUT", "--steps", "1", "--sizes", "256:0.5"], "must sum to 1"),
    ],
)
def test_what_is_wrong_is_said(done, tmp_path, capsys, given, message):
    with pytest.raises(SystemExit) as error:
        command.main([item.replace("OUT", str(tmp_path)) for item in given])
    assert error.value.code == 2
    assert message in capsys.readouterr().err
    assert not done.steps
