"""The bundled model, and a picture with things in it."""

import numpy as np
import pytest

import sam2
from sam2.modeling.sam2_base import SAM2Base


@pytest.fixture(scope="session")
def nano() -> SAM2Base:
    """Shared and therefore read-only."""
    return sam2.load("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def photo_of_things() -> np.ndarray:
    """Two discs and a box on a table, uint8 [240, 320, 3]."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:240, :320]
    image = np.stack([120 + yy // 8, 110 + xx // 16, 90 + xx * 0], -1) + rng.integers(-6, 7, (240, 320, 1))
    image[(xx - 80) ** 2 + (yy - 80) ** 2 < 45**2] = (210, 50, 40)
    image[(xx - 230) ** 2 + (yy - 90) ** 2 < 40**2] = (30, 90, 200)
    image[150:220, 110:220] = (240, 220, 60)
    return image.clip(0, 255).astype(np.uint8)
