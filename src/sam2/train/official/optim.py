"""Optimizer and losses of official training configurations: ``trainer.optim`` and ``trainer.loss``."""

from collections.abc import Mapping
from typing import Any

from sam2.train.official.tree import OfficialTree

_OPTIM = "trainer.optim"
_OPTIONS = f"{_OPTIM}.options"
_ONE = "the optimizer is AdamW"
_SAME = "all rates follow one schedule: that of the first"


def read_optim(official: OfficialTree) -> dict[str, Any]:
    """What ``optim`` of a configuration holds."""
    optim: dict[str, Any] = {}
    target = official.get(f"{_OPTIM}.optimizer._target_", "torch.optim.AdamW")
    if target != "torch.optim.AdamW":
        official.refuse(f"{_OPTIM}.optimizer._target_", _ONE)
    if isinstance(betas := official.peek(f"{_OPTIM}.optimizer.betas"), list):
        official.take(f"{_OPTIM}.optimizer.betas")
        optim["betas"] = betas
    clip = official.peek(f"{_OPTIM}.gradient_clip")
    official.get(f"{_OPTIM}.gradient_clip._target_")
    optim["clip"] = official.number(f"{_OPTIM}.gradient_clip.max_norm", 1.0) if clip else None
    if clip:
        official.expect(f"{_OPTIM}.gradient_clip.norm_type", 2, default=2, why="the norm is that of squares")
    optim["layer_decay"] = _layer_decay(official)
    return {**optim, **_rates(official), **_weight_decay(official)}


def _layer_decay(official: OfficialTree) -> float:
    decay = 1.0
    path = f"{_OPTIM}.param_group_modifiers"
    for number in range(official.length(path)):
        step = f"{path}.{number}"
        if not str(official.get(f"{step}._target_", "")).endswith("layer_decay_param_modifier"):
            official.refuse(step, "groups of parameters are changed by layer_decay and rates alone")
            continue
        decay = float(official.number(f"{step}.layer_decay_value", 1.0))
        official.expect(f"{step}.apply_to", "image_encoder.trunk", default=None, why="rates decay over the trunk")
        for place in range(official.length(f"{step}.overrides")):
            override = f"{step}.overrides.{place}"
            if official.peek(override) == {"pattern": "*pos_embed*", "value": 1.0}:
                official.take(override)  # as layer_decay does
            else:
                official.refuse(override, "position embeddings alone are left out of layer_decay")
    return decay


def _rates(official: OfficialTree) -> dict[str, Any]:
    """Rates of the groups, and the schedule that they share."""
    found: dict[str, Any] = {"encoder_rate": None, "rates": {}}
    schedule: dict[str, Any] | None = None
    for number in range(official.length(f"{_OPTIONS}.lr")):
        path = f"{_OPTIONS}.lr.{number}"
        rate, own = _schedule(official, f"{path}.scheduler")
        if rate is None:
            continue
        if schedule is not None and own != schedule:
            official.refuse(f"{path}.scheduler", f"{_SAME}; the rate at its start is taken")
        schedule = schedule or own
        names = official.get(f"{path}.param_names")
        if official.peek(f"{path}.module_cls_names"):
            official.refuse(f"{path}.module_cls_names", "rates are given by patterns of names")
        elif not names:
            found["learning_rate"] = rate
        elif names == ["image_encoder.*"]:
            found["encoder_rate"] = rate
        else:
            found["rates"] |= dict.fromkeys(names, rate)
    return {**found, **(schedule or {})}


def _schedule(official: OfficialTree, path: str) -> tuple[float | None, dict[str, Any]]:
    """The greatest rate of a scheduler of ``fvcore``, and its course."""
    kind = str(official.get(f"{path}._target_", "")).rpartition(".")[2]
    if kind in ("CosineParamScheduler", "LinearParamScheduler"):
        start, end = official.number(f"{path}.start_value", 0.0), official.number(f"{path}.end_value", 0.0)
        course = "cosine" if kind.startswith("Cosine") else "linear"
        left = round(end / start, 6) if start else 0.0
        return float(start), {"schedule": course, "final_rate": min(max(left, 0.0), 1.0)}
    if kind == "ConstantParamScheduler":
        return float(official.number(f"{path}.value", 0.0)), {"schedule": "constant"}
    if kind == "CompositeParamScheduler" and official.length(f"{path}.schedulers") == 2:
        official.take(f"{path}.schedulers.0")
        lengths = official.get(f"{path}.lengths", [0.0])
        official.get(f"{path}.interval_scaling")
        rate, course = _schedule(official, f"{path}.schedulers.1")
        return rate, {**course, "warm_up": float(lengths[0])}
    official.refuse(path, "schedules are cosine, linear and constant, after a linear warm-up")
    return None, {}


def _weight_decay(official: OfficialTree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(official.length(f"{_OPTIONS}.weight_decay")):
        path = f"{_OPTIONS}.weight_decay.{number}"
        names, classes = official.get(f"{path}.param_names"), official.get(f"{path}.module_cls_names")
        official.get(f"{path}.scheduler._target_")
        value = float(official.number(f"{path}.scheduler.value", 0.0))
        if not names and not classes:
            found["weight_decay"] = value
        elif value:
            official.refuse(path, "biases and torch.nn.LayerNorm do not decay, all else does")
    return found


def read_loss(official: OfficialTree) -> dict[str, Any]:
    """What ``loss`` of a configuration holds; defaults are those of ``MultiStepMultiMasksAndIous``."""
    losses = official.peek("trainer.loss")
    key = next(iter(losses)) if isinstance(losses, Mapping) and losses else None
    if key is None:
        return {}
    path = f"trainer.loss.{key}"
    for other in list(losses)[1:]:
        official.refuse(f"trainer.loss.{other}", f"one loss serves all data: that of {key!r}")
    if not str(official.get(f"{path}._target_", "")).endswith("MultiStepMultiMasksAndIous"):
        official.refuse(path, "the loss is MultiStepMultiMasksAndIous")
        return {}
    weights = {"mask": "focal", "dice": "dice", "iou": "iou", "class": "presence"}
    loss = {ours: official.number(f"{path}.weight_dict.loss_{name}", 0.0) for name, ours in weights.items()}
    loss["alpha"] = official.number(f"{path}.focal_alpha", 0.25)
    loss["gamma"] = official.number(f"{path}.focal_gamma", 2.0)
    official.expect(f"{path}.supervise_all_iou", True, default=False, why="all three predicted IoUs are trained")
    official.expect(f"{path}.iou_use_l1_loss", True, default=False, why="predicted IoUs are compared by L1")
    official.expect(f"{path}.pred_obj_scores", True, default=False, why="object scores are trained: set loss.presence")
    plain = "object scores are trained by plain cross entropy"
    official.expect(f"{path}.focal_gamma_obj_score", 0.0, default=0.0, why=plain)
    official.expect(f"{path}.focal_alpha_obj_score", -1.0, default=-1, why=plain)
    return loss
