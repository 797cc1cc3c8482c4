"""What a session holds, and how it is kept up: used by prompts, passes and steps alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import torch

from sam2.io.frames import FrameSource, open_frames
from sam2.modeling.memory_selection import MemorySelection
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.tracking import engine
from sam2.tracking.features import FrameFeatures, as_frame
from sam2.tracking.fused import FusedFrames
from sam2.tracking.history import History
from sam2.tracking.objects import ObjectTrack
from sam2.tracking.policy import MemoryPolicy, OfficialMemory
from sam2.tracking.records import FrameOutput
from sam2.tracking.results import FrameResult

S = TypeVar("S", bound="SessionState")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a session keeps, and where.

    Attributes:
        history: masks of past frames for an editor, in a budget; None keeps none, as a stream should.
        storage_device: where outputs are kept; the model's device by default.
        feature_frames: frames whose image features are kept.
    """

    history: History | None = None
    storage_device: torch.device | str | None = None
    feature_frames: int = 1


class SessionState:
    """Frames, objects and their memories; :class:`sam2.tracking.session.VideoSession` adds what users call."""

    def __init__(
        self,
        model: SAM2Base,
        frames: Any = None,
        *,
        policy: MemoryPolicy | None = None,
        options: SessionOptions | None = None,
    ) -> None:
        options = options or SessionOptions()
        self.model = model
        # Claimed before the video is opened: nothing is left open where it is refused.
        self.history = None if options.history is None else options.history.claim()
        self.frames: FrameSource | None = None if frames is None else open_frames(frames)
        self._opened_here = not isinstance(frames, FrameSource)
        self.policy: MemoryPolicy = policy or OfficialMemory()
        self.storage_device = torch.device(options.storage_device or model.device)
        self.features = FrameFeatures(model, self.frames, keep=options.feature_frames)
        self.fused = FusedFrames()
        self.tracks: dict[int, ObjectTrack] = {}
        self._size = None if self.frames is None else (self.frames.height, self.frames.width)
        self._seen = 0

    # ------------------------------------------------------------------ what callers ask

    @property
    def obj_ids(self) -> list[int]:
        """Identifiers in the order of first prompts; a new list each time."""
        return list(self.tracks)

    @property
    def is_stream(self) -> bool:
        """Whether frames come by :meth:`step`."""
        return self.frames is None

    @property
    def num_frames(self) -> int:
        """Frames of the video; of a stream, those seen so far."""
        return self._seen if self.frames is None else self.frames.num_frames

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame in pixels; ``RuntimeError`` before the first frame of a stream."""
        if self._size is None:
            raise RuntimeError("this stream has had no frame yet: call step(frame) first")
        return self._size

    def close(self) -> None:
        """Close the video, if this session opened it, and give up what was kept of its past; also done by ``with``."""
        if self.frames is not None and self._opened_here:
            self.frames.close()
        self.features.clear()
        self.fused.clear()
        if self.history is not None:
            self.history.clear()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def accept(self, frame: Any) -> torch.Tensor:
        """Check the next frame of a stream; its pixels [3, S, S]."""
        if self.frames is not None:
            raise RuntimeError("this session has a video: call propagate; step is for streams")
        image = as_frame(frame)
        if self._seen and image.shape[:2] != self._size:
            raise ValueError(f"frame must have the size of the first one, {self._size}, got {image.shape[:2]}")
        pixels = self.features.pixels(image)
        self._size = (image.shape[0], image.shape[1])
        return pixels

    def advance_stream(self, features: ImageFeatures) -> int:
        """Make ``features`` those of the next frame of the stream; its index."""
        frame = self._seen
        self.features.put(frame, features)
        self._seen += 1
        return frame

    def resume(self, num_frames: int, size: tuple[int, int] | None) -> None:
        """Go on with a stream that another session has read ``num_frames`` of."""
        if self.is_stream:
            self._seen, self._size = num_frames, size

    @torch.inference_mode()
    def commit(self) -> None:
        """Encode the memory of all prompted frames that have none yet, in the order of frames."""
        ready: dict[tuple[int, int], FrameOutput] = {}
        for frame in sorted({frame for track in self.tracks.values() for frame in track.drafts}):
            tracks = [track for track in self.tracks.values() if frame in track.drafts]
            features = self.features.get(frame)
            outputs = [track.drafts[frame].output for track in tracks]
            for track, output in zip(tracks, engine.remember_shown(self.model, features, outputs), strict=True):
                ready[track.obj_id, frame] = output.to(self.storage_device)
        # Taken in the order in which they were given: it decides between frames that are equally near.
        for track in self.tracks.values():
            for frame, draft in list(track.drafts.items()):
                output = ready[track.obj_id, frame]
                track.commit(frame, output)
                if not draft.conditioning and frame not in track.bank.prompted:
                    self.archive(track, frame, output)
                if self.model.behaviour.clear_non_cond_mem_around_input:
                    self.forget_around(track, frame)

    def select(
        self, track: ObjectTrack, frame: int, *, reverse: bool, same_direction_only: bool = False
    ) -> MemorySelection:
        """What an object reads at a frame: the policy's choice, less what was dropped for good."""
        question = track.bank.question(
            frame,
            reverse=reverse,
            num_frames=None if self.is_stream else self.num_frames,
            behaviour=self.model.behaviour,
            num_maskmem=self.model.num_maskmem,
            same_direction_only=same_direction_only,
        )
        return track.bank.readable(self.policy.select(question))

    def record(self, track: ObjectTrack, frame: int, output: FrameOutput, *, reverse: bool) -> None:
        """Keep what tracking gave for an object, and drop what cannot be read any more."""
        kept = output.to(self.storage_device)
        track.bank.add_tracked(frame, kept)
        track.bank.directions[frame] = reverse
        self.archive(track, frame, kept)

    def pass_by(self, track: ObjectTrack, frame: int, *, reverse: bool) -> None:
        """A pass has reached a prompted frame of an object."""
        track.bank.directions[frame] = reverse
        if self.model.behaviour.clear_non_cond_mem_around_input:
            self.forget_around(track, frame)

    def evict(self, tracks: Sequence[ObjectTrack], frame: int, *, reverse: bool) -> None:
        """Drop memories of ``tracks`` that the policy cannot read from ``frame`` on."""
        for track in tracks:
            track.bank.evict(
                frame,
                reverse=reverse,
                policy=self.policy,
                behaviour=self.model.behaviour,
                num_maskmem=self.model.num_maskmem,
            )
        if self.is_stream:
            for track in self.tracks.values():
                track.bank.directions = {t: r for t, r in track.bank.directions.items() if t in self.features}

    def still_here(self, tracks: Sequence[ObjectTrack]) -> list[ObjectTrack]:
        """Those of ``tracks`` that were not removed since."""
        return [track for track in tracks if self.tracks.get(track.obj_id) is track]

    def forget_around(self, track: ObjectTrack, frame: int) -> None:
        """The official ``clear_non_cond_mem_around_input``, of this object alone."""
        reach = self.model.behaviour.memory_temporal_stride_for_eval * self.model.num_maskmem
        for index in track.bank.forget_around(frame, reach=reach):
            if self.history is not None:
                self.history.delete(track.obj_id, index)

    def output_at(self, track: ObjectTrack, frame: int) -> FrameOutput | None:
        """What is shown of an object on a frame, or None where nothing is known."""
        if frame in track.drafts:
            return track.drafts[frame].output
        for outputs in (track.bank.prompted, track.bank.recent):
            output = outputs.get(frame)
            if output is not None and output.logits is not None:
                return output
        return None if self.history is None else self.history.get(track.obj_id, frame)

    def result_at(self, frame: int, obj_ids: Sequence[int] | None = None) -> FrameResult:
        """What is known of a frame; objects without a mask there count as absent."""
        tracks = [self.tracks[obj_id] for obj_id in (self.obj_ids if obj_ids is None else obj_ids)]
        return self.result(frame, {track.obj_id: self.output_at(track, frame) for track in tracks})

    @torch.inference_mode(False)  # what callers are given is theirs to change
    def result(self, frame: int, outputs: dict[int, FrameOutput | None]) -> FrameResult:
        """The public form of one frame's outputs by object."""
        device, side = self.model.device, self.model.low_res_size
        nothing = torch.full((1, 1, side, side), NO_OBJ_SCORE, device=device)
        logits: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        ious: list[torch.Tensor] = []
        for output in outputs.values():
            shown = None if output is None else output.logits
            logits.append(nothing if shown is None else shown.to(device))
            scores.append(nothing[:, 0, 0, :1] if output is None else output.object_score.to(device))
            ious.append(torch.zeros(1, 1, device=device) if output is None else output.iou.to(device))
        return FrameResult(
            frame,
            tuple(outputs),
            torch.cat(logits) if logits else nothing[:0],
            torch.cat(scores)[:, 0] if scores else nothing[:0, 0, 0, 0],
            torch.cat(ious)[:, 0] if ious else nothing[:0, 0, 0, 0],
            self.size,
            self.model.behaviour.non_overlap_masks,
        )

    def archive(self, track: ObjectTrack, frame: int, output: FrameOutput) -> None:
        """Put what was shown of an object on a frame into the history, if there is one."""
        if self.history is not None and output.logits is not None:
            self.history.put(track.obj_id, frame, output)
