"""A run of ``sam2 video``: tracking, leg by leg, everything on disk as it comes."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam2.cli.errors import Interrupted, OutputError, describe, is_expected, say
from sam2.cli.masks import tight_box
from sam2.cli.progress import progress
from sam2.cli.video.journal import Journal, Row, write_results
from sam2.cli.video.legs import Leg, has_begun
from sam2.cli.video.peek import PeekedFrames
from sam2.cli.video.prompts import VideoPrompt
from sam2.cli.video.resume import save_state
from sam2.cli.video.sinks import Job, Shown, Sink, make_sinks
from sam2.cli.video.stopping import Stop
from sam2.interop.rle import decode_mask, encode_mask
from sam2.tracking import FrameResult, VideoSession
from sam2.tracking.passes import Plan
from sam2.tracking.passes import run as run_pass

CHECKPOINT_SECONDS = 20.0
"""How much tracking a crash may cost."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run works with.

    Attributes:
        session: with its prompts, or its state of before a break.
        frames: the session's frames.
        journal: its header is what was asked.
        legs: the whole way, what is done already included.
        corrections: prompts that are given when tracking comes to their frames.
        job: what the sinks need.
    """

    session: VideoSession
    frames: PeekedFrames
    journal: Journal
    legs: Sequence[Leg]
    corrections: Sequence[VideoPrompt]
    job: Job

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
            live = make_sinks(self.formats, self.job) if not before and self._in_order() else None
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
                    save_state(self.session, self.job.work, done)
            try:
                self._finish(stop, live, complete=done == self.total)
            except OutputError as error:
                failure = failure or error
        if failure is not None:
            raise _Unfinished(self._unfinished(failure)) from failure
        if done < self.total or stop.asked:
            raise Interrupted(self._how_to_go_on("interrupted" if stopped else "interrupted while drawing"))
        self.journal.close()  # some systems do not remove open files
        shutil.rmtree(self.job.work, ignore_errors=True)
        return self._summary(done - before, seconds)

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
                for result in self._pass(rest, stop):
                    last = result.frame_idx
                    self._record(leg, result, sinks)
                    advance()
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        save_state(self.session, self.job.work, len(self.journal))
                        saved = time.monotonic()
                if stop.asked:
                    return
                if rest.frames and last != rest.frames[-1]:
                    end = "at its first frame" if last is None else f"after frame {last}"
                    raise ValueError(f"{self.journal.header['video']} ends {end}, though it says it goes on")

    def _pass(self, leg: Leg, stop: Stop) -> Iterator[FrameResult]:
        """Every frame of a leg, corrected where that was asked for."""
        while leg.frames:
            for done, result in enumerate(self._uncorrected(leg, stop), start=1):
                # the way back of --both comes by the same frames, with objects that are not prompted there
                due = [
                    p for p in self.corrections if (p.frame, leg.reverse) == (result.frame_idx, self.legs[0].reverse)
                ]
                if due:
                    add_prompts(self.session, due)
                    yield self.session.result_at(result.frame_idx, result.obj_ids)
                    leg = leg.after(done)  # a new pass takes the corrected mask into memory
                    break
                yield result
            else:
                return

    def _uncorrected(self, leg: Leg, stop: Stop) -> Iterator[FrameResult]:
        nothing = range(0)
        forward, backward = (nothing, leg.frames) if leg.reverse else (leg.frames, nothing)
        tracks = tuple(self.session.tracks[obj_id] for obj_id in leg.obj_ids)
        plan = Plan(tracks, forward, backward, own_pass_only=self.journal.header["direction"] == "both")
        return run_pass(self.session, plan, cancel=lambda: stop.asked)

    def _record(self, leg: Leg, result: FrameResult, sinks: Sequence[Sink]) -> None:
        """A row of the journal, and the frame to every sink."""
        frame = result.frame_idx
        rows = [i for i, obj_id in enumerate(result.obj_ids) if has_begun(leg, self.job.prompts, obj_id, frame)]
        masks = np.asarray(result.masks.cpu())[rows]
        ids = [result.obj_ids[row] for row in rows]
        scores, ious = (x.float().cpu()[rows].tolist() for x in (result.object_scores, result.ious))
        objects = [
            object_row(obj_id, mask, score, iou)
            for obj_id, mask, score, iou in zip(ids, masks, scores, ious, strict=True)
        ]
        self.journal.append(frame, objects)
        if sinks:
            shown = Shown(frame, self.frames[frame], ids, list(masks))
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
            summary |= {"complete": complete, "prompts": self.journal.header["prompts"]}
            write_results(self.job.output / f"{self.job.stem}.json", summary, self.journal)
        if problem is not None:
            raise problem

    def _draw(self, stop: Stop) -> None:
        """Make the pictures from the journal."""
        sinks = make_sinks(self.formats, self.job)
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
        ids = {prompt.object_id for prompt in self.job.prompts}
        objects = "1 object" if len(ids) == 1 else f"{len(ids)} objects"
        speed = f"{frames / seconds:.1f} frames per second" if seconds > 0 else ""
        return (
            f"{self.journal.header['video']}: {objects}, {self.journal.num_frames()} frames in {seconds:.1f} s "
            f"({speed}): results in {self.job.output}"
        )

    def _how_to_go_on(self, what: str) -> str:
        if not len(self.journal):
            return f"{what} before the first frame was done"
        done = f"{what} after {len(self.journal)} of {self.total} frames, kept in {self.job.output}"
        return f"{done}; the same command with --resume goes on"

    def _unfinished(self, error: Exception) -> str:
        done = len(self.journal)
        kept = f"{done} of {self.total} frames are done and kept in {self.job.output}" if done else "nothing is done"
        hint = "; the same command with --resume goes on" if isinstance(error, OutputError) and done else ""
        return f"{describe(error)}; {kept}{hint}"


class _Unfinished(ValueError):
    """An error in the middle of a run, with what is done."""


def object_row(obj_id: int, mask: np.ndarray, score: float, iou: float) -> Row:
    """What the journal and the JSON say of an object on a frame, as docs/cli.md describes it."""
    return {
        "id": obj_id,
        "bbox": tight_box(mask),
        "area": int(mask.sum()),
        "object_score": round(score, 4),
        "predicted_iou": round(iou, 4),
        "segmentation": encode_mask(mask),
    }


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
        say(f"warning: starting anew: {work} of an interrupted run is dropped (--resume would have gone on)")
        shutil.rmtree(work, ignore_errors=True)


def add_prompts(session: VideoSession, prompts: Sequence[VideoPrompt]) -> None:
    """Tell a session everything; a mask first, which points and a box then correct."""
    for prompt in prompts:
        if prompt.rle is not None:
            session.add_mask(prompt.frame, prompt.object_id, decode_mask(prompt.rle))
        if prompt.points or prompt.box is not None:
            session.add_points(
                prompt.frame,
                prompt.object_id,
                points=prompt.points or None,
                labels=prompt.labels or None,
                box=prompt.box,
            )
