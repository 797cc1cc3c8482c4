"""``sam2 convert``: annotations of one tool into those of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam2.cli.formats import DATA_SETS
from sam2.cli.options import Output
from sam2.cli.outputs import prepare_folder
from sam2.cli.progress import progress

if TYPE_CHECKING:  # these import numpy and OpenCV
    from sam2.interop.annotations import AnnotatedImage, Annotations, ObjectAnnotation

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="A file of annotations, or a folder of them.", show_default=False)
]
To = Annotated[
    str,
    typer.Option(
        "--to", "-t", metavar="LIST", help=f"What to write, of {', '.join(DATA_SETS)}, sav.", show_default=False
    ),
]
From = Annotated[
    str | None, typer.Option("--from", metavar="FORMAT", help="What SOURCE is; told by its content by default.")
]
Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="FOLDER", help="The pictures, for formats that do not say how large they are."),
]
Renamed = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        metavar="[OLD=]NEW",
        help="Rename class OLD, or name the class of object number OLD; without OLD, of all that have no class.",
    ),
]


def convert(
    source: Source,
    to: To,
    output: Output,
    source_format: From = None,
    images: Images = None,
    label: Renamed = None,
) -> None:
    """Convert annotations: COCO, YOLO, DAVIS, SA-1B, SA-V, CVAT, Label Studio, LabelMe, GeoJSON, any to any.

    What each format keeps and loses is in docs/formats.md. Where something cannot be converted, nothing is written.
    """
    from sam2.interop.formats import find_format, open_writers, read_annotations

    names = [find_format(name).name for name in to.split(",") if name.strip()]
    if not names:
        raise ValueError("--to must name at least one format")
    renaming = Renaming.parse(label or [])
    found = read_annotations(source, source_format, images=images)
    if not len(found):
        raise ValueError(f"{source} holds no annotated pictures")
    labels = renaming.classes(found)
    prepare_folder(output)
    writer = open_writers(names, output, labels=labels)
    try:
        with progress("converting", len(found), speed="images") as advance:
            for image in found:
                writer.add(renaming.image(image))
                advance()
        written = writer.close()
    except BaseException:
        writer.discard()
        raise
    objects = sum(len(image.objects) for image in found)
    typer.echo(
        f"{_count(len(found), 'picture')}, {_count(objects, 'object')}, {_count(len(labels), 'class', 'classes')}"
    )
    for path in written:
        typer.echo(str(path))


@dataclass(frozen=True, slots=True)
class Renaming:
    """What ``--label`` says of classes.

    Attributes:
        names: new names by old ones, or by numbers of objects.
        unnamed: the class of what has none; None leaves it.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    unnamed: str | None = None

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Renaming":
        """From the values of ``--label``.

        Raises:
            ValueError: a name is empty or not of one line, or something is named twice.
        """
        names: dict[str, str] = {}
        unnamed: str | None = None
        for text in texts:
            old, equals, new = (part.strip() for part in text.rpartition("="))
            if not new or not new.isprintable() or (equals and not old):
                raise ValueError(f"--label {text!r}: expected NEW or OLD=NEW, each one line of text")
            if old in names or (not equals and unnamed is not None):
                raise ValueError(f"--label {text}: {old or 'what has no class'} is named already")
            if equals:
                names[old] = new
            else:
                unnamed = new
        return cls(names, unnamed)

    def classes(self, found: "Annotations") -> tuple[str, ...]:
        """The names of classes after it, in the order of before.

        Raises:
            ValueError: something is to be renamed that is not there.
        """
        numbers: set[str] = set()
        after: dict[str, dict[str, None]] = {label: {} for label in found.labels}
        for image in found:
            for item in image.objects:
                numbers.update(_number(item))
                after[item.label][self.name(item)] = None
        for old, new in self.names.items():
            if old not in after and old not in numbers:
                there = ", ".join(after) or "none"
                raise ValueError(
                    f"--label {old}={new}: there is no class {old!r} (there are {there}), nor such a number"
                )
        # a class without objects stays a class
        return tuple(dict.fromkeys(name for label, names in after.items() for name in names or (self._class(label),)))

    def name(self, item: "ObjectAnnotation") -> str:
        """The class of an object."""
        if item.label not in self.names:
            for number in _number(item):
                if number in self.names:
                    return self.names[number]
        return self._class(item.label)

    def image(self, image: "AnnotatedImage") -> "AnnotatedImage":
        """A picture with its objects renamed."""
        return image.with_objects([replace(item, label=self.name(item)) for item in image.objects])

    def _class(self, label: str) -> str:
        from sam2.interop.annotations import DEFAULT_LABEL

        renamed = self.names.get(label)
        if renamed is None:
            return self.unnamed if self.unnamed is not None and label == DEFAULT_LABEL else label
        return renamed


def _number(item: "ObjectAnnotation") -> tuple[str, ...]:
    """The number of an object, if it has one: of its track, or the value of its pixels in a PNG."""
    number = item.track_id if item.track_id is not None else item.attributes.get("number")
    return () if number is None else (str(number),)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
