"""``sam2 train``: from options to a configuration, what it says beforehand, and how it ends."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sam2
from sam2.train import launch, trainer
from sam2.train.config import TrainConfig, read_config, write_config
from sam2.train.data.sources import SourceConfig

ROOT = Path(__file__).resolve().parents[3]
OFFICIAL = ROOT / "tests" / "unit" / "train" / "official_training.yaml"
Cli = Callable[..., Any]


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Twelve pictures of a disc, and their masks."""
    folder = tmp_path / "discs"
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        x, y = rng.integers(20, 44, 2)
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 12**2
        picture = rng.integers(0, 80, (64, 64, 3), np.uint8)
        picture[disc] += 120
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of three frames, as DAVIS has them."""
    folder = tmp_path / "clips"
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        (folder / kind / "one").mkdir(parents=True)
        for number in range(3):
            picture = np.zeros((48, 64), np.uint8)
            picture[10:30, 10 + number : 30 + number] = 1 if suffix == "png" else 200
            Image.fromarray(picture).save(folder / kind / "one" / f"{number:05}.{suffix}")
    return folder


@dataclass
class Calls:
    """What the trainer was asked to do, and what it answers."""

    configs: list[TrainConfig] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    resumed: list[bool] = field(default_factory=list)
    stopped: bool = False


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A trainer that does nothing but tell that it is done."""
    seen = Calls()

    def pretend(config: TrainConfig, folder: Path, *, resume: bool, progress: Any) -> trainer.TrainResult:
        seen.configs.append(config)
        seen.folders.append(folder)
        seen.resumed.append(resume)
        progress(7, 10, {"loss": 0.5})
        return trainer.TrainResult(
            folder=folder,
            checkpoint=folder / "checkpoint.pt",
            best=None if seen.stopped else folder / "best.pt",
            step=7,
            total=10,
            stopped=seen.stopped,
            scores={},
            best_score=None if seen.stopped else 0.8,
            elapsed=3.0,
        )

    monkeypatch.setattr(trainer, "train", pretend)
    return seen


def test_data_alone_fine_tune_the_bundled_model(cli: Cli, calls: Calls, discs: Path, tmp_path: Path) -> None:
    outcome = cli("train", "--data", discs, "-o", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    (config,) = calls.configs
    assert (config.name, config.model.name) == ("nano_image", "nano")
    assert config.data.train == (SourceConfig(path=str(discs)),)
    assert calls.folders == [tmp_path / "run"]
    assert outcome.out.splitlines() == ["step 7/10  loss 0.5", str(tmp_path / "run" / "best.pt")]
    assert "score 0.8000" in outcome.err


def test_the_recipe_follows_the_data_and_the_model(
    cli: Cli, calls: Calls, discs: Path, clip: Path, tmp_path: Path, nano_file: Path
) -> None:
    run = tmp_path / "run"
    assert cli("train", "--data", clip, "-o", run).status == 0
    assert cli("train", "--data", clip, "--data", discs, "-o", run, "--model", "sam2.1_hiera_small").status == 0
    assert cli("train", "--data", discs, "-o", run, "-m", "facebook/sam2-hiera-large").status == 0
    assert cli("train", "--data", discs, "-o", run, "--model", nano_file).status == 0
    video, mixed, old, file = calls.configs
    assert video.name == "nano_video"
    assert (mixed.name, mixed.model.name, mixed.data.still_batch_size) == ("small_mixed", "sam2.1_hiera_small", 2)
    assert (old.name, old.model.name) == ("large_image", "sam2_hiera_large")
    assert (file.name, file.model.name, file.data.image_size) == ("nano_image", str(nano_file), 512)


def test_every_option_reaches_the_configuration(
    cli: Cli, calls: Calls, discs: Path, clip: Path, tmp_path: Path
) -> None:
    outcome = cli(
        *("train", "tiny_mixed", "--data", discs, "--data", clip, "--val", discs, "-o", tmp_path / "run"),
        *("--model", "nano", "--image-size", "256", "--frames", "3", "--steps", "5", "--batch", "2"),
        *("--accumulate", "4", "--learning-rate", "1e-5", "--precision", "no", "--device", "cpu", "--lora", "3"),
        *("--freeze", "sam_*", "--freeze", "no_mem_embed", "--split", "all", "--val-split", "all"),
        *("--set", "optim.encoder_rate=2e-5", "--set", "data.train.1.weight=2"),
    )
    assert outcome.status == 0, outcome.err
    (config,) = calls.configs
    data, run = config.data, config.run
    assert data.train[0] == SourceConfig(path=str(discs), split="all")
    assert data.train[1] == SourceConfig(path=str(clip), split="all", weight=2.0)
    assert data.validation == (SourceConfig(path=str(discs), split="all"),)
    assert (data.image_size, data.frames, data.batch_size) == (256, 3, 2)
    assert (run.steps, run.epochs, run.accumulate, run.precision, run.device) == (5, None, 4, "no", "cpu")
    assert config.lora is not None
    assert (config.model.name, config.lora.rank, config.optim.frozen) == ("nano", 3, ("sam_*", "no_mem_embed"))
    assert (config.optim.learning_rate, config.optim.encoder_rate) == (1e-5, 2e-5)


def test_a_part_of_the_data_validates(cli: Cli, calls: Calls, discs: Path, tmp_path: Path) -> None:
    outcome = cli(
        "train", "nano_image", "--data", discs, "--split", "train", "--val-split", "val", "-o", tmp_path / "r"
    )
    assert outcome.status == 0, outcome.err
    (config,) = calls.configs
    assert config.data.validation == (SourceConfig(path=str(discs), split="val"),)


def test_adapters_learn_faster_than_weights(cli: Cli, calls: Calls, discs: Path, tmp_path: Path) -> None:
    assert cli("train", "tiny_image", "--data", discs, "--lora", "8", "-o", tmp_path / "run").status == 0
    optim = calls.configs[0].optim
    assert (optim.learning_rate, optim.encoder_rate, optim.layer_decay) == (1e-4, 1e-4, 1.0)


def test_a_stopped_training_says_how_it_goes_on(cli: Cli, calls: Calls, discs: Path, tmp_path: Path) -> None:
    calls.stopped = True
    run = tmp_path / "run"
    outcome = cli("train", "--data", discs, "-o", run)
    assert outcome.status == 130
    assert outcome.err == f"sam2: stopped after step 7 of 10, kept in {run}; 'sam2 train --resume -o {run}' goes on\n"


def test_going_on_takes_the_configuration_of_the_folder(cli: Cli, calls: Calls, discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = read_config("nano_image", [f"data.train=[{{path: {discs}}}]", "run.steps=10"])
    write_config(config, run / "config.yaml")
    assert cli("train", "--resume", "-o", run).status == 0
    assert cli("train", "--resume", "-o", run, "--steps", "20").status == 0
    assert calls.configs[0] == config
    assert calls.configs[1].run.steps == 20
    assert calls.resumed == [True, True]


def test_several_processes_read_what_is_kept_in_the_folder(
    cli: Cli, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], int]] = []
    statuses = iter([0, 2])

    def pretend(command: list[str], count: int) -> int:
        started.append((command, count))
        return next(statuses)

    monkeypatch.setattr(launch, "run_together", pretend)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    run = tmp_path / "run"
    options = ["--data", discs, "--steps", "5", "--processes", "2", "-o", run]
    assert cli("train", *options).status == 0
    ((command, count),) = started
    assert command[1:] == ["-m", "sam2", "train", "--resume", "--output", str(run)]
    assert count == 2
    assert read_config(run / "config.yaml").run.steps == 5
    with pytest.raises(SystemExit) as failure:
        cli("train", *options)
    assert failure.value.code == 2  # they have said why

    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = cli("train", *options)
    assert outcome.status == 2
    assert outcome.err == "sam2: error: --processes: a launcher has started several already, leave it out\n"
    assert len(started) == 2


def test_of_several_processes_one_says_that_it_was_stopped(
    cli: Cli, calls: Calls, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.stopped = True
    monkeypatch.setenv("RANK", "1")
    outcome = cli("train", "--data", discs, "-o", tmp_path / "run")
    assert (outcome.status, "stopped" in outcome.err) == (0, False)


def test_a_dry_run_tells_everything_and_trains_nothing(cli: Cli, calls: Calls, discs: Path) -> None:
    outcome = cli(
        "train", "tiny_image", "--data", discs, "--image-size", "256", "--dry-run", "--freeze", "image_encoder.*"
    )
    assert outcome.status == 0, outcome.err
    assert not calls.configs
    text, _, told = outcome.out.partition("\n\n")
    assert "learning_rate: 5.0e-06" in text
    assert "model: SAM 2.1 tiny at 256 px, 38.96 million parameters" in told
    assert re.search(r"trained: \d+\.\d+ million of them \(.* %\), in 2 groups with rates 5e-06 to 5e-06", told)
    assert "- memory_*\n  - maskmem_*" in text  # what the recipe freezes stays frozen
    assert "data: discs: 12 images, format pairs" in told
    learnt, held = map(int, re.findall(r"records: (\d+) to train on, (\d+) to validate on", told)[0])
    assert learnt + held == 12
    assert held >= 1
    assert f"{-(-learnt // 2)} batches each" in told


def test_an_official_file_is_translated(cli: Cli, calls: Calls, discs: Path, clip: Path, tmp_path: Path) -> None:
    outcome = cli("train", "--from-official-yaml", OFFICIAL, "-o", tmp_path / "mine.yaml")
    assert outcome.status == 0, outcome.err
    assert outcome.out == f"{tmp_path / 'mine.yaml'}\n"
    assert "sam2: ignored launcher.gpus_per_node: 8 (start several processes by" in outcome.err
    config = read_config(tmp_path / "mine.yaml")
    assert (config.model.name, config.data.train[0].path) == ("sam2.1_hiera_base_plus", "pictures/Annotations")
    assert not calls.configs
    # One's own data in the places of the file's: lists of names and weights are kept.
    outcome = cli(
        *("train", "--from-official-yaml", OFFICIAL, "--data", clip, "--data", discs, "-o", tmp_path / "run"),
        *("--set", "data.train.0.split=all"),
    )
    assert outcome.status == 0, outcome.err
    first, second = calls.configs[0].data.train
    assert (first.path, first.weight, first.split, first.images) == (str(clip), 2.0, "all", None)
    assert (second.path, second.frames, second.format) == (str(discs), 1, "auto")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "DATA"], ["--output RUN is missing"]),
        (["--resume", "--dry-run"], ["--output RUN is missing"]),
        (["-o", "RUN"], ["--data PATH is missing"]),
        (["nano_image", "-o", "RUN"], ["--data PATH is missing"]),
        (["--data", "nowhere", "-o", "RUN"], ["--data nowhere", "no such file"]),
        (["--data", "DATA", "--val", "nowhere", "-o", "RUN"], ["--val nowhere"]),
        (["nano_imag", "--data", "DATA", "-o", "RUN"], ["no recipe 'nano_imag'", "'nano_image'"]),
        (["mine.yaml", "--data", "DATA", "-o", "RUN"], ["mine.yaml", "no such file"]),
        (["nano_image", "--from-official-yaml", "x.yaml", "-o", "RUN"], ["exclude each other"]),
        (["--from-official-yaml", "x.yaml", "-o", "RUN"], ["x.yaml", "no such file"]),
        (["--data", "DATA", "-o", "RUN", "--steps", "3", "--epochs", "3"], ["--steps and --epochs exclude"]),
        (["--data", "DATA", "-o", "RUN", "--steps", "0"], ["steps must be at least 1"]),
        (["--data", "DATA", "-o", "RUN", "--set", "optim.lr=3"], ["unknown key optim.lr", "learning_rate"]),
        (["--data", "DATA", "-o", "RUN", "--set", "optim.lr"], ["--set takes KEY=VALUE", "'optim.lr'"]),
        (["--data", "DATA", "-o", "RUN", "--model", "huge"], ["no model 'huge'", "sam2.1_hiera_tiny"]),
        (["--data", "DATA", "-o", "RUN", "--format", "coca"], ["format must be", "coco"]),
        (["--data", "DATA", "-o", "RUN", "--image-size", "300"], ["image_size", "300"]),
        (["--data", "DATA", "--dry-run", "--freeze", "image_encodr.*"], ["image_encodr", "image_encoder.*"]),
        (["--resume", "-o", "RUN"], ["no training to go on with"]),
        (["--resume", "-o", "DATA"], ["no config.yaml"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    cli: Cli, calls: Calls, discs: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    places = {"DATA": discs, "RUN": tmp_path / "run"}
    outcome = cli("train", *(places.get(word, word) for word in arguments))
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("sam2: error: ")
    for word in words:
        assert word in outcome.err
    assert not calls.configs
    assert not (tmp_path / "run").exists()


def test_without_the_extra_one_sentence_names_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, discs: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("sam2.cli.train.find_spec", lambda name: None)
    outcome = cli("train", "--data", discs, "-o", tmp_path / "run")
    assert (outcome.status, outcome.err) == (
        2,
        'sam2: error: training needs the extra "train": pip install "sam2[train]"\n',
    )


def test_the_official_script_calls_the_same_code(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, discs: Path, clip: Path, tmp_path: Path
) -> None:
    specification = importlib.util.spec_from_file_location("official_train", ROOT / "training" / "train.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    commands: list[list[str]] = []
    monkeypatch.setattr(module.subprocess, "call", lambda command: commands.append(command) or 0)
    data = ["--data", str(clip), "--data", str(discs)]

    assert module.main(["-c", str(OFFICIAL), "--use-cluster", "0", "--num-gpus", "1", "-o", str(tmp_path), *data]) == 0
    assert calls.configs[0].model.name == "sam2.1_hiera_base_plus"
    assert not commands

    assert module.main(["-c", str(OFFICIAL), "--use-cluster", "0", "--num-gpus", "2", "-o", str(tmp_path), *data]) == 0
    (command,) = commands
    start = command.index("--num_processes")
    assert command[start : start + 2] == ["--num_processes", "2"]
    assert command[command.index("train") :] == [
        *("train", "--from-official-yaml", str(OFFICIAL), "--resume", "-o", str(tmp_path)),
        *data,
    ]
    with pytest.raises(SystemExit, match="2"):
        module.main(["-c", str(OFFICIAL), "--use-cluster", "1"])


@pytest.mark.slow
def test_a_training_from_one_command(cli: Cli, nano_file: Path, discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--model", nano_file, "--image-size", "256", "--batch", "1", "--device", "cpu", "-o", run]
    quick = ["run.validation_limit=1", "run.evaluate_first=false", "prompts.still_corrections=1", "data.workers=0"]
    quick += ["run.trackers=[]", "data.max_objects=1"]
    settings = [word for text in quick for word in ("--set", text)]
    outcome = cli("train", "--data", discs, "--steps", "1", *options, *settings)
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[-1] == str(run / "best.pt")
    assert sam2.load(run / "best.pt", device="cpu", dtype=torch.float32).image_size == 256
    # The same folder is refused, and goes on when asked.
    outcome = cli("train", "--data", discs, "--steps", "1", *options, *settings)
    assert (outcome.status, "resume" in outcome.err) == (2, True)
    outcome = cli("train", "--resume", "-o", run, "--steps", "2")
    assert outcome.status == 0, outcome.err
    assert "2 steps" in outcome.err


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch's wheels for Windows have no libuv rendezvous")
def test_a_training_in_two_processes(nano_file: Path, discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ["run.validation_limit=1", "run.evaluate_first=false", "run.pictures=0", "prompts.still_corrections=1"]
    quick += ["data.workers=0", "run.trackers=[]", "data.max_objects=1"]
    options = ["--model", nano_file, "--image-size", "256", "--batch", "1", "--device", "cpu", "--steps", "1"]
    words = ["train", "--data", discs, "-o", run, "--processes", "2", *options]
    words += [word for text in quick for word in ("--set", text)]
    command = [sys.executable, "-m", "sam2", *map(str, words)]
    paths = {"PYTHONPATH": str(Path(sam2.__file__).parents[1])}
    done = subprocess.run(
        command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(run / "best.pt")
    assert done.stderr.count("1 steps in") == 1
