"""Objects cut out of one record and pasted, moving, into another: their masks are known to the pixel."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.train.data.augment import jitter_colours
from sam2.train.data.motion import Flight, warped

MARGIN = 0.15
"""Empty room around a cut-out, into which it may wobble, as a share of its longest side."""
MIN_SHARE, MAX_SHARE = 0.002, 0.6
"""Of its picture: what is smaller shows nothing when enlarged, what is larger is mostly ground."""
MIN_SIDE = 12
"""Pixels of the longest side of a cut-out at least."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """Pixels [h, w, 3] around an object, and the object's mask [h, w] bool."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Cutout | None:
    """The object of ``mask`` [h, w]; None where it is too small, too large, or goes on beyond the picture."""
    if mask is None or not MIN_SHARE <= mask.mean() <= MAX_SHARE:
        return None
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    right, bottom = left + width, top + height
    beyond = left == 0 or top == 0 or right == mask.shape[1] or bottom == mask.shape[0]
    if beyond or max(width, height) < MIN_SIDE:
        return None
    inside = np.s_[top:bottom, left:right]
    return Cutout(image[inside].copy(), mask[inside].copy())


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out on its way: [h, w, 4] RGB and opacity, with a margin of no opacity, and its path."""

    patch: NDArray[np.uint8]
    flight: Flight

    def paint(self, frame: NDArray[np.uint8], t: int) -> NDArray[np.bool_]:
        """Paint it on ``frame`` [S, S, 3] in place, as it is at frame ``t``; returns what it covers, [S, S]."""
        side = frame.shape[0]
        covered = np.zeros((side, side), bool)
        placed = self._placed(t, side)
        if placed is None:
            return covered
        layer, left, top = placed
        inside = np.s_[top : top + layer.shape[0], left : left + layer.shape[1]]
        opacity = layer[..., 3]
        weight = opacity.astype(np.float32)[..., None] / 255
        frame[inside] = (frame[inside] * (1 - weight) + layer[..., :3] * weight + 0.5).astype(np.uint8)
        covered[inside] = opacity > 127
        return covered

    def _placed(self, t: int, side: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """The part of it that is in the frame, [h, w, 4], and where: left, top; None if it is not there."""
        flight, (rows, columns) = self.flight, self.patch.shape[:2]
        if flight.hidden[t]:
            return None
        longest = max(rows, columns)
        bent = flight.wobble.at(t, columns, rows) * np.float32(longest)
        bent[..., 0] += np.arange(columns, dtype=np.float32)[None]
        bent[..., 1] += np.arange(rows, dtype=np.float32)[:, None]
        patch = warped(self.patch, bent)
        cos, sin = np.cos(flight.angle[t]), np.sin(flight.angle[t])
        scale = side * flight.size[t] / (longest / (1 + 2 * MARGIN))
        matrix = scale * np.array([[cos, -sin], [sin, cos]]) * np.exp(flight.squeeze[t] * np.array([0.5, -0.5]))
        shift = side * flight.centre[t] - 0.5 - matrix @ ((np.array([columns, rows]) - 1) / 2)
        corners = matrix @ np.array([[0, columns, 0, columns], [0, 0, rows, rows]]) + shift[:, None]
        left, top = (int(low) for low in np.clip(np.floor(corners.min(1)), 0, side))
        right, bottom = (int(high) for high in np.clip(np.ceil(corners.max(1)) + 1, 0, side))
        if right <= left or bottom <= top:
            return None
        affine = np.column_stack([matrix, shift - [left, top]])
        layer = cv2.warpAffine(patch, affine, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        return np.asarray(layer, np.uint8), left, top


def make_sprite(rng: np.random.Generator, cutout: Cutout, flight: Flight, *, side: int) -> Sprite:
    """``cutout`` in other colours, mirrored or not, at about the size that it has in frames of ``side``."""
    size = float(flight.size.mean())
    rows, columns = cutout.mask.shape
    longest = int(np.clip(size * side, 16, 1.5 * max(rows, columns, 16)))
    scale = longest / max(rows, columns)
    target = (max(4, round(columns * scale)), max(4, round(rows * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colours = np.asarray(cv2.resize(cutout.pixels, target, interpolation=interpolation), np.uint8)
    opacity = np.asarray(cv2.resize(cutout.mask.astype(np.uint8) * 255, target, interpolation=interpolation), np.uint8)
    colours = jitter_colours(rng, colours, strength=0.7)
    edges = (max(2, round(MARGIN * longest)),) * 4
    colours = cv2.copyMakeBorder(colours, *edges, borderType=cv2.BORDER_REPLICATE)
    opacity = cv2.copyMakeBorder(opacity, *edges, borderType=cv2.BORDER_CONSTANT, value=0)
    # A feathered edge: a sharp one would give the paste away.
    opacity = cv2.GaussianBlur(opacity, (0, 0), float(rng.uniform(0.4, 1.0)))
    patch = np.asarray(np.dstack([colours, opacity]), np.uint8)
    if rng.random() < 0.5:
        patch = np.ascontiguousarray(patch[:, ::-1])
    return Sprite(patch, flight)
