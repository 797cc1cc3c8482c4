"""How the benchmarks of video object segmentation lie on disk, and which of their frames count."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sam2.eval.clips import VosClip, open_clip, unplaced
from sam2.io.listed import images_in, natural_key

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
META = "meta.json"

Counting = Literal["between", "after_prompt", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VosLayout:
    """A benchmark's habits.

    Attributes:
        lists: files that may list its sequences; the first that is there counts.
        merged: all objects of a clip are one.
        counting: of an object's annotated frames, "between" counts those between the first and the last, as the
            toolkit of DAVIS and the evaluator of SA-V do (of an object that appears later, in label images, those
            after its first appearance); "after_prompt" all after the one it was prompted on; "all" all there are.
    """

    lists: tuple[str, ...] = ()
    merged: bool = False
    counting: Counting = "between"


LAYOUTS: Mapping[str, VosLayout] = {
    "davis2016": VosLayout(lists=("ImageSets/2016/val.txt", "ImageSets/480p/val.txt"), merged=True),
    "davis2017": VosLayout(lists=("ImageSets/2017/val.txt",)),
    "mose": VosLayout(),
    "sav": VosLayout(lists=("sav_val.txt", "sav_test.txt")),
    "lvos": VosLayout(),
    "youtube": VosLayout(counting="after_prompt"),
}
"""The layouts by name."""


@dataclass(frozen=True, slots=True)
class VosData:
    """A benchmark on disk.

    Attributes:
        root: the folder that holds its images and annotations.
        layout: a key of ``LAYOUTS``.
        clips: its sequences.
        counting: which frames count.
        left_out: what is missing from it, in words: empty unless a part was asked for.
        categories: of objects, by (clip, object); empty where there is no ``meta.json``.
        seen: categories that were trained on; None where that is not known.
    """

    root: Path
    layout: str
    clips: tuple[VosClip, ...]
    counting: Counting = "between"
    left_out: tuple[str, ...] = ()
    categories: Mapping[tuple[str, int], str] | None = None
    seen: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VosChoice:
    """What is taken from a folder.

    Attributes:
        layout: a key of ``LAYOUTS``, or "auto".
        clips: names of sequences; None takes all.
        split: a list of sequences: the path of a text file, or the name of one in ``ImageSets``; None takes the
            layout's own, where it is there.
        partial: go on where sequences or frames are missing.
        counting: which frames count; None takes the layout's rule.
    """

    layout: str = "auto"
    clips: Sequence[str] | None = None
    split: str | None = None
    partial: bool = False
    counting: Counting | None = None

    def __post_init__(self) -> None:
        if self.layout != "auto" and self.layout not in LAYOUTS:
            raise ValueError(f"layout must be auto, {', '.join(LAYOUTS)}; got {self.layout!r}")
        if self.clips is not None and not self.clips:
            raise ValueError("clips must name at least one sequence")
        if self.counting is not None and self.counting not in Counting.__args__:
            raise ValueError(f"counting must be {', '.join(Counting.__args__)}; got {self.counting!r}")


def open_vos(root: str | Path, choice: VosChoice | None = None) -> VosData:
    """The sequences below ``root``.

    Args:
        root: holds ``JPEGImages/CLIP/*.jpg`` and ``Annotations/CLIP/*.png``, or ``Annotations/CLIP/OBJECT/*.png``;
            with ``480p`` in between, or names that go on, as in ``JPEGImages_24fps``. A folder that holds one such
            folder will do; so will folders of single sequences, ``CLIP/JPEGImages/*.jpg`` and
            ``CLIP/Annotations/*.png``, up to two levels down.

    Raises:
        FileNotFoundError: no such layout in ``root``, or no such list.
        ValueError: sequences or images are missing and ``choice.partial`` is false, or a name in ``choice.clips`` is
            not there.
    """
    choice = choice or VosChoice()
    home, sequences = _find(Path(root))
    there = [name for name, (_, masks) in sequences.items() if masks.is_dir()]
    layout = _told(home, [sequences[name][1] for name in there]) if choice.layout == "auto" else choice.layout
    listed = read_sequences(_list_of(home, choice, layout)) or list(sequences)
    missing = [name for name in choice.clips or () if name not in there]
    if missing:
        raise ValueError(f"no clip {missing[0]!r} in {root}: there are {', '.join(there)}")
    names = listed if choice.clips is None else list(dict.fromkeys(choice.clips))  # none counts twice
    clips: list[VosClip] = []
    problems: list[str] = []
    for name in names:
        images, masks = sequences.get(name, (None, None))
        if images is None or masks is None or not images.is_dir() or not masks.is_dir():
            problems.append(f"{name}: no {'images' if name in there else 'annotations'}")
            continue
        clip = open_clip(images, masks, name=name, merged=LAYOUTS[layout].merged)
        clips.append(clip)
        if strays := unplaced(clip, masks):
            problems.append(f"{name}: no image for {len(strays)} masks, as {strays[0]}")
    if not clips:
        raise FileNotFoundError(f"none of {len(names)} sequences is in {home}: {problems[0]}")
    if problems and not choice.partial:
        raise ValueError(incomplete(str(root), problems))
    categories, seen = _categories(home)
    counting = choice.counting or LAYOUTS[layout].counting
    return VosData(home, layout, tuple(clips), counting, tuple(problems), categories, seen)


def incomplete(what: str, problems: Sequence[str]) -> str:
    """What to say of a data set that lacks something."""
    shown = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
    return f"{what} is incomplete in {len(problems)} places ({shown}): a part is evaluated if --partial asks for it"


def read_sequences(path: Path | None) -> list[str] | None:
    """Names of sequences in a text file, one a line; of DAVIS 2016, whose lines are paths of frames, their folders.

    Raises:
        ValueError: the file names nothing.
    """
    if path is None:
        return None
    names: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = line.split()[0] if line.split() else ""
        name = Path(entry).parent.name if entry.startswith("/") else entry
        if name:
            names[name] = None
    if not names:
        raise ValueError(f"{path} names no sequence")
    return list(names)


def find_folder(root: Path, start: str) -> Path | None:
    """The folder in ``root`` called ``start``, or whose name goes on from it; of resolutions in it, the first."""
    if not root.is_dir():
        return None
    found = sorted(folder for folder in _folders(root) if folder.name.startswith(start))
    chosen = next((folder for folder in found if folder.name == start), found[0] if found else None)
    if chosen is None:
        return None
    return next((chosen / name for name in RESOLUTIONS if (chosen / name).is_dir()), chosen)


def _find(root: Path) -> tuple[Path, dict[str, tuple[Path, Path]]]:
    """The folder of a benchmark, and of each sequence its images and its annotations, one of which may be missing."""
    inner = _folders(root) if root.is_dir() else []
    found: dict[Path, tuple[Path, Path]] = {}
    alone: dict[Path, tuple[Path, Path]] = {}
    for folder in [root, *inner, *(deeper for outer in inner for deeper in _folders(outer))]:
        images, masks = find_folder(folder, IMAGES), find_folder(folder, ANNOTATIONS)
        if images is None or masks is None:
            continue
        if images_in(images):
            alone[folder] = images, masks
        elif _folders(masks) and folder in (root, *inner):
            found[folder] = images, masks
        if folder == root:
            break
    if len(found) > 1:
        raise ValueError(f"{root} holds several parts: name one of {', '.join(map(str, found))}")
    if found:
        ((home, (images, masks)),) = found.items()
        names = {folder.name for folder in (*_folders(masks), *_folders(images))}
        return home, {name: (images / name, masks / name) for name in sorted(names, key=natural_key)}
    if alone:
        return root, {folder.resolve().name: pair for folder, pair in alone.items()}
    raise FileNotFoundError(
        f"no clips in the layout of DAVIS in {root} (JPEGImages/480p, Annotations/480p, or without 480p)"
    )


def _told(home: Path, masks: Sequence[Path]) -> str:
    if any(_folders(folder) for folder in masks[:3]):
        return "sav"
    if _meta(home / META):
        return "youtube"
    return "davis2017"


def _list_of(home: Path, choice: VosChoice, layout: str) -> Path | None:
    if choice.split is None:
        names = LAYOUTS[layout].lists
        if choice.layout == "auto" and layout == "davis2017":
            names = (*names, *LAYOUTS["davis2016"].lists)
        return next((home / name for name in names if (home / name).is_file()), None)
    places = [Path(choice.split), home / choice.split, home / f"{choice.split}.txt"]
    own = [(home / name).parent for name in LAYOUTS[layout].lists]
    lists = [path for path in (home / "ImageSets").rglob("*.txt") if path.stem == choice.split]
    places += sorted(sorted(lists, reverse=True), key=lambda path: path.parent not in own)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no list {choice.split!r}: neither a file, nor a name in {home / 'ImageSets'}")
    return found


def _categories(home: Path) -> tuple[dict[tuple[str, int], str] | None, frozenset[str] | None]:
    """Categories of objects as YouTube-VOS keeps them, and those of its training part, if that is beside it."""
    videos = _meta(home / META)
    if not videos:
        return None, None
    categories = {
        (clip, int(obj_id)): str(entry["category"])
        for clip, video in videos.items()
        for obj_id, entry in video.get("objects", {}).items()
        if "category" in entry
    }
    trained = _meta(home.parent / "train" / META) if home.name != "train" else {}
    known = {str(o["category"]) for v in trained.values() for o in v.get("objects", {}).values() if "category" in o}
    return categories or None, frozenset(known) or None


def _meta(path: Path) -> dict[str, dict]:
    try:
        videos = json.loads(path.read_text(encoding="utf-8")).get("videos", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return videos if isinstance(videos, dict) else {}


def _folders(root: Path) -> list[Path]:
    """Folders in ``root`` in natural order, hidden ones left out."""
    found = (path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    return sorted(found, key=lambda path: natural_key(path.name))
