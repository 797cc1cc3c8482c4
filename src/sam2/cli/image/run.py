"""A run of ``sam2 image``: photo after photo, past bad ones, everything on disk as it comes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2.cli.errors import (
    DONE,
    FAILED,
    SOME_FAILED,
    Interrupted,
    OutputError,
    describe,
    is_expected,
    say,
)
from sam2.cli.image.asked import Asked
from sam2.cli.image.journal import NAME, PhotoJournal
from sam2.cli.outputs import output_stems
from sam2.cli.progress import progress

if TYPE_CHECKING:
    from sam2.interop.detections import Detections


_TIDY_UP_EVERY = 8
"""Photos. What photos of many sizes leave behind fits the next one less and less well."""


@dataclass(slots=True)
class Tally:
    """What came of the photos of a call.

    Attributes:
        total: photos.
        before: done by an earlier run.
        failed: could not be done.
        done: done now.
        masks: written now.
        bad_formats: why a format cannot hold the photos, by its name.
        lines: what to say of a single photo.
        seconds: since the start.
    """

    total: int
    before: int = 0
    failed: int = 0
    done: int = 0
    masks: int = 0
    bad_formats: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.failed == self.total:
            return FAILED
        return SOME_FAILED if self.failed or self.bad_formats else DONE

    def summary(self, output: Path) -> str:
        """All in one line."""
        parts = ["1 image" if self.total == 1 else f"{self.total} images"]
        if self.before:
            parts.append(f"{self.before} done before")
        parts.append(f"{self.done} done")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.done:
            parts.append("1 mask" if self.masks == 1 else f"{self.masks} masks")
        where = f": results in {output}" if self.done or self.before else ""
        return f"{', '.join(parts)} in {time.perf_counter() - self.started:.1f} s{where}"


def run_photos(asked: Asked, paths: Sequence[Path], *, resume: bool) -> tuple[int, list[str]]:
    """Do what was asked for; the exit status and the lines to print.

    Raises:
        Interrupted: after Ctrl-C; what is done is kept.
        OutputError: results cannot be written; what is done is kept.
        ValueError: the earlier run was asked for something else, or the model cannot be loaded.
    """
    tally = Tally(len(paths))
    with _open_journal(asked, keep=resume or len(paths) > 1, resume=resume) as journal:
        if asked.data_sets:
            from sam2.cli.image.data_sets import check_names

            check_names(asked, _all_keys(journal, paths))
        todo = _todo(journal, paths)
        tally.before = len(paths) - len(todo)
        if not todo and journal.is_finished:
            return DONE, [f"{tally.total} images, all done before: nothing to do"]
        try:
            if todo:
                _segment(asked, journal, todo, tally)
            if len(journal):
                _write_data_sets(asked, journal, paths, tally)
        except OutputError as error:
            raise OutputError(f"{error}{_how_to_go_on(tally)}") from error
        except KeyboardInterrupt:
            if tally.total == 1:
                raise
            raise Interrupted(f"interrupted{_how_to_go_on(tally)}") from None
    if asked.everything is not None and tally.done and not tally.masks:
        say("warning: nothing was found; a lower --iou-threshold or --stability-threshold keeps more")
    return tally.status, [*tally.lines, tally.summary(asked.output)]


@contextmanager
def _open_journal(asked: Asked, *, keep: bool, resume: bool) -> Iterator[PhotoJournal]:
    """The journal of the folder, or one that is gone afterwards, for a single photo."""
    path = asked.output / (NAME if keep else f"{NAME}.tmp")
    going_on = resume and path.is_file()
    if keep and not resume and path.is_file():
        _warn_of_leftovers(path)
    journal = PhotoJournal(path, None if going_on else {"settled": asked.settled})
    try:
        if going_on:
            _compare(journal.settled, asked.settled)
        yield journal
    finally:
        journal.close()
        if not keep or not len(journal):
            path.unlink(missing_ok=True)


def _warn_of_leftovers(path: Path) -> None:
    try:
        journal = PhotoJournal(path)
    except ValueError:
        return
    journal.close()
    if len(journal) and not journal.is_finished:
        photos = "1 photo" if len(journal) == 1 else f"{len(journal)} photos"
        say(f"warning: starting anew: {photos} of an interrupted run would have been kept by --resume")


def _compare(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ``ValueError`` with the first option that differs."""
    for option in now:
        if before.get(option) != now[option]:
            raise ValueError(
                f"--resume: {option} differs from the earlier run's ({_shown(before.get(option))} there, "
                f"{_shown(now[option])} now): leave --resume out to start anew, or choose another folder"
            )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, dict):
        parts = [f"--{name.replace('_', '-')} {part}" for name, part in value.items() if part is not None]
        return " ".join(parts) or "yes"
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _todo(journal: PhotoJournal, paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """The photos that are not done, with what names of their results begin with."""
    known = journal.stems()
    keys = [journal.key(path) for path in paths]
    fresh = [path for path, key in zip(paths, keys, strict=True) if key not in known]
    # named among all photos of this call, so that an interrupted run goes on with the names it would have given
    stems = dict(zip(keys, output_stems(paths), strict=True))
    taken = {stem.lower() for stem in known.values()}
    if any(stems[journal.key(path)].lower() in taken for path in fresh):
        renamed = output_stems(fresh, taken=taken)
        stems.update({journal.key(path): stem for path, stem in zip(fresh, renamed, strict=True)})
    stems.update({key: known[key] for key in keys if key in known})
    return [(path, stems[key]) for path, key in zip(paths, keys, strict=True) if journal.get(path) is None]


def _segment(asked: Asked, journal: PhotoJournal, todo: Sequence[tuple[Path, str]], tally: Tally) -> None:
    """Photo after photo; what goes wrong with one does not stop the others."""
    from sam2.cli.image.results import Photo, write_photo
    from sam2.cli.image.segment import make_segmenter
    from sam2.cli.loading import load_model
    from sam2.io.images import read_image
    from sam2.utils.allocator import give_back_freed_memory

    boxes = None if asked.boxes is None else _read_boxes(asked.boxes, asked, [path for path, _ in todo])
    model = load_model(asked.model, device=asked.device, dtype=asked.dtype)
    segmenter = make_segmenter(model, asked, boxes=boxes, alone=tally.total == 1)

    def do(path: Path, stem: str) -> None:
        image = read_image(path, scale=asked.scale)  # type: ignore[arg-type]
        photo = Photo(path, stem, image, segmenter(path, image))
        files = write_photo(photo, asked)
        masks = sum(len(item.candidates) for item in photo.found)
        content: dict[str, Any] = {"files": files, "masks": masks, "width": image.shape[1], "height": image.shape[0]}
        if asked.data_sets:
            content["objects"] = [item.row() for item in photo.found]
        journal.add(path, stem, content)
        tally.done, tally.masks = tally.done + 1, tally.masks + masks
        if tally.total == 1 and asked.everything is None:
            tally.lines.extend(item.describe() for item in photo.found)

    with (
        progress("segmenting", tally.total, done=tally.before) if tally.total > 1 else nullcontext(_nothing) as advance
    ):
        for path, stem in todo:
            try:
                do(path, stem)
            except OutputError:
                raise
            except Exception as error:
                if not is_expected(error):
                    raise
                tally.failed += 1
                text = describe(error)
                say(f"error: {text}" if str(path) in text else f"error: {path}: {text}")
            advance()
            if (tally.done + tally.failed) % _TIDY_UP_EVERY == 0:
                give_back_freed_memory()


def _read_boxes(file: Path, asked: Asked, paths: Sequence[Path]) -> "Detections":
    """The boxes of a detector, with a word about photos that it says nothing of."""
    from sam2.interop.detections import read_detections

    boxes = read_detections(file, names=dict(asked.labels.by_id))
    unknown = [path for path in paths if not boxes.knows(path.as_posix())]
    if len(unknown) == len(paths):
        raise ValueError(f"--boxes {file} names {_some(boxes.names or ())}, none of the photos: {_some(paths)}")
    if unknown:
        photos = "1 photo, which gets" if len(unknown) == 1 else f"{len(unknown)} photos, which get"
        say(f"warning: --boxes {file} says nothing of {photos} no objects: {_some(unknown)}")
    return boxes


def _some(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")


def _write_data_sets(asked: Asked, journal: PhotoJournal, paths: Sequence[Path], tally: Tally) -> None:
    """Write what holds all photos, and note the end of the run."""
    written: list[Path] = []
    if asked.data_sets:
        from sam2.cli.image.data_sets import write_data_sets

        keys = [key for key in _all_keys(journal, paths) if key in journal]
        with progress("writing", len(keys)) if tally.total > 1 else nullcontext(_nothing) as advance:
            written, tally.bad_formats = write_data_sets(asked, journal, keys, advance=advance)
        for name, reason in tally.bad_formats.items():
            say(f"error: --format {name}: {reason}")
    if not tally.bad_formats:
        journal.finish(written)


def _all_keys(journal: PhotoJournal, paths: Sequence[Path]) -> list[str]:
    """Photos of earlier calls first, then those of this one in their order."""
    now = dict.fromkeys(journal.key(path) for path in paths)
    return [*(key for key in journal if key not in now), *now]


def _nothing() -> None: ...


def _how_to_go_on(tally: Tally) -> str:
    if tally.total == 1:
        return ""
    done = tally.before + tally.done
    if not done:
        return " before the first photo was done"
    return f"; {done} of {tally.total} photos are done, the same command with --resume goes on"
