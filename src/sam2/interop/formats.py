"""All formats by name: opening their writers, reading them, and telling them by what is in a file.

Modules of formats are imported when they are used, so that this one costs nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sam2.interop.annotations import AnnotatedImage, Annotations
from sam2.interop.sniff import detect_format


class AnnotationWriter(Protocol):
    """Writes pictures one after the other; frames of a video come together, in ascending order."""

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture or frame."""
        ...

    def close(self) -> list[Path]:
        """Finish; the files and folders that were written."""
        ...

    def discard(self) -> None:
        """Leave nothing half-written; does nothing after ``close``."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """What the registry knows about a format.

    Attributes:
        name: what users call it.
        files: what a writer makes in its folder.
        module: of ``sam2.interop``.
        writer, reader: names in the module.
        options: keyword arguments of the writer.
        images, videos: whether it can hold still pictures, and frames of videos.
        masks: whether masks survive ``exact``ly, as ``polygons`` or not at all (``boxes``).
    """

    name: str
    files: str
    module: str
    writer: str
    reader: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    images: bool = True
    videos: bool = True
    masks: str = "exact"


def _registry(*formats: Format) -> dict[str, Format]:
    return {entry.name: entry for entry in formats}


_COCO = ("coco", "CocoWriter", "read_coco")
_YOLO = ("yolo", "YoloWriter", "read_yolo")

FORMATS = _registry(
    Format("coco", "coco.json", *_COCO),
    Format("coco-polygons", "coco_polygons.json", *_COCO, {"polygons": True}, masks="polygons"),
    Format("yolo", "yolo/labels/*.txt, yolo/data.yaml", *_YOLO, masks="polygons"),
    Format("yolo-boxes", "yolo_boxes/labels/*.txt, yolo_boxes/data.yaml", *_YOLO, {"boxes": True}, masks="boxes"),
    Format("davis", "davis/VIDEO/*.png, davis/*.png", "davis", "DavisWriter", "read_davis"),
    Format("sa1b", "sa1b/*.json", "segment_anything", "Sa1bWriter", "read_sa1b"),
    Format("sav", "sav/VIDEO_manual.json", "segment_anything", "SavWriter", "read_sav", images=False),
    Format("cvat", "cvat.xml, cvat_VIDEO.xml", "cvat", "CvatWriter", "read_cvat"),
    Format("label-studio", "label_studio.json", "label_studio", "LabelStudioWriter", "read_label_studio"),
    Format("labelme", "labelme/*.json", "labelme", "LabelmeWriter", "read_labelme", masks="polygons"),
    Format("geojson", "geojson/*.geojson", "geojson", "GeojsonWriter", "read_geojson", masks="polygons"),
)
"""Format by name."""


def find_format(name: str) -> Format:
    """The format of this name, in any case and with ``_`` for ``-``.

    Raises:
        ValueError: there is none; the message lists them.
    """
    known = FORMATS.get(name.strip().lower().replace("_", "-"))
    if known is None:
        raise ValueError(f"unknown format {name!r}; there are {', '.join(FORMATS)}")
    return known


def open_writers(names: str | Iterable[str], output: Path, *, labels: Sequence[str] = ()) -> AnnotationWriter:
    """One writer for several formats.

    Args:
        names: of the formats; a string may hold several, with commas between.
        output: the folder that all of them write to; made if it is not there.
        labels: names of classes, in the order of their numbers; others are appended as they appear.

    Raises:
        ValueError: a format does not exist, or none is named.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    formats = {known.name: known for known in (find_format(name) for name in listed if name.strip())}
    if not formats:
        raise ValueError(f"no format is named; there are {', '.join(FORMATS)}")
    writers = _Writers()
    try:
        for known in formats.values():
            writers.append(getattr(_module(known), known.writer)(Path(output), labels=labels, **known.options))
    except BaseException:
        writers.discard()
        raise
    return writers


def read_annotations(path: Path, format: str | None = None, *, images: Path | None = None) -> Annotations:
    """The annotations in a file or folder.

    Args:
        path: file or folder.
        format: its name; told by what is in the file if None.
        images: folder of the pictures, for formats that do not say how large these are.

    Raises:
        FileNotFoundError: there is no ``path`` or no ``images``.
        ValueError: it is of no known format, or something in it is wrong; the message names the file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if images is not None and not Path(images).is_dir():
        raise FileNotFoundError(f"{images}: no such folder of pictures")
    known = find_format(format if format is not None else detect_format(path))
    reader = getattr(_module(known), known.reader)
    return reader(path, images=None if images is None else Path(images))


def _module(known: Format) -> Any:
    return import_module(f"sam2.interop.{known.module}")


class _Writers(list[AnnotationWriter]):
    """Several writers that are fed and finished together."""

    def add(self, image: AnnotatedImage) -> None:
        for writer in self:
            writer.add(image)

    def close(self) -> list[Path]:
        written: list[Path] = []
        try:
            for writer in self:
                written += writer.close()
        except BaseException:
            self.discard()
            raise
        return written

    def discard(self) -> None:
        for writer in self:
            writer.discard()
