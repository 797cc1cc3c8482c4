"""The recipe for a model and a kind of data, where nobody named one."""

from pathlib import Path
from typing import Any

from sam2.loading.locate import preset_of
from sam2.loading.official_yaml import parse_official
from sam2.loading.resolve import resolve_model
from sam2.modeling.config import PRESETS, ModelConfig

_SIZES = {96: "tiny", 112: "base_plus", 144: "large"}
_SMALL_DEPTH = 16


def choose_recipe(model: str, *, stills: bool, videos: bool) -> tuple[str, dict[str, dict[str, Any]]]:
    """The name of a recipe, and what is to be changed in it: ``{"model": {"name": ...}, ...}``.

    Args:
        model: a name as of ``sam2.load``, or a checkpoint, whose network is recognised.
        stills, videos: which kinds of data there are.

    Raises:
        ValueError, FileNotFoundError, OSError: there is no such model.
    """
    kind = "mixed" if stills and videos else "video" if videos else "image"
    preset = preset_of(model)
    if preset is not None:
        return f"{_size_of(PRESETS[preset])}_{kind}", {"model": {"name": preset}}
    config = parse_official(resolve_model(model).tree).config
    # A fine-tune goes on at the size that it was made for.
    size = {"data": {"image_size": config.image_size}}
    path = Path(model).expanduser()
    name = str(path.absolute()) if path.is_file() else model
    return f"{_size_of(config)}_{kind}", {"model": {"name": name}, **size}


def _size_of(config: ModelConfig) -> str:
    """What recipes call the size of a network; the nearest, for networks of one's own."""
    if config.version == "nano" or not hasattr(config.trunk, "embed_dim"):
        return "nano"
    width: int = config.trunk.embed_dim  # type: ignore[union-attr]  # a Hiera
    depth = sum(config.trunk.stages)  # type: ignore[union-attr]
    size = _SIZES[min(_SIZES, key=lambda known: abs(known - width))]
    return "small" if size == "tiny" and depth >= _SMALL_DEPTH else size
