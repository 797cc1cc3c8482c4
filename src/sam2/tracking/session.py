"""``VideoSession``: one video (or stream), its objects, and tracking them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch

from sam2.tracking import engine, passes
from sam2.tracking.bank import MemoryBank
from sam2.tracking.checks import check_frame, check_obj_id
from sam2.tracking.objects import Draft, ObjectTrack
from sam2.tracking.prompts import read_mask, read_points
from sam2.tracking.records import FrameOutput, FramePrompt
from sam2.tracking.results import FrameResult
from sam2.tracking.state import SessionOptions, SessionState
from sam2.tracking.stepping import step_together

__all__ = ["SessionOptions", "VideoSession"]

Direction = Literal["forward", "reverse", "both"]


class VideoSession(SessionState):
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
        track = self.tracks.get(obj_id) or self.new_track(obj_id)
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
        return self._answer(self.tracks.get(obj_id) or self.new_track(obj_id), frame_idx, prompt)

    @torch.inference_mode()
    def prepare(self, frame_idx: int, obj_id: int) -> bool:
        """Do ahead what the next correction of an object on a frame needs; such a click then only decodes.

        Returns:
            Whether there was anything to do: not where the object was not tracked.
        """
        frame_idx, obj_id = self._check_place(frame_idx, obj_id)
        track = self.tracks.get(obj_id)
        return track is not None and self._fused(track, frame_idx) is not None

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
        if output is not None:
            track.bank.directions.pop(frame_idx, None)
            track.bank.add_tracked(frame_idx, output)
            self.archive(track, frame_idx, output)

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
        return step_together([self], [frame])[0]

    # ------------------------------------------------------------------ small steps

    def _check_place(self, frame_idx: int, obj_id: int, *, known: bool = False) -> tuple[int, int]:
        frame_idx = check_frame(frame_idx, self.num_frames)
        obj_id = check_obj_id(obj_id)
        if known and obj_id not in self.tracks:
            raise KeyError(f"obj_id {obj_id} is not among {self.obj_ids}")
        return frame_idx, obj_id

    def new_track(self, obj_id: int) -> ObjectTrack:
        """A track that is not yet part of the session: it joins once its first prompt has been answered."""
        history = self.history
        if history is None:
            return ObjectTrack(obj_id, MemoryBank())

        def recall(frame: int, with_memory: bool) -> FrameOutput | None:
            output = history.get(obj_id, frame)
            if output is None or output.memory is not None or not with_memory:
                return output
            return engine.remember_again(self.model, self.features.get(frame), output)

        return ObjectTrack(obj_id, MemoryBank(recall, lambda frame: (obj_id, frame) in history))

    def _answer(self, track: ObjectTrack, frame: int, prompt: FramePrompt) -> FrameResult:
        features = self.features.get(frame)
        earlier = self.output_at(track, frame)
        fused = self._fused(track, frame)
        output = engine.predict_prompted(
            self.model,
            features,
            prompt,
            fused=fused,
            earlier=None if earlier is None else earlier.logits,
        )
        conditioning = fused is None or self.model.behaviour.add_all_frames_to_correct_as_cond
        self.tracks[track.obj_id] = track
        track.prompts[frame] = prompt
        track.drafts[frame] = Draft(output.to(self.storage_device), conditioning)
        return self.result(frame, {track.obj_id: output})

    def _fused(self, track: ObjectTrack, frame: int) -> torch.Tensor | None:
        """A frame as the object's memories change it; None where it was not tracked, or nothing is remembered."""
        if not track.is_tracked(frame):
            return None
        selection = self.select(track, frame, reverse=track.bank.directions[frame])
        if not selection.memories:
            return None
        features, job = self.features.get(frame), engine.TrackJob(track.bank, selection)
        return self.fused.get(
            (track.obj_id, frame),
            lambda: self.model.fuse_memory(features, engine.gather(self.model, [job])),
            read=[features.embed, *engine.tensors_read(job)],
            selection=selection,
        )
