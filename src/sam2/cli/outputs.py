"""Writing results: whole files or none, and no two inputs under one name."""

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2.cli.errors import OutputError

if TYPE_CHECKING:  # heavy: folders and files are checked before these are imported
    import numpy as np


def prepare_folder(folder: Path) -> None:
    """Make ``folder`` and make sure that files can be written there.

    Raises:
        OutputError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"output folder {folder} is a file") from None
    except OSError as error:
        raise OutputError(f"output folder {folder} cannot be made: {error.strerror or error}") from error
    probe = folder / f".sam2-{os.getpid()}.tmp"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"output folder {folder} cannot be written to: {error.strerror or error}") from error


def output_stems(images: Sequence[Path], *, taken: Collection[str] = ()) -> list[str]:
    """What the files made from each image begin with: its name, made longer where several images share it.

    ``a/1.jpg`` and ``b/1.jpg`` become ``a_1`` and ``b_1``, ``1.jpg`` and ``1.png`` become ``1_jpg`` and ``1_png``.

    Args:
        images: files.
        taken: names in lower case that belong to others.
    """
    candidates = (
        lambda path: path.stem,
        lambda path: path.name.replace(".", "_"),
        lambda path: f"{path.resolve().parent.name}_{path.stem}",
        lambda path: f"{path.resolve().parent.name}_{path.name.replace('.', '_')}",
    )
    stems: list[str | None] = [None] * len(images)
    for candidate in candidates:
        names = [stem if stem is not None else candidate(path) for stem, path in zip(stems, images, strict=True)]
        counts = Counter(name.lower() for name in names)  # some file systems do not tell a.png from A.png
        stems = [
            stem if stem is not None or counts[name.lower()] > 1 or name.lower() in taken else name
            for stem, name in zip(stems, names, strict=True)
        ]
    used = {stem.lower() for stem in stems if stem is not None}.union(taken)
    return [stem if stem is not None else _unused(path.stem, used) for stem, path in zip(stems, images, strict=True)]


def _unused(stem: str, used: set[str]) -> str:
    """The first of ``stem_2``, ``stem_3``, ... that is free; it is added to ``used``."""
    name = next(name for number in count(2) if (name := f"{stem}_{number}").lower() not in used)
    used.add(name.lower())
    return name


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there completely or not at all.

    Raises:
        OutputError: it cannot be written (no permission, full disk, ...); what was there before is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        # also on Ctrl-C; after a replace there is nothing left to remove
        draft.unlink(missing_ok=True)


def png_bytes(mask: "np.ndarray") -> bytes:
    """A mask [h, w] bool as a grey PNG of 0 and 255."""
    return _encode(mask.astype("uint8") * 255, "PNG")


def picture_bytes(picture: "np.ndarray") -> tuple[str, bytes]:
    """``.jpg`` and a JPEG of a picture [h, w, 3] uint8; ``.png`` and a PNG of one with alpha, [h, w, 4]."""
    if picture.shape[2] == 4:
        return ".png", _encode(picture, "PNG", compress_level=3)
    return ".jpg", jpeg_bytes(picture)


def jpeg_bytes(image: "np.ndarray") -> bytes:
    """An image [h, w, 3] uint8 as a JPEG that keeps thin lines clean."""
    return _encode(image, "JPEG", quality=92, subsampling=0)


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """A record as JSON text in UTF-8, lists of numbers on one line each."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    text = re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    return (text + "\n").encode()


def _encode(picture: "np.ndarray", kind: str, **options: Any) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()
