"""The official builders, and the short way: names and files to models that are ready to use."""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sam2.loading.devices import DeviceLike, DtypeLike, resolve_device, resolve_dtype
from sam2.loading.locate import find_config, packaged_configs
from sam2.loading.official_yaml import parse_official
from sam2.loading.overrides import apply_overrides
from sam2.loading.registry import CHECKPOINTS
from sam2.loading.resolve import resolve_model
from sam2.loading.weights import load_strict, read_checkpoint
from sam2.modeling.build import build_model
from sam2.modeling.config import with_postprocessing
from sam2.modeling.sam2_base import SAM2Base

if TYPE_CHECKING:
    from sam2.sam2_camera_predictor import SAM2CameraPredictor
    from sam2.sam2_video_predictor import SAM2VideoPredictor

T = TypeVar("T")

HF_MODEL_ID_TO_FILENAMES: dict[str, tuple[str, str]] = {
    hub_id: (config, CHECKPOINTS[preset].filename)
    for config, preset in packaged_configs().items()
    if (hub_id := CHECKPOINTS[preset].hub_id) is not None
}
"""The eight official Hugging Face ids -> (name of the packaged configuration, file name of the checkpoint)."""


def build_sam2(
    config_file: str | os.PathLike[str] | Mapping[str, Any],
    ckpt_path: str | os.PathLike[str] | None = None,
    device: DeviceLike = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    *,
    dtype: DtypeLike = None,
    **kwargs: Any,
) -> SAM2Base:
    """The model that an official configuration describes.

    Args:
        config_file: a packaged name (``"configs/sam2.1/sam2.1_hiera_l.yaml"``, ``"sam2.1_hiera_l.yaml"``,
            ``"sam2.1_hiera_large"``, ``"facebook/sam2.1-hiera-large"``), the path of a YAML file, or a mapping.
        ckpt_path: a ``.pt`` or ``.safetensors`` file; None leaves the weights random, with a warning.
        device: ``"cuda"`` without CUDA falls back to the CPU with one warning; None picks cuda, mps, xpu, cpu.
        mode: ``"eval"`` or ``"train"``.
        hydra_overrides_extra: changes to the configuration, as ``"++model.image_size=512"``.
        apply_postprocessing: fall back on the best of three masks where the single one is unstable.
        dtype: what to compute in, float32 by default; ``"auto"`` takes bfloat16 where it is native.
        kwargs: accepted as officially, with a warning, since they do nothing.

    Returns:
        The model on ``device``, all of whose weights come from ``ckpt_path``.

    Raises:
        FileNotFoundError: no such configuration or checkpoint.
        ValueError: a configuration, override, checkpoint, device, mode or dtype that does not work, and why.
    """
    _warn_about_unknown("build_sam2", kwargs)
    place = _Place.of(device, dtype, mode)
    return _build_named(config_file, ckpt_path, hydra_overrides_extra, place, _Kind(apply_postprocessing))


def build_sam2_video_predictor(
    config_file: str | os.PathLike[str] | Mapping[str, Any],
    ckpt_path: str | os.PathLike[str] | None = None,
    device: DeviceLike = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    *,
    dtype: DtypeLike = None,
    **kwargs: Any,
) -> "SAM2VideoPredictor":
    """The video predictor that an official configuration describes; arguments as of :func:`build_sam2`.

    Args:
        hydra_overrides_extra: also of behaviour, as ``"++model.add_all_frames_to_correct_as_cond=false"``.
        apply_postprocessing: besides what it does for images, fill holes of up to 8 low-resolution pixels, and make
            memories of prompted frames from binary masks.
        vos_optimized: give the predictor that compiles its network, :class:`SAM2VideoPredictorVOS`.

    Raises:
        FileNotFoundError: no such configuration or checkpoint.
        ValueError: a configuration, override, checkpoint, device, mode or dtype that does not work, and why.
    """
    from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

    _warn_about_unknown("build_sam2_video_predictor", kwargs)
    place = _Place.of(device, dtype, mode)
    kind = _Kind(apply_postprocessing, SAM2VideoPredictorVOS if vos_optimized else SAM2VideoPredictor)
    model = _build_named(config_file, ckpt_path, hydra_overrides_extra, place, kind)
    assert isinstance(model, SAM2VideoPredictor)
    return model


def build_sam2_camera_predictor(
    config_file: str | os.PathLike[str] | Mapping[str, Any],
    ckpt_path: str | os.PathLike[str] | None = None,
    device: DeviceLike = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    *,
    dtype: DtypeLike = None,
    **kwargs: Any,
) -> "SAM2CameraPredictor":
    """The predictor for streams that an official configuration describes; as :func:`build_sam2_video_predictor`.

    Raises:
        FileNotFoundError: no such configuration or checkpoint.
        ValueError: a configuration, override, checkpoint, device, mode or dtype that does not work, and why.
    """
    from sam2.sam2_camera_predictor import SAM2CameraPredictor

    kwargs.pop("vos_optimized", None)
    _warn_about_unknown("build_sam2_camera_predictor", kwargs)
    place = _Place.of(device, dtype, mode)
    kind = _Kind(apply_postprocessing, SAM2CameraPredictor)
    model = _build_named(config_file, ckpt_path, hydra_overrides_extra, place, kind)
    assert isinstance(model, SAM2CameraPredictor)
    return model


def build_sam2_hf(model_id: str, **kwargs: Any) -> SAM2Base:
    """The model of a Hugging Face id such as ``"facebook/sam2.1-hiera-large"``, or anything :func:`load` takes.

    Args:
        model_id: the eight official ids need no extra; others need ``pip install 'sam2[hub]'``.
        kwargs: ``device``, ``mode``, ``hydra_overrides_extra``, ``apply_postprocessing`` and ``dtype`` of
            :func:`build_sam2`; ``device`` is picked if it is not given.
    """
    options = {key: kwargs.pop(key) for key in _OPTIONS if key in kwargs}
    _warn_about_unknown("build_sam2_hf", kwargs)
    return load_pretrained(model_id, **options)


def build_sam2_video_predictor_hf(
    model_id: str | os.PathLike[str], *, cls: "type[SAM2VideoPredictor] | None" = None, **kwargs: Any
) -> "SAM2VideoPredictor":
    """The video predictor of a Hugging Face id, or of anything :func:`load` takes; ``"nano"`` needs no network.

    Args:
        model_id: as of :func:`build_sam2_hf`.
        cls: the class to be built; by default what ``vos_optimized`` means.
        kwargs: as of :func:`build_sam2_hf`, and ``vos_optimized``.
    """
    from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

    optimized = kwargs.pop("vos_optimized", False)
    if optimized and (cls is None or cls is SAM2VideoPredictor):
        cls = SAM2VideoPredictorVOS
    cls = cls or SAM2VideoPredictor
    options = {key: kwargs.pop(key) for key in _OPTIONS if key in kwargs}
    _warn_about_unknown("build_sam2_video_predictor_hf", kwargs)
    model = load_pretrained(model_id, cls=cls, **options)
    assert isinstance(model, SAM2VideoPredictor)
    return model


_OPTIONS = ("device", "mode", "hydra_overrides_extra", "apply_postprocessing", "dtype")


def load(name: str | os.PathLike[str], device: DeviceLike = None, dtype: DtypeLike = "auto") -> SAM2Base:
    """A model with its weights, ready to predict: ``load("nano")``, ``load("sam2.1_hiera_tiny")``, ``load("mine.pt")``.

    Args:
        name: a known name, a Hugging Face id, or a ``.pt`` or ``.safetensors`` file, whose architecture is recognised.
            Official weights are downloaded on first use.
        device: None picks cuda, mps, xpu, cpu.
        dtype: ``"auto"`` computes in bfloat16 where the device does so natively, else in float32.

    Raises:
        ValueError: nothing of this name, or a file that is no SAM 2 checkpoint.
        OSError: no such file, or the weights cannot be downloaded; the message says which file to put where.
    """
    # Sessions take this model as it is, and are to give the masks that SAM2VideoPredictor gives.
    return load_pretrained(name, device=device, dtype=dtype, for_video=True)


def load_pretrained(
    model_id: str | os.PathLike[str],
    *,
    device: DeviceLike = None,
    dtype: DtypeLike = None,
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    cls: type[SAM2Base] | None = None,
    for_video: bool = False,
) -> SAM2Base:
    """What :func:`load` does, with the options of :func:`build_sam2`; ``from_pretrained`` calls it.

    Args:
        cls: build this video predictor, in place of the class that the configuration names.
        for_video: with the video half of post-processing whatever the class; images are the same with it.
    """
    place = _Place.of(device, dtype, mode)
    found = resolve_model(model_id)
    tree = apply_overrides(found.tree, hydra_overrides_extra)
    return _build(tree, found.state_dict, place, _Kind(apply_postprocessing, cls, for_video), source=found.source)


def with_pretrained(cls: Callable[..., T], model_id: str | os.PathLike[str], options: dict[str, Any]) -> T:
    """``cls(model, ...)`` with the weights of ``model_id``: what its constructor does not name goes to the loader."""
    named = list(inspect.signature(cls).parameters)[1:]
    own = {name: value for name, value in options.items() if name in named}
    return cls(load_pretrained(model_id, **{name: options[name] for name in options.keys() - own}), **own)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and how a model will run: settled before anything is downloaded or built."""

    device: torch.device
    dtype: torch.dtype
    training: bool

    @staticmethod
    def of(device: DeviceLike, dtype: DtypeLike, mode: str) -> "_Place":
        if mode not in ("eval", "train"):
            raise ValueError(f"mode must be 'eval' or 'train', got {mode!r}")
        chosen = resolve_device(device)
        return _Place(chosen, resolve_dtype(dtype, chosen), mode == "train")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is to be built: a video predictor of class ``video``, else what the configuration says.

    ``for_video`` adds the video half of post-processing to any model; images are the same with it.
    """

    postprocessing: bool
    video: type[SAM2Base] | None = None
    for_video: bool = False


def _build_named(
    config_file: str | os.PathLike[str] | Mapping[str, Any],
    ckpt_path: str | os.PathLike[str] | None,
    overrides: Sequence[str],
    place: _Place,
    kind: _Kind,
) -> SAM2Base:
    tree = apply_overrides(find_config(config_file), overrides)
    state_dict = None if ckpt_path is None else read_checkpoint(ckpt_path)
    return _build(tree, state_dict, place, kind, source=str(ckpt_path))


def _build(
    tree: dict[str, Any], state_dict: dict[str, Tensor] | None, place: _Place, kind: _Kind, *, source: str
) -> SAM2Base:
    official = parse_official(tree)
    behaviour = official.behaviour
    if kind.postprocessing:
        behaviour = with_postprocessing(behaviour, video=kind.for_video or kind.video is not None)
    cls = kind.video or _model_class(official.target)
    if state_dict is None:
        model = build_model(official.config, behaviour, cls=cls)
        warnings.warn(
            f"ckpt_path is None: {official.config.name} is built with random weights, and its masks mean nothing",
            stacklevel=4,
        )
    else:
        with _SkipInit():
            model = build_model(official.config, behaviour, cls=cls)
        load_strict(model, state_dict, source=source)
    if place.dtype != torch.float32:
        model.cast_(place.dtype)
    model.to(place.device)
    if official.compile_image_encoder:
        model.image_encoder.compile(dynamic=False)
    return model.train(place.training)


def _model_class(target: str) -> type[SAM2Base]:
    try:
        return resolve_name(target)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model._target_: this version has no {target}") from error


def _warn_about_unknown(function: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        warnings.warn(f"{function} ignores unknown arguments: {', '.join(kwargs)}", stacklevel=3)


class _SkipInit(TorchFunctionMode):
    """Leaves parameters as they are allocated: a checkpoint is about to fill every one of them.

    In-place functions on parameters are dropped, here and in this thread only. Buffers are computed as ever.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else kwargs.get("tensor")
        name = getattr(func, "__name__", "")
        if isinstance(first, nn.Parameter) and name.endswith("_") and name[:2] != "__" and name != "requires_grad_":
            return first
        return func(*args, **kwargs)
