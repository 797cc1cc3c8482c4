"""A run of ``sam2 video``: tracking, leg by leg, everything on disk as it comes."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam2.cli.errors import Interrupted, OutputError, describe, is_expected, say
from sam2.cli.progress import progress
from sam2.cli.video.asked import DATA_SETS
from sam2.cli.video.journal import Journal, write_results
from sam2.cli.video.legs import Leg
from sam2.cli.video.peek import PeekedFrames
from sam2.cli.video.records import write_data_sets, write_timeline
from sam2.cli.video.sinks import Job, Shown, Sink, make_sinks
from sam2.cli.video.stopping import Stop
from sam2.cli.video.tracks import Tracked, Tracks
from sam2.interop.rle import decode_mask

JOURNAL, SEARCH_JOURNAL = "frames.jsonl", "found.jsonl"
"""Of a run that can go on, and of one that looks for everything."""
CHECKPOINT_SECONDS = 20.0
"""How much tracking a crash may cost."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run works with.

    Attributes:
        tracks: where masks come from.
        frames: the pictures that are tracked.
        journal: its header is what was asked.
        legs: the whole way, what is done already included.
        job: what the sinks need.
        ids: of all objects; those that are found are added.
    """

    tracks: Tracks
    frames: PeekedFrames
    journal: Journal
    legs: Sequence[Leg]
    job: Job
    ids: set[int]

    @property
    def total(self) -> int:
        """Rows of the journal when all is done."""
        return sum(len(leg.frames) for leg in self.legs)

    @property
    def formats(self) -> Sequence[str]:
        """What is to be written."""
        return self.journal.header["formats"]

    def go(self) -> str:
        """Track what is left, write the results, and say in a line what came of it.

        Raises:
            Interrupted: after Ctrl-C; what is done is kept.
            ValueError, OSError, ...: what was done before the error is kept.
        """
        before, started = len(self.journal), time.perf_counter()
        failure: Exception | None = None
        with Stop() as stop:
            # Pictures are drawn along the way where frames come in order and from the start; else afterwards.
            live = self._sinks() if not before and self._in_order() else None
            try:
                self._track(stop, live or [])
            except Exception as error:
                if not is_expected(error):
                    _discard(live or [])
                    raise
                failure = error
            except KeyboardInterrupt:
                _discard(live or [])
                raise
            seconds = time.perf_counter() - started
            stopped, stop.asked = stop.asked, False
            done = len(self.journal)
            if done < self.total:
                with suppress(OutputError):  # the disk may be full; the last one is still there
                    self.tracks.save(self.job.work, done)
            try:
                self._finish(stop, live, complete=done == self.total)
            except (OutputError, ValueError) as error:  # a full disk, or what a format cannot hold
                failure = failure or error
        if not self.tracks.can_go_on:
            self._clear()
        if failure is not None:
            raise _Unfinished(self._unfinished(failure)) from failure
        if done < self.total or stop.asked:
            raise Interrupted(self._how_to_go_on("interrupted" if stopped else "interrupted while drawing"))
        self._clear()
        return self._summary(done - before, seconds)

    def _clear(self) -> None:
        self.journal.close()  # some systems do not remove open files
        shutil.rmtree(self.job.work, ignore_errors=True)

    def _sinks(self) -> list[Sink]:
        return make_sinks(self.formats, self.journal.header["effects"], self.job)

    def _in_order(self) -> bool:
        return len(self.legs) == 1 and not self.legs[0].reverse

    def _track(self, stop: Stop, sinks: Sequence[Sink]) -> None:
        done, saved = len(self.journal), time.monotonic()
        with progress("tracking", self.total, done=done, speed="frames") as advance:
            for leg in self.legs:
                skipped = min(done, len(leg.frames))
                done -= skipped
                rest = leg.after(skipped)
                last = None
                for tracked in self.tracks.along(rest, leg, stop):
                    last = tracked.frame
                    self._record(tracked, sinks)
                    advance()
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        self.tracks.save(self.job.work, len(self.journal))
                        saved = time.monotonic()
                if stop.asked:
                    return
                if rest.frames and last != rest.frames[-1]:
                    end = "at its first frame" if last is None else f"after frame {last}"
                    raise ValueError(f"{self.journal.header['video']} ends {end}, though it says it goes on")

    def _record(self, tracked: Tracked, sinks: Sequence[Sink]) -> None:
        """A row of the journal, and the frame to every sink."""
        self.journal.append(tracked.frame, tracked.objects)
        ids = [item["id"] for item in tracked.objects]
        self.ids.update(ids)
        if sinks:
            shown = Shown(tracked.frame, self.frames[tracked.frame], ids, tracked.masks)
            for sink in sinks:
                sink.write(shown)

    def _finish(self, stop: Stop, live: Sequence[Sink] | None, *, complete: bool) -> None:
        """Close what was drawn along the way, or draw it now; then the JSON."""
        problem: OutputError | None = None
        if live is None:
            self._draw(stop)
        for sink in live or ():
            try:
                sink.close()
            except OutputError as error:  # the others may still be closed
                sink.discard()
                problem = error
        if "json" in self.formats:
            kept = ("video", "width", "height", "fps", "num_frames", "model", "direction")
            summary = {name: self.journal.header[name] for name in kept}
            if self.job.labels.by_id or self.job.labels.rest:
                summary["labels"] = {str(obj_id): self.job.labels.of(obj_id) for obj_id in sorted(self.ids)}
            if self.journal.header["everything"] is not None:
                summary["everything"] = self.journal.header["everything"]
            summary |= {"complete": complete, "prompts": self.journal.header["prompts"]}
            write_results(self.job.output / f"{self.job.stem}.json", summary, self.journal)
        if len(self.journal):
            self._write_records(stop)
        if problem is not None:
            raise problem

    def _write_records(self, stop: Stop) -> None:
        if "timeline" in self.formats:
            write_timeline(self.job, self.journal)
        names = [name for name in self.formats if name in DATA_SETS]
        if not names or stop.asked:
            return
        with progress("writing", self.journal.num_frames(), speed="frames") as advance:

            def go_on() -> bool:
                advance()
                return not stop.asked

            write_data_sets(names, self.job, self.journal, go_on=go_on)

    def _draw(self, stop: Stop) -> None:
        """Make the pictures from the journal."""
        sinks = self._sinks()
        if not sinks or not len(self.journal):
            return
        rows = self.journal.merged()
        row = next(rows)
        reader = self.frames.read(row["frame"], self.frames.num_frames)
        try:
            with progress("drawing", self.journal.num_frames(), speed="frames") as advance:
                for frame, image in reader:
                    if stop.asked:
                        return
                    if frame != row["frame"]:
                        continue
                    shown = shown_of(row, image)
                    for sink in sinks:
                        sink.write(shown)
                    advance()
                    row = next(rows, None)
                    if row is None:
                        break
            for sink in sinks:
                sink.close()
        finally:
            reader.close()  # type: ignore[attr-defined]  # a generator
            _discard(sinks)

    def _summary(self, frames: int, seconds: float) -> str:
        objects = "1 object" if len(self.ids) == 1 else f"{len(self.ids)} objects"
        speed = f"{frames / seconds:.1f} frames per second" if seconds > 0 else ""
        return (
            f"{self.journal.header['video']}: {objects}, {self.journal.num_frames()} frames in {seconds:.1f} s "
            f"({speed}): results in {self.job.output}"
        )

    def _how_to_go_on(self, what: str) -> str:
        if not len(self.journal):
            return f"{what} before the first frame was done"
        done = f"{what} after {len(self.journal)} of {self.total} frames, kept in {self.job.output}"
        return f"{done}; the same command with --resume goes on" if self.tracks.can_go_on else done

    def _unfinished(self, error: Exception) -> str:
        done = len(self.journal)
        can_go_on = done > 0 and self.tracks.can_go_on
        kept = f"{done} of {self.total} frames are done and kept in {self.job.output}" if done else "nothing is done"
        hint = "; the same command with --resume goes on" if isinstance(error, OutputError) and can_go_on else ""
        return f"{describe(error)}; {kept}{hint}"


class _Unfinished(ValueError):
    """An error in the middle of a run, with what is done."""


def shown_of(row: dict[str, Any], image: np.ndarray) -> Shown:
    """A row of the journal as the sinks take it."""
    ids = [item["id"] for item in row["objects"]]
    return Shown(row["frame"], image, ids, [decode_mask(item["segmentation"]) for item in row["objects"]])


def _discard(sinks: Sequence[Sink]) -> None:
    for sink in sinks:
        sink.discard()


def work_folder(output: Path, stem: str) -> Path:
    """Where a run keeps what it needs to go on; gone when it is done."""
    return output / f"{stem}.partial"


def drop_leftovers(work: Path) -> None:
    """Remove what an interrupted run left, with a word."""
    if work.is_dir():
        hint = " (--resume would have gone on)" if (work / JOURNAL).is_file() else ""
        say(f"warning: starting anew: {work} of an interrupted run is dropped{hint}")
        shutil.rmtree(work, ignore_errors=True)
