"""From a project to files: data sets through ``interop``, pictures and films through ``viz`` and ``io``."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sam2.interop.annotations import AnnotatedImage
from sam2.interop.formats import open_writers
from sam2.web.errors import StudioError, disk_error
from sam2.web.exporting.effects import Films, Photos
from sam2.web.jobs import Job
from sam2.web.projects.images import ImageProject
from sam2.web.projects.project import Project
from sam2.web.schemas import ExportRequest

KEPT = 5
"""So many exports of a project are kept."""
_PACKED = {".jpg", ".jpeg", ".png", ".mp4", ".webm"}
"""Compressed already."""
_UNFINISHED = ".part"


def export_project(project: Project, request: ExportRequest, job: Job) -> Path | None:
    """Write what is asked for; the one file, or all of them as a .zip archive.

    Args:
        project: what is exported.
        request: checked before.
        job: is told of progress; when it is cancelled nothing is left.

    Returns:
        The file; None if the job was cancelled.

    Raises:
        StudioError: 409, there is nothing to export, or a file cannot be written; 507, the disk is full.
    """
    place = project.folder / "exports" / job.id
    work = place / "work"
    try:
        work.mkdir(parents=True)
        if not _write(project, request, work, job):
            shutil.rmtree(place, ignore_errors=True)
            return None
        path = _pack(work, place, project.name)
        shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        # what libraries say of an error names the file
        raise disk_error(OSError(error.errno, os.strerror(error.errno or 5)), "the export") from error
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    _drop_old(project.folder / "exports")
    return path


def check_there_is_something(project: Project, request: ExportRequest) -> None:
    """Raises:
    StudioError: 409, no frame that is asked for has a mask.
    """
    if next(project.annotated(only_done=request.only_done), None) is None:
        done = " and is marked as done" if request.only_done else ""
        raise StudioError(409, f"there is nothing to export: no frame has a mask{done}")


def find_export(project: Project, number: str) -> Path:
    """The file of an export.

    Raises:
        StudioError: 404 there is none.
    """
    folder = project.folder / "exports"
    known = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    inside = (folder / number).iterdir() if number in known else ()
    files = [path for path in inside if path.is_file() and path.suffix != _UNFINISHED]
    if not files:
        raise StudioError(404, "there is no such export: it may be too old")
    return files[0]


def _write(project: Project, request: ExportRequest, folder: Path, job: Job) -> bool:
    """Whether it came to its end."""
    check_there_is_something(project, request)
    is_video = project.store.record.kind == "video"
    writer = open_writers(request.formats, folder, labels=list(project.state().labels)) if request.formats else None
    films = Films(project, request.effects, folder) if is_video and request.effects else None
    photos = Photos(project, request.effects, folder) if not is_video else None
    try:
        for frame, annotated in _frames(project, request, all_frames=films is not None):
            if job.cancelled:
                return False
            if annotated is not None and writer is not None:
                writer.add(annotated)
            if annotated is not None and photos is not None:
                photos.write(frame, annotated)
            if films is not None:
                films.write(frame, annotated)
            job.advance(frame + 1, total=project.num_frames, frame=frame)
        if films is not None:
            films.close()
        if writer is not None:
            writer.close()
        return True
    finally:  # neither does anything after close
        if films is not None:
            films.discard()
        if writer is not None:
            writer.discard()


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
    draft = place / f"{name}{_UNFINISHED}"
    with zipfile.ZipFile(draft, "w") as archive:
        for file in files:
            kind = zipfile.ZIP_STORED if file.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            archive.write(file, file.relative_to(work).as_posix(), compress_type=kind)
    return draft.replace(path)


def _drop_old(folder: Path) -> None:
    """Drop all but the newest, and what a studio that was killed has left."""
    done = [path for path in folder.iterdir() if not (path / "work").exists()]
    kept = sorted(done, key=lambda path: path.stat().st_mtime_ns, reverse=True)[:KEPT]
    for path in folder.iterdir():
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
