"""``python -m sam2.train``: what it understands, and the order in which the recipe does things."""

import importlib
from types import SimpleNamespace

import miniature
import pytest

command = importlib.import_module("sam2.train.__main__")


@pytest.fixture
def done(monkeypatch):
    """What was done, in order, instead of labelling, training and exporting."""
    steps = []
    monkeypatch.setattr(command, "find_imagenet_weights", lambda: None)
    monkeypatch.setattr(command, "train_together", lambda given, count: steps.append(("together", given, count)) or 0)
    monkeypatch.setattr(
        command, "_train", lambda config, cache, out, **options: steps.append(("train", config, options))
    )
    monkeypatch.setattr(command, "_label", lambda data, folder: steps.append(("label", folder)) or folder)
    monkeypatch.setattr(command, "_export", lambda config, out: steps.append(("export", config, out)))
    for variable in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    return SimpleNamespace(steps=steps, names=lambda: [step[0] for step in steps])


def test_the_recipe_labels_packs_trains_and_exports(done, tmp_path):
    data, out = miniature.write_all(tmp_path / "data"), tmp_path / "run"
    given = ["nano", "--data", str(data), "--out", str(out)]

    assert command.main(given) == 0

    assert done.names() == ["label", "together", "export"]
    assert (out / "cache" / "index.npz").exists()
    assert done.steps[1] == ("together", given, 2)
    config = done.steps[2][1]
    assert (config.minutes, config.batch_size, config.bce_share, config.amp) == (85, 8, 0.4, "decoder")


def test_a_process_of_the_recipe_trains_alone(done, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command.main(["nano", "--out", str(tmp_path), "--steps", "3"]) == 0
    ((_, config, options),) = done.steps
    assert (config.steps, config.minutes) == (3, None)
    assert options == {"going_on": False, "threads": 1, "initial": None}


def test_a_failed_training_exports_nothing(done, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "train_together", lambda given, count: 3)
    data = miniature.write_all(tmp_path / "data")
    assert command.main(["nano", "--data", str(data), "--out", str(tmp_path / "run")]) == 3
    assert "export" not in done.names()


def test_without_the_recipe_nothing_is_labelled_or_exported(done, tmp_path):
    data = miniature.write_all(tmp_path / "data")
    cache = tmp_path / "cache"
    given = ["--data", str(data), "--cache", str(cache), "--out", str(tmp_path / "run"), "--minutes", "1", "--resume"]
    assert command.main([*given, "--sizes", "256:0.25,512:0.75"]) == 0
    ((_, config, options),) = done.steps
    assert config.sizes == ((256, 0.25), (512, 0.75))
    assert options == {"going_on": True, "threads": None, "initial": None}
    assert (cache / "index.npz").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--steps", "1"], "--out"),
        (["--out", "OUT"], "give minutes or steps"),
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
