"""What gives a run its masks: objects that somebody has pointed at, or everything that is found."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sam2.automatic.video import VideoMaskGenerator
from sam2.cli.masks import tight_box
from sam2.cli.video.journal import Row
from sam2.cli.video.legs import Leg, has_begun
from sam2.cli.video.prompts import VideoPrompt
from sam2.cli.video.resume import save_state
from sam2.cli.video.stopping import Stop
from sam2.interop.rle import decode_mask, encode_mask
from sam2.io.source import FrameSource
from sam2.tracking import FrameResult, VideoSession
from sam2.tracking.passes import Plan
from sam2.tracking.passes import run as run_pass


@dataclass(frozen=True, slots=True)
class Tracked:
    """A frame and what was found in it.

    Attributes:
        frame: index.
        objects: n rows for the journal.
        masks: n masks [h, w] bool.
    """

    frame: int
    objects: list[Row]
    masks: list[np.ndarray]

    @staticmethod
    def of(frame: int, result: FrameResult, rows: Sequence[int]) -> "Tracked":
        """Some rows of a result."""
        masks = list(np.asarray(result.masks.cpu())[list(rows)])
        scores, ious = (x.float().cpu()[list(rows)].tolist() for x in (result.object_scores, result.ious))
        ids = [result.obj_ids[row] for row in rows]
        found = zip(ids, masks, scores, ious, strict=True)
        return Tracked(frame, [object_row(obj_id, mask, score, iou) for obj_id, mask, score, iou in found], masks)


class Tracks(Protocol):
    """Goes through frames.

    Attributes:
        can_go_on: whether a run that was interrupted can go on from what ``save`` has written.
    """

    can_go_on: bool

    def along(self, leg: Leg, whole: Leg, stop: Stop) -> Iterator[Tracked]:
        """The frames of ``leg``, what is left of ``whole``, until ``stop`` is asked for."""
        ...

    def save(self, work: Path, rows: int) -> None:
        """Write down what is needed to go on after ``rows`` rows of the journal."""
        ...


@dataclass(frozen=True, slots=True)
class PromptedTracks:
    """Objects that somebody has pointed at.

    Attributes:
        session: with its prompts, or its state of before a break.
        prompts: all of them.
        corrections: those that are given when tracking comes to their frames.
        own_pass_only: whether each direction reads memories of its own alone.
        reverse: whether the first leg goes backward.
    """

    session: VideoSession
    prompts: Sequence[VideoPrompt]
    corrections: Sequence[VideoPrompt]
    own_pass_only: bool
    reverse: bool
    can_go_on = True

    def along(self, leg: Leg, whole: Leg, stop: Stop) -> Iterator[Tracked]:
        """Every frame of a leg, corrected where that was asked for."""
        for result in self._corrected(leg, stop):
            frame, ids = result.frame_idx, result.obj_ids
            begun = [row for row, obj_id in enumerate(ids) if has_begun(whole, self.prompts, obj_id, frame)]
            yield Tracked.of(frame, result, begun)

    def save(self, work: Path, rows: int) -> None:
        """The state of the session."""
        save_state(self.session, work, rows)

    def _corrected(self, leg: Leg, stop: Stop) -> Iterator[FrameResult]:
        while leg.frames:
            for done, result in enumerate(self._uncorrected(leg, stop), start=1):
                # the way back of --both comes by the same frames, with objects that are not prompted there
                due = [p for p in self.corrections if (p.frame, leg.reverse) == (result.frame_idx, self.reverse)]
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
        plan = Plan(tracks, forward, backward, own_pass_only=self.own_pass_only)
        return run_pass(self.session, plan, cancel=lambda: stop.asked)


@dataclass(frozen=True, slots=True)
class FoundTracks:
    """Everything that is found."""

    generator: VideoMaskGenerator
    frames: FrameSource
    can_go_on = False

    def along(self, leg: Leg, whole: Leg, stop: Stop) -> Iterator[Tracked]:
        """Every frame of a leg, which goes forward."""
        span = leg.frames
        reader = self.frames.read(span.start, span.stop)
        images = (image for _, image in reader)
        with closing(self.generator.generate(images, cancel=lambda: stop.asked)) as results:  # type: ignore[type-var]
            for frame, result in zip(span, results, strict=False):
                yield Tracked.of(frame, result, range(len(result.obj_ids)))

    def save(self, work: Path, rows: int) -> None:
        """Nothing: which objects were looked for in vain, and for how long, is not in a session's state."""


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
