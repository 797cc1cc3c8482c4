"""Parts of a data set: training, validation and the like, by folders, by lists of names, or by names of files."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

ALL = "all"

_WORDS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "trainval", "dev"))
_LIST_FOLDERS = ("ImageSets", "imagesets", "splits", "lists", "")
_DEEPEST = 4


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
        ValueError: there are several of this name.
    """
    if split is None or split == ALL:
        return None
    given = Path(split)
    for path in (given, folder / given):
        if path.suffix == ".txt" and path.is_file():
            return path
    for place in _LIST_FOLDERS:
        lists = folder / place
        found = (
            [path for path in sorted(lists.rglob("*.txt")) if path.stem == split][:_DEEPEST]
            if place and lists.is_dir()
            else [path for path in (lists / f"{split}.txt",) if path.is_file()]
        )
        if len(found) > 1:
            raise ValueError(f"split {split!r}: {', '.join(map(str, found))} have this name: give the path of one")
        if found:
            return found[0]
    if given.suffix == ".txt":
        raise FileNotFoundError(f"split {split}: no such list of names")
    return None


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
