"""From a project to files: data sets through ``interop``, pictures and films through ``viz`` and ``io``."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sam2.interop.annotations import AnnotatedImage
from sam2.interop.formats import open_writers
from sam2.web.errors import StudioError
from sam2.web.exporting.effects import Films, write_photo
from sam2.web.jobs import Job
from sam2.web.projects.images import ImageProject
from sam2.web.projects.project import Project
from sam2.web.schemas import ExportRequest

KEPT = 5
"""So many exports of a project are kept."""
_PACKED = {".jpg", ".jpeg", ".png", ".mp4", ".webm"}
"""Compressed already."""


def export_project(project: Project, request: ExportRequest, job: Job) -> Path | None:
    """Write what is asked for; the one file, or all of them as a .zip archive.

    Args:
        project: what is exported.
        request: checked before.
        job: is told of progress; when it is cancelled nothing is left.

    Returns:
        The file; None if the job was cancelled.

    Raises:
        StudioError: 409, there is nothing to export.
        OSError: the disk is full.
    """
    place = project.folder / "exports" / job.id
    work = place / "work"
    work.mkdir(parents=True)
    try:
        if not _write(project, request, work, job):
            shutil.rmtree(place, ignore_errors=True)
            return None
        path = _pack(work, place, project.name)
        shutil.rmtree(work, ignore_errors=True)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    _drop_old(project.folder / "exports")
    return path


def find_export(project: Project, number: str) -> Path:
    """The file of an export.

    Raises:
        StudioError: 404 there is none.
    """
    folder = project.folder / "exports"
    known = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    files = [path for path in (folder / number).iterdir() if path.is_file()] if number in known else []
    if not files:
        raise StudioError(404, "there is no such export: it may be too old")
    return files[0]


def _write(project: Project, request: ExportRequest, folder: Path, job: Job) -> bool:
    """Whether it came to its end."""
    labels = list(project.state().labels)
    writer = open_writers(request.formats, folder, labels=labels) if request.formats else None
    is_video = project.store.record.kind == "video"
    films = Films(project, request.effects, folder) if is_video and request.effects else None
    found = 0
    try:
        for frame, annotated in _frames(project, request, all_frames=films is not None):
            if job.cancelled:
                return False
            if annotated is not None:
                found += 1
                if writer is not None:
                    writer.add(annotated)
                if not is_video and request.effects:
                    write_photo(project, frame, annotated, request.effects, folder)
            if films is not None:
                films.write(frame, annotated)
            job.advance(frame + 1, total=project.num_frames, frame=frame)
        if not found:
            raise StudioError(409, "there is nothing to export: no frame has a mask" + _of_done(request))
        if films is not None:
            films.close()
        if writer is not None:
            writer.close()
        return True
    finally:
        if writer is not None:
            writer.discard()  # does nothing after close


def _of_done(request: ExportRequest) -> str:
    return " and is marked as done" if request.only_done else ""


def _frames(
    project: Project, request: ExportRequest, *, all_frames: bool
) -> Iterator[tuple[int, AnnotatedImage | None]]:
    """Frames with objects; the others of the video as well, if they are to be seen."""
    following = 0
    numbers = {}
    if isinstance(project, ImageProject):
        numbers = {name: index for index, name in enumerate(project.store.record.names)}
    for annotated in project.annotated(only_done=request.only_done):
        frame = numbers[annotated.name] if annotated.frame is None else annotated.frame
        while all_frames and following < frame:
            yield following, None
            following += 1
        yield frame, annotated
        following = frame + 1
    while all_frames and following < project.num_frames:
        yield following, None
        following += 1


def _pack(work: Path, place: Path, name: str) -> Path:
    files = sorted(path for path in work.rglob("*") if path.is_file())
    if len(files) == 1:
        return files[0].replace(place / files[0].name)
    path = place / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            kind = zipfile.ZIP_STORED if file.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            archive.write(file, file.relative_to(work).as_posix(), compress_type=kind)
    return path


def _drop_old(folder: Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
