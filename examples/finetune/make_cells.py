"""Pictures of something the bundled model was never shown: cells under a microscope, painted, with their masks.

    python make_cells.py [FOLDER]

Cells touch, hardly differ from what is around them, have a nucleus that is brighter than all else, and lie in light
that falls off to one side, under dirt and noise. FOLDER (``cells``) then holds ``train`` and ``validation``, each with
``images/NAME.png`` and ``masks/NAME.png``; a mask's pixels say which cell they belong to, 0 none.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 320
COUNTS: Mapping[str, int] = {"train": 60, "validation": 20}

Plane = NDArray[np.floating]


def make_cells(folder: str | Path, counts: Mapping[str, int] = COUNTS, *, seed: int = 0) -> Path:
    """Write ``counts`` pictures and masks into folders of these names; the same ones for the same ``seed``."""
    for place, (name, count) in enumerate(counts.items()):
        for kind in ("images", "masks"):
            (Path(folder) / name / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image, labels = paint(np.random.default_rng((seed, place, number)))
            Image.fromarray(image).save(Path(folder) / name / "images" / f"{number:03d}.png")
            Image.fromarray(labels).save(Path(folder) / name / "masks" / f"{number:03d}.png")
    return Path(folder)


def paint(rng: np.random.Generator, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture [side, side, 3], and the number of the cell that each pixel belongs to [side, side]."""
    labels, depth = _grow(rng, side)
    cells, count = labels > 0, int(labels.max()) + 1
    light = 70 + 10 * _clouds(rng, side, 60) + 4 * _clouds(rng, side, 4)
    body = rng.uniform(4, 14, count)[labels] + 6 * _clouds(rng, side, 5) + 5 * _clouds(rng, side, 14)
    wall = rng.uniform(6, 16, count)[labels] * np.exp(-(((depth - 0.93) / 0.05) ** 2))
    light += np.where(cells, body + wall, 0)
    for number in range(1, count):
        _add_nucleus(rng, light, labels == number)
    light = _dirt(rng, light)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light *= 1 + rng.uniform(0.2, 0.7) * (columns * np.cos(angle) + rows * np.sin(angle))
    light = cv2.GaussianBlur(light.astype(np.float32), (0, 0), rng.uniform(0.7, 1.3))
    light += rng.normal(0, rng.uniform(3, 6), light.shape)
    tint = np.array([0.85, 1.0, 0.9]) + rng.uniform(-0.12, 0.12, 3)
    return (light[..., None] * tint).clip(0, 255).astype(np.uint8), labels


def _grow(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], Plane]:
    """Which cell pixels belong to, and how far out in it they lie: 0 in the middle, 1 at its rim."""
    centres: list[tuple[float, float, float]] = []
    wanted = rng.integers(9, 15)
    while len(centres) < wanted:
        radius = rng.uniform(24, 46)
        x, y = rng.uniform(0, side, 2)
        if centres and rng.random() < 0.75:  # beside another one
            near = centres[int(rng.integers(len(centres)))]
            angle = rng.uniform(0, 2 * np.pi)
            reach = 0.85 * (radius + near[2])
            x, y = near[0] + reach * np.cos(angle), near[1] + reach * np.sin(angle)
        apart = all(np.hypot(x - a, y - b) > 0.75 * (radius + r) for a, b, r in centres)
        if apart and 0 < x < side and 0 < y < side:
            centres.append((x, y, radius))
    labels = np.zeros((side, side), np.uint8)
    nearest = np.ones((side, side), np.float32)
    for number, (x, y, radius) in enumerate(centres, start=1):
        reach = int(2.5 * radius)
        part = (slice(max(0, int(y) - reach), int(y) + reach), slice(max(0, int(x) - reach), int(x) + reach))
        rows, columns = np.mgrid[:side, :side][(slice(None), *part)].astype(np.float32)
        distance = _distance(rng, columns - x, rows - y) / radius
        inside = distance < nearest[part]
        labels[part][inside], nearest[part][inside] = number, distance[inside]
    return labels, nearest


def _distance(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """From the middle of a dented ellipse whose rim is about 1 away."""
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.35)
    across, along = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    angle = np.arctan2(along, across)
    dents = sum(rng.normal(0, 0.16 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    return (np.hypot(across / stretch, along * stretch) / (1 + dents)).astype(np.float32)


def _add_nucleus(rng: np.random.Generator, light: Plane, cell: NDArray[np.bool_]) -> None:
    """Light up a soft spot somewhere within the cell."""
    depth = cv2.distanceTransform(np.pad(cell, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= 0.6 * depth.max())
    place = int(rng.integers(len(rows)))
    radius = max(2.0, rng.uniform(0.3, 0.5) * float(depth.max()))
    rows, columns = rows[place] - np.nonzero(cell)[0], columns[place] - np.nonzero(cell)[1]
    light[cell] += rng.uniform(35, 70) / (1 + np.exp((np.hypot(rows, columns) - radius) / 1.2))


def _dirt(rng: np.random.Generator, light: Plane) -> Plane:
    """Bright and dark specks that belong to nothing."""
    for _ in range(int(rng.integers(6, 16))):
        centre = tuple(int(value) for value in rng.integers(0, len(light), 2))
        speck = np.zeros_like(light, dtype=np.float32)
        cv2.circle(speck, centre, int(rng.integers(1, 5)), 1.0, -1)
        light = light + float(rng.uniform(-40, 60)) * cv2.GaussianBlur(speck, (0, 0), 1)
    return light


def _clouds(rng: np.random.Generator, side: int, size: float) -> Plane:
    """Smooth noise of mean 0 and deviation 1, whose spots are about ``size`` pixels wide."""
    small = max(3, round(side / size))
    noise = cv2.resize(rng.normal(size=(small, small)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


if __name__ == "__main__":
    print(make_cells(sys.argv[1] if len(sys.argv) > 1 else "cells"))
