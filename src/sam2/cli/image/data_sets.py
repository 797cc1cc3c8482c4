"""Formats that hold many photos, made from the journal: the same whether a run was interrupted or not."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sam2.cli.errors import OutputError, describe
from sam2.cli.image.asked import Asked
from sam2.cli.image.found import annotated
from sam2.cli.image.journal import PhotoJournal
from sam2.interop.annotations import AnnotatedImage
from sam2.interop.formats import open_writers


def write_data_sets(
    asked: Asked, journal: PhotoJournal, keys: Sequence[str], *, advance: Callable[[], None]
) -> tuple[list[Path], dict[str, str]]:
    """Write ``asked.data_sets`` from the rows of ``keys``, in this order, one photo after the other.

    Args:
        asked: which formats, and where to.
        journal: has a row for every key.
        keys: names of photos in the journal.
        advance: is called after each.

    Returns:
        The files and folders that were written, and by names of formats, why one cannot hold these photos.

    Raises:
        OutputError: they cannot be written; of files that hold all photos, those of before are still there.
    """
    try:
        writers = {name: open_writers([name], asked.output, labels=asked.labels.names) for name in asked.data_sets}
        written: list[Path] = []
        failed: dict[str, str] = {}
        try:
            for photo in _photos(asked, journal, keys):
                for name in asked.data_sets:
                    if name not in failed:
                        try:
                            writers[name].add(photo)
                        except ValueError as error:  # the other formats may hold it
                            failed[name] = describe(error)
                advance()
            for name in asked.data_sets:
                written += writers[name].close() if name not in failed else []
            return written, failed
        finally:
            for writer in writers.values():
                writer.discard()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or asked.output}: {error.strerror or error}") from error


def _photos(asked: Asked, journal: PhotoJournal, keys: Sequence[str]) -> Iterator[AnnotatedImage]:
    for name, row in zip(names_in_data_sets(asked.output, keys), journal.rows(keys), strict=True):
        yield annotated(name, row)


def check_names(asked: Asked, keys: Sequence[str]) -> None:
    """Raise ``ValueError`` if two photos would have one file of labels."""
    formats = [name for name in asked.data_sets if name.startswith("yolo")]
    seen: dict[str, str] = {}
    for name in names_in_data_sets(asked.output, keys) if formats else ():
        other = seen.setdefault(os.path.splitext(name)[0].lower(), name)
        if other != name:
            raise ValueError(
                f"{formats[0]} names labels after photos without their endings: {other} and {name} are one"
            )


def names_in_data_sets(folder: Path, keys: Sequence[str]) -> list[str]:
    """What photos are called: names of their files, with folders below the one that holds all of them.

    Args:
        folder: what keys start from.
        keys: ways to the photos.
    """
    paths = [os.path.abspath(os.path.join(folder, key)) for key in keys]
    if not paths:
        return []
    try:
        common = os.path.commonpath({os.path.dirname(path) for path in paths})
    except ValueError:  # on several drives
        return [Path(path).as_posix().replace(":", "") for path in paths]
    return [Path(os.path.relpath(path, common)).as_posix() for path in paths]
