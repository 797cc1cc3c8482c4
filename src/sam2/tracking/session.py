"""``VideoSession``: one video (or stream), its objects, and tracking them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from sam2.io.frames import FrameSource, open_frames
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.tracking import engine, passes
from sam2.tracking.bank import MemoryBank
from sam2.tracking.checks import check_frame, check_obj_id
from sam2.tracking.features import FrameFeatures, as_frame
from sam2.tracking.history import History
from sam2.tracking.objects import Draft, ObjectTrack
from sam2.tracking.policy import MemoryPolicy, MemoryQuestion, OfficialMemory
from sam2.tracking.prompts import read_mask, read_points
from sam2.tracking.records import FrameOutput, FramePrompt
from sam2.tracking.results import FrameResult

Direction = Literal["forward", "reverse", "both"]


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


class VideoSession:
    """Any number of objects in one video, or in a stream without end.

    With ``frames`` (a path, a folder, arrays; see :func:`sam2.io.frames.open_frames`) any frame can be prompted and
    :meth:`propagate` tracks. Without, it is a stream: :meth:`step` takes frame after frame. Only what can be read again
    is kept: prompted frames, and of the others what the memory policy may still ask for.

    Args:
        model: in evaluation mode; any number of sessions may share it.
        frames: the video, or None for a stream.
        policy: which memories are kept and read; the official rule by default.
        options: see :class:`SessionOptions`.

    Raises:
        ValueError, OSError: ``frames`` cannot be opened.
    """

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
        self.frames: FrameSource | None = None if frames is None else open_frames(frames)
        self.policy: MemoryPolicy = policy or OfficialMemory()
        self.history = options.history
        self.storage_device = torch.device(options.storage_device or model.device)
        self.features = FrameFeatures(model, self.frames, keep=options.feature_frames)
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

    # ------------------------------------------------------------------ prompts

    @torch.inference_mode()
    def add_points(
        self,
        frame_idx: int,
        obj_id: int,
        *,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> FrameResult:
        """Prompt an object on a frame by clicks, a box or both, and see its mask there.

        On a frame that was tracked already this corrects: the mask that is there is taken as a start.

        Args:
            frame_idx: index of the frame; in a stream, of the last one.
            obj_id: any integer; a new one makes a new object.
            points: [p, 2], (x, y) in pixels of the frame.
            labels: [p], 1 foreground, 0 background.
            box: [4], (x0, y0, x1, y1) in pixels of the frame.
            clear_old_points: forget earlier points of the object on this frame; needed with a box.
            normalize_coords: coordinates are pixels; otherwise they are in 0..1.

        Returns:
            The result of this object alone.

        Raises:
            ValueError: what is wrong with the prompt; the session is as it was.
        """
        frame_idx, obj_id = self._check_place(frame_idx, obj_id)
        if box is not None and not clear_old_points:
            raise ValueError(
                "cannot add box without clearing old points, since box prompt must be provided before any point "
                "prompt (please use clear_old_points=True instead)"
            )
        prompt = read_points(
            points,
            labels,
            box,
            size=self.size,
            image_size=self.model.image_size,
            normalize_coords=normalize_coords,
        )
        track = self.tracks.get(obj_id) or self._new_track(obj_id)
        old = track.prompts.get(frame_idx)
        if old is not None and not clear_old_points and prompt.points is not None and prompt.labels is not None:
            prompt = old.followed_by(prompt.points, prompt.labels)
        return self._answer(track, frame_idx, prompt)

    @torch.inference_mode()
    def add_mask(self, frame_idx: int, obj_id: int, mask: Any) -> FrameResult:
        """Say what an object is on a frame by its mask [H, W] (bool, integers or floats, of any size).

        An empty mask says that the object is not there. Points on the same frame give way.

        Raises:
            ValueError: what is wrong with the mask; the session is as it was.
        """
        frame_idx, obj_id = self._check_place(frame_idx, obj_id)
        prompt = FramePrompt(mask=read_mask(mask, image_size=self.model.image_size))
        return self._answer(self.tracks.get(obj_id) or self._new_track(obj_id), frame_idx, prompt)

    def clear_prompts(self, frame_idx: int, obj_id: int) -> None:
        """Take back what was said of an object on a frame. A mask that was shown there stays until tracked again.

        Raises:
            KeyError: no such object.
        """
        frame_idx, obj_id = self._check_place(frame_idx, obj_id, known=True)
        track = self.tracks[obj_id]
        track.prompts.pop(frame_idx, None)
        track.drafts.pop(frame_idx, None)
        output = track.bank.prompted.pop(frame_idx, None)
        track.bank.directions.pop(frame_idx, None)
        if output is not None:
            track.bank.add_tracked(frame_idx, output)
            self._archive(track, frame_idx, output)

    def remove_object(self, obj_id: int) -> list[int]:
        """Forget an object; the others stay as they are. Returns the frames on which it had prompts.

        Raises:
            KeyError: no such object.
        """
        if obj_id not in self.tracks:
            raise KeyError(f"obj_id {obj_id} is not among {self.obj_ids}")
        track = self.tracks.pop(obj_id)
        if self.history is not None:
            self.history.delete(obj_id)
        return sorted(track.prompts)

    def reset(self) -> None:
        """Forget all objects. The video stays open; a stream goes on with its next frame."""
        self.tracks = {}
        if self.history is not None:
            self.history.clear()

    # ------------------------------------------------------------------ tracking

    def propagate(
        self,
        direction: Direction = "forward",
        *,
        start: int | None = None,
        num_frames: int | None = None,
        obj_ids: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[FrameResult]:
        """Track through the video, frame by frame; leave the loop at any time and go on later.

        Args:
            direction: ``"both"`` gives each frame once: forward from the first prompt, then backward; each object then
                has masks on both sides of its first prompt, and each direction reads memories of its own pass only.
            start: frame to start from; by default the earliest prompted one (the latest, in reverse).
            num_frames: how many frames at most (in each direction); all by default.
            obj_ids: track and give these objects only.
            progress: called after each frame with (frames done, frames in all).
            cancel: asked before each frame; true ends the pass, and what was done is kept.

        Raises:
            RuntimeError: there is no prompt to start from, or this is a stream.
            ValueError: an argument is out of range.
        """
        plan = passes.plan(self, direction, start=start, num_frames=num_frames, obj_ids=obj_ids)
        return passes.run(self, plan, progress=progress, cancel=cancel)

    @torch.inference_mode()
    def step(self, frame: Any) -> FrameResult:
        """Take the next frame of a stream and track the objects that were prompted before.

        Args:
            frame: [H, W, 3] uint8 array (RGB), tensor [3, H, W], PIL image or path; all of one size.

        Returns:
            The result of this frame; its ``frame_idx`` is what prompts on it are addressed to.

        Raises:
            RuntimeError: the session has a video.
            ValueError: the frame cannot be used, or has another size; the session is as it was.
        """
        from sam2.tracking.stepping import step_together

        return step_together([self], [frame])[0]

    # ------------------------------------------------------------------ for the other parts of tracking

    def accept(self, frame: Any) -> torch.Tensor:
        """Check the next frame of a stream; its pixels [3, S, S]."""
        if self.frames is not None:
            raise RuntimeError("this session has a video: call propagate; step is for streams")
        image = as_frame(frame)
        if self._size is not None and image.shape[:2] != self._size:
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

    @torch.inference_mode()
    def commit(self) -> None:
        """Encode the memory of all prompted frames that have none yet, in the order of frames."""
        waiting = sorted({frame for track in self.tracks.values() for frame in track.drafts})
        for frame in waiting:
            tracks = [track for track in self.tracks.values() if frame in track.drafts]
            features = self.features.get(frame)
            outputs = [track.drafts[frame].output for track in tracks]
            for track, output in zip(tracks, engine.remember_shown(self.model, features, outputs), strict=True):
                conditioning = track.drafts[frame].conditioning
                track.commit(frame, output.to(self.storage_device))
                if not conditioning:
                    self._archive(track, frame, output)
                if self.model.behaviour.clear_non_cond_mem_around_input:
                    self.forget_around(track, frame)

    def selection_question(
        self, track: ObjectTrack, frame: int, *, reverse: bool, same_direction_only: bool = False
    ) -> MemoryQuestion:
        """What the policy is asked of an object at a frame."""
        return track.bank.question(
            frame,
            reverse=reverse,
            num_frames=None if self.is_stream else self.num_frames,
            behaviour=self.model.behaviour,
            num_maskmem=self.model.num_maskmem,
            same_direction_only=same_direction_only,
        )

    def record(self, track: ObjectTrack, frame: int, output: FrameOutput, *, reverse: bool) -> None:
        """Keep what tracking gave for an object, and drop what cannot be read any more."""
        kept = output.to(self.storage_device)
        track.bank.add_tracked(frame, kept)
        track.bank.directions[frame] = reverse
        self._archive(track, frame, kept)

    def pass_by(self, track: ObjectTrack, frame: int, *, reverse: bool) -> None:
        """A pass has reached a prompted frame of an object."""
        track.bank.directions[frame] = reverse
        if self.model.behaviour.clear_non_cond_mem_around_input:
            self.forget_around(track, frame)

    def evict(self, next_frame: int, *, reverse: bool) -> None:
        """Drop memories that no policy can read from ``next_frame`` on."""
        for track in self.tracks.values():
            track.bank.evict(
                next_frame,
                reverse=reverse,
                policy=self.policy,
                behaviour=self.model.behaviour,
                num_maskmem=self.model.num_maskmem,
            )
            if self.is_stream:
                track.bank.directions = {t: r for t, r in track.bank.directions.items() if t in self.features}

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

    def result(self, frame: int, outputs: dict[int, FrameOutput | None]) -> FrameResult:
        """The public form of one frame's outputs by object."""
        device, side = self.model.device, self.model.low_res_size
        nothing = torch.full((1, 1, side, side), NO_OBJ_SCORE, device=device)
        logits, scores, ious = [], [], []
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

    # ------------------------------------------------------------------ small steps

    def _check_place(self, frame_idx: int, obj_id: int, *, known: bool = False) -> tuple[int, int]:
        frame_idx = check_frame(frame_idx, self.num_frames)
        obj_id = check_obj_id(obj_id)
        if known and obj_id not in self.tracks:
            raise KeyError(f"obj_id {obj_id} is not among {self.obj_ids}")
        return frame_idx, obj_id

    def _new_track(self, obj_id: int) -> ObjectTrack:
        """A track that is not yet part of the session: it joins once its first prompt has been answered."""
        history = self.history
        if history is None:
            return ObjectTrack(obj_id, MemoryBank())

        def recall(frame: int) -> FrameOutput | None:
            output = history.get(obj_id, frame)
            if output is None or output.memory is not None:
                return output
            return engine.remember_again(self.model, self.features.get(frame), output)

        return ObjectTrack(obj_id, MemoryBank(recall, lambda frame: (obj_id, frame) in history))

    def _answer(self, track: ObjectTrack, frame: int, prompt: FramePrompt) -> FrameResult:
        features = self.features.get(frame)
        earlier = self.output_at(track, frame)
        context = None
        if track.is_tracked(frame):
            reverse = track.bank.directions[frame]
            selection = self.policy.select(self.selection_question(track, frame, reverse=reverse))
            context = engine.gather(self.model, [engine.TrackJob(track.bank, selection)])
        output = engine.predict_prompted(
            self.model,
            features,
            prompt,
            context=context,
            earlier=None if earlier is None else earlier.logits,
        )
        conditioning = context is None or self.model.behaviour.add_all_frames_to_correct_as_cond
        self.tracks[track.obj_id] = track
        track.prompts[frame] = prompt
        track.drafts[frame] = Draft(output.to(self.storage_device), conditioning)
        return self.result(frame, {track.obj_id: output})

    def _archive(self, track: ObjectTrack, frame: int, output: FrameOutput) -> None:
        if self.history is not None and output.logits is not None:
            self.history.put(track.obj_id, frame, output)
