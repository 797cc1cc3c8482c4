"""Parts of a data set: training, validation and the like, by folders, by lists of names, or by names of files."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

ALL = "all"

_WORDS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "trainval", "dev"))
_LIST_FOLDERS = ("ImageSets", "imagesets", "splits", "lists")


def words_of(name: str) -> list[str]:
    """The words of a file's or folder's name in small letters: ``Stage1_train`` has stage1 and train."""
    return [word for word in re.split(r"[\W_]+", name.casefold()) if word]


def part_of(path: str) -> str | None:
    """The part that a file belongs to, by the folders above it: ``train`` for ``images/train/a.jpg``, if any."""
    return _part_of_folder(path.rpartition("/")[0])


@lru_cache(maxsize=4096)
def _part_of_folder(path: str) -> str | None:
    for folder in path.split("/"):
        for word in words_of(folder):
            stem = re.sub(r"[0-9]+$", "", word)  # train2017
            if stem in _WORDS:
                return word
    return None


def choose_part(parts: Iterable[str | None], split: str | None, where: str) -> Callable[[str | None], bool]:
    """What tells whether a part is wanted.

    Args:
        parts: those that there are; None for what belongs to none.
        split: the one that is asked for.
        where: the data set, for messages.

    Raises:
        ValueError: there are several and none is asked for, or the one that is asked for is not there.
    """
    there = sorted({part for part in parts if part is not None})
    if split == ALL or (split is None and len(there) < 2):
        return lambda part: True
    if split is None:
        raise ValueError(f"{where} has several parts, {', '.join(there)}: choose one by split, or all of them by 'all'")
    if split.casefold() in there:
        wanted = split.casefold()
        return lambda part: part == wanted
    raise ValueError(
        f"split {split!r}: {where} has no such part ({', '.join(there) or 'it has none'}), nor such a list"
    )


def find_list(split: str | None, folder: Path) -> Path | None:
    """The text file that ``split`` names: a path, or NAME.txt in ``ImageSets`` and the like; None if it is none.

    Raises:
        FileNotFoundError: it is the path of a text file that is not there.
        ValueError: there are several of this name; or there are lists of several parts, and none is chosen.
    """
    if split == ALL:
        return None
    places = [folder / name for name in _LIST_FOLDERS if (folder / name).is_dir()]
    if split is None:
        stems = {path.stem.casefold() for place in places for path in place.rglob("*.txt")}
        if len(parts := sorted(stems & _WORDS)) > 1:
            raise ValueError(
                f"path {folder} has lists of several parts, {', '.join(parts)}: choose one by split, or 'all'"
            )
        return None
    given = Path(split)
    direct = [given, folder / given, *(place / f"{split}.txt" for place in (*places, folder))]
    if (found := next((path for path in direct if path.suffix == ".txt" and path.is_file()), None)) is not None:
        return found
    deep = [path for place in places for path in sorted(place.rglob("*.txt")) if path.stem == split]
    if len(deep) > 1:
        there = ", ".join(str(path.relative_to(folder)) for path in deep)
        raise ValueError(f"split {split!r}: {there} in {folder} have this name: give the path of one")
    if not deep and given.suffix == ".txt":
        raise FileNotFoundError(f"split {split}: no such list of names")
    return deep[0] if deep else None


def read_list(path: Path) -> list[str]:
    """The names in a text file, one a line, without what follows after a space and without extensions.

    Raises:
        ValueError: it is no text, or empty.
    """
    try:
        lines = [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from None
    if not lines:
        raise ValueError(f"{path} is an empty list")
    return list(dict.fromkeys(lines))


def names_of_frames(lines: Sequence[str]) -> list[str]:
    """Names of videos of a list, whose lines may be files, as in DAVIS 2016: ``/JPEGImages/480p/bear/00000.jpg``."""
    found: dict[str, None] = {}
    for line in lines:
        parts = PurePosixPath(line).parts
        found[parts[-2] if len(parts) > 1 and PurePosixPath(line).suffix else PurePosixPath(line).name] = None
    return list(found)
