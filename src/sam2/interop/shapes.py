"""Shapes that annotation tools know besides polygons, as polygons."""

import math

import numpy as np
import numpy.typing as npt

from sam2.interop.polygons import Polygon

_CORNERS = 128


def turned(points: Polygon, degrees: float, around: npt.ArrayLike) -> Polygon:
    """``points`` [k, 2] turned clockwise (as y points down) around a point."""
    if not degrees:
        return points
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.matmul(points - np.asarray(around), np.array([[cosine, sine], [-sine, cosine]])) + np.asarray(around)


def ellipse(middle: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Polygon:
    """The outline of an ellipse around ``middle`` = (x, y) with ``radii`` across and down, turned clockwise."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    points = np.stack((np.cos(angles), np.sin(angles)), 1) * radii + middle
    return turned(points, degrees, middle)


def rectangle(box: tuple[float, float, float, float]) -> Polygon:
    """The corners of a box (x0, y0, x1, y1), clockwise from the first."""
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def bounds(points: Polygon) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) around ``points`` [k, 2]."""
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    return x0, y0, x1, y1
