"""A training YAML of the official code (``sam2_training``, written for Hydra) to a configuration of this package.

Where a key is absent, the default of the official class holds. What has no counterpart is listed with the reason, so
that nothing is dropped in silence. Names of keys and classes are those of the official ``training`` package.
"""

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sam2.loading.official_yaml import BASE_CLASS, OfficialModel, parse_official
from sam2.loading.registry import CHECKPOINTS
from sam2.loading.yaml_reader import read_yaml
from sam2.modeling.config import PRESETS, HieraConfig, ModelConfig, default_behaviour
from sam2.train.official.data import read_data
from sam2.train.official.optim import read_loss, read_optim
from sam2.train.official.refs import References
from sam2.train.official.tree import MODEL_WHY, Ignored, OfficialTree

_MODEL = "trainer.model"
_INITIAL = "trainer.checkpoint.model_weight_initializer"

_TRAINING_KEYS = (
    "_target_",
    "prob_to_*",
    "*_for_train",
    "*_for_eval",
    "num_correction_pt_per_frame",
    "use_act_ckpt_iterative_pt_sampling",
    "freeze_image_encoder",
    "add_all_frames_to_correct_as_cond",
)
"""What the class ``SAM2Train`` takes, and the network's does not."""
_NETWORK_KEYS = ("memory_temporal_stride_for_eval", "only_obj_ptrs_in_the_past_for_eval")
"""Not among them, in spite of their names."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What came of an official file.

    Attributes:
        tree: for :func:`sam2.train.config.config_from_tree`: options that the file settles, and no others.
        ignored: the keys that do nothing here.
    """

    tree: dict[str, Any]
    ignored: tuple[Ignored, ...]


def translate_official(path: str | os.PathLike[str]) -> Translation:
    """Read an official training YAML.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, no training configuration, or holds values of the wrong kind.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        tree = read_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(tree, dict) or not isinstance(tree.get("trainer"), dict):
            raise ValueError("a training configuration of the official code has a section 'trainer', this has none")
        references = References(tree)
        official = OfficialTree(references.resolve())
        settled = _translated(official)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Translation({"name": file.stem, **settled}, tuple(official.rest(references.used)))


def _translated(official: OfficialTree) -> dict[str, Any]:
    model, frozen = _model(official)
    data = read_data(official)
    size = official.get(f"{_MODEL}.image_size")
    if isinstance(size, int) and size != data.setdefault("image_size", size):
        official.refuse(f"{_MODEL}.image_size", f"frames are resized to {data['image_size']}, and that holds")
    return {
        "model": model,
        "data": data,
        "prompts": _prompts(official),
        "loss": read_loss(official),
        "optim": {**read_optim(official), "frozen": frozen},
        "run": _run(official),
    }


def _model(official: OfficialTree) -> tuple[dict[str, Any], list[str]]:
    """The choice of the model, and the patterns of what is frozen."""
    tree = official.peek(_MODEL)
    if not isinstance(tree, Mapping):
        raise ValueError(f"{_MODEL} must be a mapping, got {tree!r}")
    for key in ("trainer._target_", f"{_MODEL}._target_", f"{_INITIAL}._target_", f"{_INITIAL}.state_dict._target_"):
        official.get(key)
    official.get(f"{_INITIAL}.state_dict.ckpt_state_dict_keys")
    checkpoint = official.get(f"{_INITIAL}.state_dict.checkpoint_path")
    frozen = ["image_encoder.*"] if official.flag(f"{_MODEL}.freeze_image_encoder", False) else []

    network = [key for key in tree if not _is_for_training(key)]
    choice: dict[str, Any] = {}
    preset, problem = _recognise(official, {key: tree[key] for key in network})
    if preset is not None:
        choice = {"name": preset, "weights": None}
    else:
        for key in set(network) - {"image_size"}:
            official.refuse(f"{_MODEL}.{key}", MODEL_WHY)
    drop_path = official.get(f"{_MODEL}.image_encoder.trunk.drop_path_rate")
    if drop_path is not None:
        choice["drop_path"] = drop_path
    if checkpoint is not None:
        choice |= _weights_of(str(checkpoint), preset)
    if "name" not in choice:
        raise ValueError(f"{_MODEL} is no known network ({problem}), and there is no checkpoint_path to go by")
    return choice, frozen


def _recognise(official: OfficialTree, network: Mapping[str, Any]) -> tuple[str | None, str]:
    """The preset of the network's sizes, whose keys are then read; or None and the reason."""
    try:
        parsed = parse_official({"model": {**network, "_target_": BASE_CLASS}})
    except ValueError as error:
        return None, str(error)
    name = next((name for name, known in PRESETS.items() if _bare(known) == _bare(parsed.config)), None)
    if name is None:
        return None, "its sizes are those of no known model"
    for key in network:
        official.take(f"{_MODEL}.{key}")
    for flag in _unusual_flags(parsed, name):
        if flag in network:
            official.refuse(f"{_MODEL}.{flag}", f"{name} behaves as it was trained to")
    return name, ""


def _unusual_flags(parsed: OfficialModel, name: str) -> list[str]:
    """Flags of behaviour that are not those of the preset ``name``."""
    usual = default_behaviour(PRESETS[name])
    return [one.name for one in fields(usual) if getattr(usual, one.name) != getattr(parsed.behaviour, one.name)]


def _bare(config: ModelConfig) -> ModelConfig:
    """``config`` without what shapes no weight."""
    trunk = config.trunk
    if isinstance(trunk, HieraConfig):
        trunk = replace(trunk, drop_path_rate=0.0)
    memory = replace(config.memory, dropout=0.0)
    return replace(config, name="", version="custom", image_size=1024, trunk=trunk, memory=memory)


def _is_for_training(key: str) -> bool:
    return key not in _NETWORK_KEYS and any(fnmatch.fnmatch(key, pattern) for pattern in _TRAINING_KEYS)


def _weights_of(checkpoint: str, preset: str | None) -> dict[str, Any]:
    """The file; or, where there is none, the known checkpoint that is called so, which is found or downloaded."""
    known = {entry.filename: name for name, entry in CHECKPOINTS.items()}
    name = known.get(Path(checkpoint).name)
    if name is not None and not Path(checkpoint).expanduser().is_file() and preset in (None, name):
        return {"name": name, "weights": "pretrained"}
    return {"weights": checkpoint} if preset else {"name": checkpoint, "weights": "pretrained"}


def _prompts(official: OfficialTree) -> dict[str, Any]:
    """The simulated user; defaults are those of ``training.model.sam2.SAM2Train``."""
    box = official.number(f"{_MODEL}.prob_to_use_box_input_for_train", 0.0)
    clicks = int(official.number(f"{_MODEL}.num_correction_pt_per_frame", 7))
    why = "corrected frames are conditioning frames in training"
    official.expect(f"{_MODEL}.add_all_frames_to_correct_as_cond", True, default=False, why=why)
    return {
        "point_share": official.number(f"{_MODEL}.prob_to_use_pt_input_for_train", 0.0),
        "box_share": box,
        "still_box_share": box,
        "truth_share": official.number(f"{_MODEL}.prob_to_sample_from_gt_for_train", 0.0),
        "init_frames": int(official.number(f"{_MODEL}.num_init_cond_frames_for_train", 1)),
        "random_init_frames": official.flag(f"{_MODEL}.rand_init_cond_frames_for_train", True),
        "corrected_frames": int(official.number(f"{_MODEL}.num_frames_to_correct_for_train", 1)),
        "random_corrected_frames": official.flag(f"{_MODEL}.rand_frames_to_correct_for_train", False),
        "corrections": clicks,
        "still_corrections": clicks,
    }


def _run(official: OfficialTree) -> dict[str, Any]:
    """How long, and in which precision; defaults are those of ``training.trainer.Trainer``."""
    phases = official.number("trainer.data.train.phases_per_epoch", 1)
    run: dict[str, Any] = {
        "epochs": official.number("trainer.max_epochs", 40) / max(phases, 1),
        "seed": int(official.number("trainer.seed_value", 123)),
        "precision": "no",
        "activation_checkpointing": official.flag(f"{_MODEL}.use_act_ckpt_iterative_pt_sampling", False),
    }
    if official.flag("trainer.optim.amp.enabled", False):
        kind = str(official.get("trainer.optim.amp.amp_dtype", "float16"))
        run["precision"] = {"bfloat16": "bf16", "float16": "fp16"}.get(kind, "auto")
    else:
        official.get("trainer.optim.amp.amp_dtype")
    if official.peek("trainer.logging.log_freq") is not None:
        run["log_every"] = max(1, int(official.number("trainer.logging.log_freq", 10)))
    if official.peek("trainer.logging.tensorboard_writer") is not None:
        official.take("trainer.logging.tensorboard_writer")
        run["trackers"] = ["tensorboard"]
    return run
