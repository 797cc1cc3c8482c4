"""Official names, parameters and defaults, and the names and shapes of the eight state dicts."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from check_api import signature_faults, state_dict_faults

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS

CONFORMANCE = Path(__file__).parent / "conformance"
SIGNATURES: dict[str, list[dict]] = json.loads((CONFORMANCE / "api.json").read_text())
with gzip.open(CONFORMANCE / "state_dicts.json.gz", "rt") as file:
    STATE_DICTS: dict[str, dict[str, list[int]]] = json.load(file)
SIZES = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}


def preset_of(config_file: str) -> str:
    """``configs/sam2.1/sam2.1_hiera_b+.yaml`` -> ``sam2.1_hiera_base_plus``."""
    family, size = Path(config_file).name.removesuffix(".yaml").rsplit("_", 1)
    return f"{family}_{SIZES[size]}"


@pytest.mark.parametrize("path", SIGNATURES)
def test_signature(path: str) -> None:
    assert signature_faults(path, SIGNATURES[path]) == []


@pytest.mark.parametrize("config_file", STATE_DICTS)
def test_names_and_shapes(config_file: str) -> None:
    with torch.device("meta"):
        model = build_model(PRESETS[preset_of(config_file)])

    got = {name: list(value.shape) for name, value in model.state_dict().items()}

    assert got == STATE_DICTS[config_file]


@pytest.mark.parametrize("config_file", ["configs/sam2.1/sam2.1_hiera_t.yaml", "configs/sam2/sam2_hiera_t.yaml"])
@pytest.mark.filterwarnings("ignore:.*random weights.*")
def test_names_and_shapes_through_the_official_builder(config_file: str) -> None:
    assert state_dict_faults(config_file, STATE_DICTS[config_file]) == []
