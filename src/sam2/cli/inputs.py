"""From what was typed to a list of image files: files, folders, and patterns that the shell has left alone."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from sam2.cli.formats import EFFECTS

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif")

_OWN_OUTPUT = re.compile(rf"_((overlay|sheet|{'|'.join(EFFECTS)})\.(jpg|png)|object\d+(_rank\d+)?\.png)$")


def find_images(arguments: Sequence[str], *, output: Path) -> list[Path]:
    """The image files that the arguments name, each once, folders in natural order.

    A file that does not exist stays in the list: it is reported when its turn comes, and does not stop the others.

    Args:
        arguments: files, folders (not searched below their first level) and patterns (``**`` goes deeper).
        output: where results go; results that lie in an input folder are not taken for inputs.

    Raises:
        ValueError: a folder holds no image, or nothing fits a pattern.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(argument, output):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(argument: str, output: Path) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        images = [file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS and file.is_file()]
        if path.resolve() == output.resolve():
            images = [file for file in images if not _OWN_OUTPUT.search(file.name)]
        if not images:
            raise ValueError(f"folder {argument} holds no images ({' '.join(EXTENSIONS)})")
        return sorted(images, key=natural_key)
    if path.exists() or not glob.has_magic(argument):
        return [path]
    images = [Path(name) for name in glob.glob(argument, recursive=True) if Path(name).is_file()]
    if not images:
        raise ValueError(f"no file fits the pattern {argument}")
    return sorted(images, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
