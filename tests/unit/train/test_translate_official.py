"""Training configurations of the official code come to ours, and what has no counterpart is listed."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sam2.loading.locate import find_config
from sam2.loading.yaml_reader import read_yaml
from sam2.train.config import TrainConfig, config_from_tree
from sam2.train.data.sources import SourceConfig
from sam2.train.official.refs import References
from sam2.train.official.translate import Translation, translate_official
from sam2.train.settings_io import merged

FILE = Path(__file__).parent / "official_training.yaml"
Change = Callable[[dict[str, Any]], None]


def translated(tmp_path: Path, change: Change) -> Translation:
    """The test's file, changed by ``change`` and with the whole network of base_plus."""
    tree = read_yaml(FILE.read_text())
    tree["trainer"]["model"] = merged(find_config("sam2.1_hiera_base_plus")["model"], tree["trainer"]["model"])
    change(tree)
    path = tmp_path / "official.yaml"
    path.write_text(yaml.safe_dump(tree))
    return translate_official(path)


def reasons(translation: Translation) -> dict[str, str]:
    return {entry.key: entry.why for entry in translation.ignored}


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return config_from_tree(translate_official(FILE).tree)


def test_model(config: TrainConfig) -> None:
    assert (config.model.name, config.model.weights) == ("sam2.1_hiera_base_plus", "pretrained")
    assert config.model.drop_path == 0.15


def test_data(config: TrainConfig) -> None:
    clips = SourceConfig(
        path="pictures/Annotations",
        images="pictures/JPEGImages",
        format="davis",
        split="names.txt",
        weight=2.0,
        frames=6,
    )
    assert config.data.train == (clips, SourceConfig(path="stills", format="sa1b", split="all", frames=1))
    data = config.data
    assert (data.image_size, data.frames, data.max_objects, data.workers) == (512, 6, 2, 3)
    assert (data.batch_size, data.still_batch_size) == (1, 4)


def test_augmentation(config: TrainConfig) -> None:
    augment = config.data.augment
    assert (augment.flip, augment.affine, augment.degrees, augment.shear) == (0.5, 1.0, 20, 10)
    assert (augment.brightness, augment.contrast, augment.saturation, augment.hue) == (0.2, 0.1, 0.05, 0)
    assert (augment.frame_brightness, augment.frame_contrast, augment.frame_saturation) == (0.15, 0.06, 0.07)
    assert (augment.grey, augment.mosaic, augment.crop) == (0.04, 0, 0)


def test_prompts(config: TrainConfig) -> None:
    prompts = config.prompts
    assert (prompts.point_share, prompts.box_share, prompts.still_box_share) == (0.6, 0.4, 0.4)
    assert (prompts.init_frames, prompts.random_init_frames) == (2, False)
    assert (prompts.corrected_frames, prompts.random_corrected_frames) == (3, True)
    assert (prompts.corrections, prompts.truth_share) == (5, 0.2)


def test_loss_and_optimizer(config: TrainConfig) -> None:
    assert (config.loss.focal, config.loss.dice, config.loss.iou, config.loss.presence) == (15, 2, 1, 1)
    optim = config.optim
    assert (optim.learning_rate, optim.encoder_rate, optim.final_rate) == (4e-6, 2e-6, 0.05)
    assert (optim.schedule, optim.warm_up, optim.layer_decay) == ("cosine", 0, 0.8)
    assert (optim.weight_decay, optim.clip, optim.rates) == (0.05, 0.3, {})


def test_course(config: TrainConfig) -> None:
    run = config.run
    # 30 epochs of the official trainer are 15 passes in two phases each.
    assert (run.epochs, run.steps, run.seed, run.precision) == (15, None, 77, "bf16")
    assert (run.activation_checkpointing, run.log_every, run.trackers) == (True, 25, ("tensorboard",))


def test_what_does_nothing_is_listed_with_the_reason() -> None:
    why = reasons(translate_official(FILE))
    assert why["scratch.forgotten"] == "nothing refers to it"
    assert "no such augmentation" in why["trainer.data.train.datasets.1.transforms.0.transforms.6"]
    assert why["trainer.data.train.datasets.1.video_dataset.mask_area_frac_thresh"] == ""
    assert "accelerate launch" in why["launcher.gpus_per_node"]
    assert "run.save_every" in why["trainer.checkpoint.save_freq"]
    assert "Accelerate" in why["trainer.distributed.backend"]
    # What was used is not among them.
    used = ("scratch.base_lr", "trainer.max_epochs", "trainer.optim", "trainer.loss", "trainer.seed_value", "dataset")
    assert not [key for key in why if key.startswith(used)]


def test_a_whole_network_is_recognised(tmp_path: Path) -> None:
    translation = translated(tmp_path, lambda tree: None)
    assert translation.tree["model"]["name"] == "sam2.1_hiera_base_plus"
    left = {key for key in reasons(translation) if key.startswith("trainer.model.")}
    names = ("num_frames_to_correct_for_eval", "prob_to_use_pt_input_for_eval")
    assert left == {f"trainer.model.{name}" for name in names}


def test_a_network_without_checkpoint_starts_from_noise(tmp_path: Path) -> None:
    translation = translated(tmp_path, lambda tree: tree["trainer"].pop("checkpoint"))
    assert translation.tree["model"] == {"name": "sam2.1_hiera_base_plus", "weights": None, "drop_path": 0.15}


def test_a_checkpoint_of_ones_own(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["trainer"]["checkpoint"]["model_weight_initializer"]["state_dict"]["checkpoint_path"] = "mine/cells.pt"

    assert translated(tmp_path, change).tree["model"]["weights"] == "mine/cells.pt"


def test_an_unusual_flag_is_listed(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["trainer"]["model"]["multimask_output_in_sam"] = False

    assert "as it was trained" in reasons(translated(tmp_path, change))["trainer.model.multimask_output_in_sam"]


def test_absent_keys_mean_what_they_officially_mean(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        model = tree["trainer"]["model"]
        for key in [key for key in model if key.startswith(("prob_", "rand_", "num_", "use_act", "add_all"))]:
            if key != "num_maskmem":
                del model[key]
        for key in ("gradient_clip", "param_group_modifiers", "amp"):
            del tree["trainer"]["optim"][key]

    translation = translated(tmp_path, change)
    config = config_from_tree(translation.tree)
    assert (config.prompts.point_share, config.prompts.corrected_frames, config.prompts.corrections) == (0, 1, 7)
    assert (config.optim.clip, config.optim.layer_decay, config.run.precision) == (None, 1.0, "no")
    assert "absent" in reasons(translation)["trainer.model.add_all_frames_to_correct_as_cond"]


def test_schedules_and_freezing(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        scheduler = "fvcore.common.param_scheduler."
        tree["trainer"]["model"]["freeze_image_encoder"] = True
        tree["trainer"]["optim"]["options"]["lr"] = [
            {
                "scheduler": {
                    "_target_": f"{scheduler}CompositeParamScheduler",
                    "schedulers": [
                        {"_target_": f"{scheduler}LinearParamScheduler", "start_value": 0.0, "end_value": 1e-4},
                        {"_target_": f"{scheduler}CosineParamScheduler", "start_value": 1e-4, "end_value": 0.0},
                    ],
                    "lengths": [0.05, 0.95],
                    "interval_scaling": ["rescaled", "rescaled"],
                }
            },
            {
                "scheduler": {"_target_": f"{scheduler}ConstantParamScheduler", "value": 1e-3},
                "param_names": ["memory_*"],
            },
        ]

    translation = translated(tmp_path, change)
    optim = config_from_tree(translation.tree).optim
    assert (optim.learning_rate, optim.schedule, optim.final_rate, optim.warm_up) == (1e-4, "cosine", 0.0, 0.05)
    assert (optim.rates, optim.frozen) == ({"memory_*": 1e-3}, ("image_encoder.*",))
    assert "one schedule" in reasons(translation)["trainer.optim.options.lr.1.scheduler"]


def test_folders_that_are_left_to_be_filled_in(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["dataset"] |= {"img_folder": None, "gt_folder": None}

    translation = translated(tmp_path, change)
    told = [why for key, why in reasons(translation).items() if key.endswith("datasets.0.video_dataset.gt_folder")]
    assert told
    assert "--data" in told[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.pop("trainer"), ["'trainer'"]),
        (lambda tree: tree["trainer"].update(seed_value="x"), ["trainer.seed_value", "'x'"]),
        (lambda tree: tree["trainer"]["optim"]["amp"].update(enabled="x"), ["trainer.optim.amp.enabled", "'x'"]),
        (lambda tree: tree["scratch"].update(base_lr="${scratch.base_lr}"), ["references lead back"]),
    ],
)
def test_errors(tmp_path: Path, change: Change, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"official\.yaml") as caught:
        translated(tmp_path, change)
    for word in words:
        assert word in str(caught.value)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        translate_official(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"bad\.yaml.*YAML"):
        translate_official(tmp_path / "bad.yaml")


def test_references() -> None:
    tree = {
        "a": {"n": 3, "rate": 4e-6, "list": [1, {"x": "${a.n}"}]},
        "copy": "${a.list}",
        "sum": "${add:${a.n},${times:2,${a.n}},1}",
        "less": "${divide:${a.rate},10}",
        "text": "run_${a.n}/${b}",
        "b": "x",
        "entry": "${a.list.1.x}",
        "round": "${int:3.7}",
        "env": "${oc.env:HOME}",
        "gone": "${a.missing}",
    }
    before = copy.deepcopy(tree)
    references = References(tree)
    found = references.resolve()
    assert tree == before
    assert found["copy"] == [1, {"x": 3}]
    assert (found["sum"], found["text"], found["entry"], found["round"]) == (10, "run_3/x", 3, 3)
    assert found["less"] == pytest.approx(4e-7)
    assert (found["env"], found["gone"]) == ("${oc.env:HOME}", "${a.missing}")
    assert set(references.unresolved) == {"${oc.env:HOME}", "${a.missing}"}
    assert {"a.n", "a.rate", "a.list", "b"} <= references.used
