"""Finding files of annotations below a folder, and the pictures that they name."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sam2.interop.pictures import PictureFolder
from sam2.train.data.readers.base import listed
from sam2.train.data.readers.splits import ALL

_DEEPEST = 3
_LOOKED_AT = 16


def files_below(path: Path, suffix: str, *, deepest: int | None = _DEEPEST) -> list[Path]:
    """Files of an extension in a folder and those in it, sorted; of a file, itself. Hidden ones are left out."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for root, folders, files in os.walk(path, followlinks=True):
        depth = len(Path(root).relative_to(path).parts)
        folders[:] = sorted(n for n in folders if n[0] != "." and (deepest is None or depth < deepest))
        found += [Path(root, name) for name in sorted(files) if name.lower().endswith(suffix) and name[0] != "."]
    return found


def choose_file(files: Sequence[Path], split: str | None, where: str) -> list[Path]:
    """The file whose name ends in ``split``; the only one without it; all of them for "all".

    Raises:
        ValueError: there are several and none is chosen, or none has such a name.
    """
    if split == ALL or (split is None and len(files) == 1):
        return list(files)
    names = [file.stem for file in files]
    if split is None:
        raise ValueError(f"{where} has several lists, {listed(names, 8)}: choose one by split, or all of them by 'all'")
    found = [f for f in files if f.stem == split or f.stem.endswith((f"_{split}", f"-{split}"))]
    if len(found) != 1:
        raise ValueError(f"split {split!r}: expected one file of this name in {where}, there are {listed(names, 8)}")
    return found


class PictureFinder:
    """Finds the files of pictures that annotations name. Folders are listed once, files not asked for one by one.

    Args:
        places: folders that may hold them, the likeliest first.
        trees: folders in which they may be anywhere.
        names: all that are named, to choose between the places by.
        whose: whose pictures they are, for messages.

    Raises:
        ValueError: there are no ``names``.
        FileNotFoundError: none of them is in any of the places.
    """

    def __init__(self, places: Sequence[Path], trees: Sequence[Path], names: Sequence[str], *, whose: Path) -> None:
        if not names:
            raise ValueError(f"{whose} lists no pictures")
        self._listings: dict[Path, frozenset[str]] = {}
        self._trees = [PictureFolder(tree) for tree in trees if tree.is_dir()]
        some = names[:: max(1, len(names) // _LOOKED_AT)]
        self._places = [place for place in dict.fromkeys(places) if any(self._listed(place, name) for name in some)]
        if not self._places and not any(tree.find(name) for tree in self._trees for name in some):
            searched = listed([str(tree.folder) for tree in self._trees], 4) or "no folder that is there"
            raise FileNotFoundError(
                f"{whose}: none of its pictures ({listed(some)}) is in {searched}; images says where they are"
            )

    def find(self, name: str) -> Path | None:
        """The file of the picture ``name``, if there is one: with another extension or in another folder, too."""
        for place in self._places:
            if self._listed(place, name):
                return place / name
        for tree in self._trees:
            if (found := tree.find(name)) is not None:
                return tree.folder / found
        return None

    def _listed(self, place: Path, name: str) -> bool:
        path = place / name
        if path.parent not in self._listings:
            self._listings[path.parent] = frozenset(os.listdir(path.parent) if path.parent.is_dir() else ())
        return path.name in self._listings[path.parent]


def picture_places(file: Path, images: str | None) -> tuple[list[Path], list[Path]]:
    """Where the pictures of a file of annotations may be: as ``images`` says, or around the file; and the folders in
    which they may be anywhere.

    ``annotations/instances_train2017.json`` belongs to ``train2017``, ``images/train2017`` or ``images``, there or a
    folder or two further up.
    """
    part = _part_of(file)
    if images is not None:
        return [Path(images) / part, Path(images)], [Path(images)]
    found: list[Path] = []
    for folder in list(file.resolve().parents)[:3]:
        for base in (folder / "images", folder / "JPEGImages", folder / "data", folder):
            found += [base / part, base]
    return found, [file.resolve().parent]


def _part_of(file: Path) -> str:
    """``train2017`` of ``instances_train2017.json``."""
    return PurePosixPath(file.name).stem.rpartition("_")[2]
