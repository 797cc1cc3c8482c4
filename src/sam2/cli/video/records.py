"""What is made of the journal alone, without the pictures: data sets, and the timeline."""

from array import array
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from sam2.cli.errors import OutputError
from sam2.cli.labels import Labels
from sam2.cli.outputs import write_whole
from sam2.cli.video.journal import Journal, Row
from sam2.cli.video.sinks import Job
from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.interop.formats import open_writers
from sam2.viz import ObjectLine, draw_timeline


def write_data_sets(names: Sequence[str], job: Job, journal: Journal, *, go_on: Callable[[], bool]) -> bool:
    """Write what other tools read, frame after frame, in constant memory.

    Args:
        names: formats of :mod:`sam2.interop.formats`.
        job: where to.
        journal: what was found.
        go_on: is asked after each frame; false ends it without a result.

    Returns:
        Whether it was written.

    Raises:
        OutputError: it cannot be written.
        ValueError: a format cannot hold something.
    """
    header = journal.header
    video = VideoInfo(*(header[name] for name in ("video", "width", "height", "num_frames", "fps")))
    try:
        writer = open_writers(names, job.output, labels=job.labels.names)
        try:
            for row in journal.merged():
                writer.add(annotated(row, video, job))
                if not go_on():
                    return False
            writer.close()
            return True
        finally:
            writer.discard()  # does nothing after close
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or job.output}: {error.strerror or error}") from error


def annotated(row: Row, video: VideoInfo, job: Job) -> AnnotatedImage:
    """A frame as all formats take it; objects that are not there are left out."""
    frame = row["frame"]
    objects = tuple(_annotation(item, job.labels) for item in row["objects"] if item["area"])
    name = f"{job.stem}/{job.names[frame] if job.names else f'{frame:05d}.jpg'}"
    return AnnotatedImage(name, video.width, video.height, objects, video, frame)


def _annotation(item: Row, labels: Labels) -> ObjectAnnotation:
    return ObjectAnnotation.from_rle(
        item["segmentation"],
        label=labels.of(item["id"]) or DEFAULT_LABEL,
        track_id=item["id"],
        score=min(1.0, max(0.0, item["predicted_iou"])),
        attributes={name: item[name] for name in ("predicted_iou", "object_score")},
    )


class _Growing:
    """The numbers of an object, twelve bytes a frame."""

    def __init__(self) -> None:
        self.frames, self.areas, self.scores = array("l"), array("f"), array("f")


def write_timeline(job: Job, journal: Journal) -> Path:
    """Draw areas and scores of all objects into ``STEM_timeline.png``.

    Raises:
        OutputError: it cannot be written.
    """
    header = journal.header
    size = header["width"] * header["height"]
    lines: dict[int, _Growing] = {}
    first, last = None, 0
    for row in journal.merged():
        first, last = row["frame"] if first is None else first, row["frame"]
        for item in row["objects"]:
            line = lines.setdefault(item["id"], _Growing())
            if item["area"]:
                line.frames.append(row["frame"])
                line.areas.append(item["area"] / size)
                line.scores.append(item["predicted_iou"])
    drawn = [
        ObjectLine(obj_id, line.frames, line.areas, line.scores, _name(obj_id, job.labels))
        for obj_id, line in sorted(lines.items())
    ]
    page = draw_timeline(drawn, first=first or 0, last=last, title=header["video"])
    buffer = BytesIO()
    Image.fromarray(page).save(buffer, "PNG")
    path = job.output / f"{job.stem}_timeline.png"
    write_whole(path, buffer.getvalue())
    return path


def _name(obj_id: int, labels: Labels) -> str:
    label = labels.of(obj_id)
    return f"object {obj_id}" if label is None else f"{obj_id} {label}"
