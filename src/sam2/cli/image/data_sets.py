"""Formats that hold many photos, made from the journal: the same whether a run was interrupted or not."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sam2.cli.errors import OutputError
from sam2.cli.image.asked import Asked
from sam2.cli.image.found import annotated
from sam2.cli.image.journal import PhotoJournal
from sam2.interop.formats import open_writers


def write_data_sets(
    asked: Asked, journal: PhotoJournal, keys: Sequence[str], *, advance: Callable[[], None]
) -> list[Path]:
    """Write ``asked.data_sets`` from the rows of ``keys``, in this order, one photo after the other.

    Args:
        asked: which formats, and where to.
        journal: has a row for every key.
        keys: names of photos in the journal.
        advance: is called after each.

    Returns:
        The files and folders that were written.

    Raises:
        OutputError: they cannot be written; of files that hold all photos, those of before are still there.
        ValueError: a format cannot hold something.
    """
    try:
        writer = open_writers(asked.data_sets, asked.output, labels=asked.labels.names)
        try:
            for name, row in zip(names_in_data_sets(asked.output, keys), journal.rows(keys), strict=True):
                writer.add(annotated(name, row))
                advance()
            return writer.close()
        except BaseException:
            writer.discard()
            raise
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or asked.output}: {error.strerror or error}") from error


def names_in_data_sets(folder: Path, keys: Sequence[str]) -> list[str]:
    """What photos are called: names of their files, with folders below the one that holds all of them.

    Args:
        folder: what keys start from.
        keys: ways to the photos.
    """
    paths = [os.path.abspath(os.path.join(folder, key)) for key in keys]
    try:
        common = os.path.commonpath({os.path.dirname(path) for path in paths})
    except ValueError:  # on several drives
        return [Path(path).as_posix().replace(":", "") for path in paths]
    return [Path(os.path.relpath(path, common)).as_posix() for path in paths]
