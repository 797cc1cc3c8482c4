"""Names of formats and effects as they are typed. What makes them is imported when it is needed."""

from collections.abc import Sequence

DATA_SETS = (
    "coco",
    "coco-polygons",
    "yolo",
    "yolo-boxes",
    "davis",
    "sa1b",
    "cvat",
    "label-studio",
    "labelme",
    "geojson",
)
"""Formats of :mod:`sam2.interop` that hold photos."""

EFFECTS = (
    "contour",
    "spotlight",
    "cutout",
    "blur-background",
    "blur-object",
    "pixelate-background",
    "pixelate-object",
)
"""Effects of :mod:`sam2.viz` for photos."""


def parse_names(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a list such as ``coco,yolo``, in the order of ``known``, each once.

    Raises:
        ValueError: one of them is not known.
    """
    names = [name.strip().lower().replace("_", "-") for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"{option} must be a list of {', '.join(known)}, got {name!r}")
    return tuple(name for name in known if name in names)
