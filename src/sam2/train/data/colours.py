"""Colour jitter as one affine map of RGB, so that a frame is gone through once; blur and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.augment import LUMA
from sam2.train.data.config import AugmentConfig

TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
MAX_BLUR = 1 / 400
"""Of the side: standard deviation of the strongest blur."""


@dataclass(frozen=True, slots=True)
class ColourChange:
    """Factors of brightness, contrast (about the picture's mean grey) and saturation; turn of hue in radians; grey.

    In this order, where the official recipe draws the order of the first three too.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    grey: bool = False

    def after(self, matrix: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """The map [3, 4] that does ``matrix`` [3, 4] first, for a picture of mean colour ``mean`` [3]."""
        scale, shift = matrix[:, :3] * self.brightness, matrix[:, 3] * self.brightness
        middle = LUMA @ (scale @ mean + shift)
        scale, shift = scale * self.contrast, shift * self.contrast + (1 - self.contrast) * middle
        saturation = 0.0 if self.grey else self.saturation
        mix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
        if self.hue:
            cos, sin = np.cos(self.hue), np.sin(self.hue)
            turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
            mix = np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ @ mix
        return mix @ np.column_stack([scale, shift])


def change_colours(image: NDArray[np.uint8], changes: tuple[ColourChange, ...]) -> NDArray[np.uint8]:
    """``image`` [h, w, 3] after all ``changes``, one after the other."""
    mean = np.array(cv2.mean(image)[:3])
    matrix = np.eye(3, 4)
    for change in changes:
        matrix = change.after(matrix, mean)
    if np.allclose(matrix, np.eye(3, 4), atol=1e-6):
        return image
    return np.asarray(cv2.transform(image, matrix), np.uint8)


def change_clip(rng: np.random.Generator, images: NDArray[np.uint8], config: AugmentConfig) -> NDArray[np.uint8]:
    """Frames [T, S, S, 3] in other colours: one change for all, a small one for each; now and then blur and noise."""
    shared = ColourChange(
        brightness=_factor(rng, config.brightness),
        contrast=_factor(rng, config.contrast),
        saturation=_factor(rng, config.saturation),
        hue=float(2 * np.pi * rng.uniform(-config.hue, config.hue)),
        grey=bool(rng.random() < config.grey),
    )
    side = images.shape[1]
    blur = float(rng.uniform(0.3, max(0.3, MAX_BLUR * side))) if rng.random() < config.blur else 0.0
    noise = float(rng.uniform(2, 10)) if rng.random() < config.noise else 0.0
    changed = np.empty_like(images)
    for t, image in enumerate(images):
        own = ColourChange(
            _factor(rng, config.frame_brightness),
            _factor(rng, config.frame_contrast),
            _factor(rng, config.frame_saturation),
            # what has lost its colours stays without
            grey=shared.grey,
        )
        frame = change_colours(image, (shared, own))
        if blur:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), blur), np.uint8)
        if noise:
            grain = rng.standard_normal(frame.shape, np.float32)
            frame = np.clip(frame + np.float32(noise) * grain, 0, 255).astype(np.uint8)
        changed[t] = frame
    return changed


def _factor(rng: np.random.Generator, strength: float) -> float:
    return float(rng.uniform(1 - strength, 1 + strength))
