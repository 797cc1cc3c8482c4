"""Small models that the tests of the network share."""

import pytest
import torch
from small_models import seeded, small_config, small_nano_config

from sam2.modeling.sam2_base import SAM2Base


@pytest.fixture(scope="session")
def small_model() -> SAM2Base:
    """Shared and therefore read-only: a test that changes a model builds its own with ``seeded``."""
    return seeded(small_config())


@pytest.fixture(scope="session")
def small_nano() -> SAM2Base:
    """The small ``nano``, likewise shared."""
    return seeded(small_nano_config())


@pytest.fixture
def pixels() -> torch.Tensor:
    """Two normalised pictures, [2, 3, 256, 256]."""
    return torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
