"""What runs of training need: a tiny model, packed photos and weights to start from."""

import miniature
import pytest
import torch

from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS
from sam2.train.nano.data.pack import pack


@pytest.fixture
def small_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "small", miniature.SMALL)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    pack(miniature.records(folder / "photos", 8), folder / "cache")
    return folder / "cache"


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return build_model(miniature.SMALL).state_dict()
