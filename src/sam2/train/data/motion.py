"""How things move in made clips: slow affine paths and elastic wobble, all in shares of the frame's side."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 5
"""Control points of a wobble along each side."""


def wander(rng: np.random.Generator, frames: int, dims: int, speed: float) -> NDArray[np.float64]:
    """A path [frames, dims] from 0 whose velocity changes slowly; ``speed`` is the typical step."""
    velocity = rng.normal(0, speed, dims)
    steps = np.zeros((frames, dims))
    for t in range(1, frames):
        velocity = 0.85 * velocity + rng.normal(0, 0.5 * speed, dims)
        steps[t] = velocity
    return np.cumsum(steps, axis=0)


@dataclass(frozen=True, slots=True)
class Wobble:
    """A smooth displacement field that swings between random ones.

    Attributes:
        fields: [2, GRID, GRID, 2] displacements (x, y) of the control points.
        phase, pace: radians, and radians a frame.
    """

    fields: NDArray[np.float32]
    phase: float
    pace: float

    @staticmethod
    def draw(rng: np.random.Generator, amplitude: float) -> "Wobble":
        """A random one; ``amplitude`` is the standard deviation of a control point's displacement."""
        fields = rng.normal(0, amplitude, (2, GRID, GRID, 2)).astype(np.float32)
        return Wobble(fields, float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.05, 0.6)))

    def at(self, t: int, width: int, height: int) -> NDArray[np.float32]:
        """Displacements [height, width, 2] at frame ``t``."""
        angle = self.phase + self.pace * t
        field = np.cos(angle) * self.fields[0] + np.sin(angle) * self.fields[1]
        return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True, slots=True)
class Camera:
    """A view that pans, turns and zooms over a still.

    Attributes:
        shift: [frames, 2], angle and zoom (natural logarithm): [frames].
        view: share of the still that the frame shows.
        wobble: of the whole scene.
    """

    shift: NDArray[np.float64]
    angle: NDArray[np.float64]
    zoom: NDArray[np.float64]
    view: float
    wobble: Wobble

    @staticmethod
    def draw(rng: np.random.Generator, frames: int, view: float) -> "Camera":
        """A random one; a fifth of all cameras hardly move."""
        speed = 0.0005 if rng.random() < 0.2 else float(np.exp(rng.uniform(np.log(0.002), np.log(0.03))))
        shift = wander(rng, frames, 2, speed)
        angle = wander(rng, frames, 1, 0.4 * speed)[:, 0]
        zoom = wander(rng, frames, 1, 0.6 * speed)[:, 0]
        return Camera(shift, angle, zoom, view, Wobble.draw(rng, float(rng.uniform(0, 0.02))))

    def map_at(self, t: int, size: int, still: int) -> NDArray[np.float32]:
        """Where each pixel of a frame of side ``size`` lies in a still of side ``still``: [size, size, 2] (x, y)."""
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
        scale = self.view * np.exp(self.zoom[t])
        cos, sin = np.float32(scale * np.cos(self.angle[t])), np.float32(scale * np.sin(self.angle[t]))
        x, y = axis[None], axis[:, None]
        place = self.wobble.at(t, size, size)
        place[..., 0] += cos * x - sin * y + np.float32(0.5 + self.shift[t, 0])
        place[..., 1] += sin * x + cos * y + np.float32(0.5 + self.shift[t, 1])
        return place * np.float32(still) - np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Flight:
    """The path of a pasted object.

    Attributes:
        centre: [frames, 2] in shares of the frame's side.
        angle, size: [frames], radians, and the longest side as a share of the frame's.
        squeeze: [frames], the natural logarithm of width over height, against the patch's own.
        hidden: [frames] bool, not there at all.
        wobble: of the object itself.
    """

    centre: NDArray[np.float64]
    angle: NDArray[np.float64]
    size: NDArray[np.float64]
    squeeze: NDArray[np.float64]
    hidden: NDArray[np.bool_]
    wobble: Wobble

    @staticmethod
    def draw(rng: np.random.Generator, frames: int) -> "Flight":
        """A random path that begins in the frame; some leave it and come back, some vanish for a while."""
        speed = float(np.exp(rng.uniform(np.log(0.003), np.log(0.06))))
        centre = rng.uniform(0.15, 0.85, 2) + wander(rng, frames, 2, speed)
        if rng.random() < 0.1:
            centre += _excursion(rng, frames)
        size = np.exp(rng.uniform(np.log(0.18), np.log(0.8)) + wander(rng, frames, 1, 0.04)[:, 0])
        angle = wander(rng, frames, 1, float(rng.uniform(0, 0.06)))[:, 0]
        squeeze = wander(rng, frames, 1, 0.03)[:, 0]
        hidden = np.zeros(frames, bool)
        if rng.random() < 0.1 and frames > 2:
            start = int(rng.integers(1, frames - 1))
            hidden[start : start + int(rng.integers(1, 4))] = True
        return Flight(centre, angle, size, squeeze, hidden, Wobble.draw(rng, float(rng.uniform(0.01, 0.06))))

    def meeting(self, rng: np.random.Generator, other: "Flight") -> "Flight":
        """The same but for its place: it passes over ``other`` at some frame after the first."""
        frames = len(self.centre)
        when = int(rng.integers(1, frames))
        direction = rng.uniform(0, 2 * np.pi)
        pace = float(rng.uniform(0.05, 0.2)) * np.array([np.cos(direction), np.sin(direction)])
        times = (np.arange(frames) - when)[:, None]
        centre = other.centre[when] + times * pace + rng.normal(0, 0.03, 2)
        return Flight(centre, self.angle, self.size, self.squeeze, self.hidden, self.wobble)


def _excursion(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Out of the frame in some direction and back: [frames, 2]."""
    direction = rng.uniform(0, 2 * np.pi)
    length = float(rng.uniform(3, 9))
    phase = np.clip((np.arange(frames) - rng.integers(0, max(frames // 2, 1))) / length, 0, 1)
    return 1.3 * np.sin(np.pi * phase)[:, None] * np.array([np.cos(direction), np.sin(direction)])


def warped(image: NDArray[np.uint8], where: NDArray[np.float32], *, mirrored: bool = False) -> NDArray[np.uint8]:
    """``image`` [h, w] or [h, w, c] seen through ``where`` [h', w', 2], the place (x, y) of every pixel of the result.

    Beyond its border there is nothing, or with ``mirrored`` the image again.
    """
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    x, y = np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border), np.uint8)
