"""``SAM2VideoPredictor``: the official methods over :class:`sam2.tracking.VideoSession`."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sam2.modeling.compiled import CompiledNetworks
from sam2.tracking import FrameResult, MemoryPolicy, VideoSession, passes
from sam2.tracking.history import DEFAULT_BUDGET, History
from sam2.tracking.mapping import OfficialState
from sam2.tracking.model import TrackingModel
from sam2.tracking.session import Direction, SessionOptions
from sam2.tracking.store import load_into, save_session

Masks = tuple[int, list[int], Tensor]
"""(frame index, object ids, logits [n, 1, H, W] float32)"""


class SAM2VideoPredictor(TrackingModel):
    """Track what prompts point at through videos.

    Made by :func:`sam2.build_sam2_video_predictor`, by :meth:`from_pretrained`, or of a model that is there already::

        predictor = SAM2VideoPredictor(sam2.load("nano"))

    which shares the model's weights and adds what ``apply_postprocessing`` means for videos (``postprocessing=False``
    does not). The predictor holds no video: that is in the state that :meth:`init_state` returns, and any number of
    states may be in use.
    """

    @classmethod
    def from_pretrained(cls, model_id: str | os.PathLike[str], **kwargs: Any) -> "SAM2VideoPredictor":
        """A predictor with weights: ``"nano"``, a name such as ``"sam2.1_hiera_tiny"``, a file, or a hub id.

        Keyword arguments are those of :func:`sam2.build_sam.build_sam2_video_predictor_hf`.
        """
        from sam2.build_sam import build_sam2_video_predictor_hf  # reads configurations, otherwise not needed here

        return build_sam2_video_predictor_hf(model_id, cls=cls, **kwargs)

    # ------------------------------------------------------------------ state

    def init_state(
        self,
        video_path: Any,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
        *,
        policy: MemoryPolicy | None = None,
        history_budget: int | None = DEFAULT_BUDGET,
    ) -> OfficialState:
        """Open a video.

        Args:
            video_path: a video file, a folder of images, a list or array of frames; see
                :func:`sam2.io.frames.open_frames`. Frames are decoded when they are needed and not kept.
            offload_video_to_cpu: where ``state["images"]`` gives its tensors; frames take no room on a device anyway.
            offload_state_to_cpu: keep memories and masks on the CPU.
            async_loading_frames: has no effect: frames are always decoded ahead of tracking.
            policy: which past frames are remembered and read; the official rule by default.
            history_budget: bytes of memory for masks of past frames; what is older goes to a temporary file. None
                keeps no past beyond what tracking reads, so that a frame passed can be shown no more.

        Returns:
            The session, which is to be passed to the other methods. It also reads as the official dict.

        Raises:
            ValueError, OSError: the video cannot be opened.
        """
        if video_path is None:
            raise TypeError("video_path must be a video, a folder or frames, got None; for a stream use VideoSession")
        options = SessionOptions(
            history=None if history_budget is None else History(history_budget),
            storage_device="cpu" if offload_state_to_cpu else None,
        )
        state = OfficialState(self, video_path, policy=policy, options=options)
        state.offload_video_to_cpu = bool(offload_video_to_cpu)
        state.offload_state_to_cpu = bool(offload_state_to_cpu)
        return state

    def reset_state(self, inference_state: VideoSession) -> None:
        """Forget all objects, prompts and masks; the video stays open."""
        _session(inference_state).reset()

    def save_state(self, inference_state: VideoSession, path: str | os.PathLike[str]) -> None:
        """Write all but the frames to one file, to go on from there in another process; see :meth:`load_state`."""
        save_session(_session(inference_state), path)

    def load_state(self, path: str | os.PathLike[str], video_path: Any, **kwargs: Any) -> OfficialState:
        """The state that :meth:`save_state` wrote, over the video that is given again.

        Keyword arguments are those of :meth:`init_state`. What follows equals an uninterrupted run.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file, is damaged, comes of another model, or is of another video.
        """
        state = self.init_state(video_path, **kwargs)
        load_into(state, path)
        return state

    # ------------------------------------------------------------------ prompts

    @torch.no_grad()
    def add_new_points_or_box(
        self,
        inference_state: VideoSession,
        frame_idx: int,
        obj_id: int,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
    ) -> Masks:
        """Prompt an object on a frame; see :meth:`sam2.tracking.VideoSession.add_points`.

        Returns:
            The frame, all objects, and their logits there: -1024 where nothing is known of an object.

        Raises:
            ValueError: what is wrong with the prompt; the state is as it was.
        """
        session = _session(inference_state)
        session.add_points(
            frame_idx,
            obj_id,
            points=points,
            labels=labels,
            box=box,
            clear_old_points=clear_old_points,
            normalize_coords=normalize_coords,
        )
        return session.result_at(frame_idx).as_tuple()

    def add_new_points(self, *args: Any, **kwargs: Any) -> Masks:
        """The former name of :meth:`add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    @torch.no_grad()
    def add_new_mask(self, inference_state: VideoSession, frame_idx: int, obj_id: int, mask: Any) -> Masks:
        """Say what an object is on a frame by its mask [H, W]; an empty one says that it is not there."""
        session = _session(inference_state)
        session.add_mask(frame_idx, obj_id, mask)
        return session.result_at(frame_idx).as_tuple()

    @torch.no_grad()
    def clear_all_prompts_in_frame(
        self, inference_state: VideoSession, frame_idx: int, obj_id: int, need_output: bool = True
    ) -> Masks | None:
        """Take back what was said of an object on a frame; the masks of that frame if ``need_output``.

        Raises:
            KeyError: no such object.
        """
        session = _session(inference_state)
        session.clear_prompts(frame_idx, obj_id)
        return session.result_at(frame_idx).as_tuple() if need_output else None

    @torch.no_grad()
    def remove_object(
        self, inference_state: VideoSession, obj_id: int, strict: bool = False, need_output: bool = True
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Forget an object; the others stay as they are.

        Args:
            strict: an object that is not there is an error.
            need_output: also give the others' masks on the frames where the object had prompts.

        Returns:
            The ids of the objects left, and (frame, logits [n, 1, H, W]) of each such frame.

        Raises:
            RuntimeError: no such object, where ``strict``.
        """
        session = _session(inference_state)
        if obj_id not in session.tracks:
            if strict:
                raise RuntimeError(
                    f"Cannot remove object id {obj_id} as it doesn't exist: it is not in {session.obj_ids}"
                )
            return session.obj_ids, []
        frames = session.remove_object(obj_id)
        if not need_output or not session.tracks:
            return session.obj_ids, []
        return session.obj_ids, [(frame, session.result_at(frame).as_tuple()[2]) for frame in frames]

    # ------------------------------------------------------------------ tracking

    @torch.no_grad()
    def propagate_in_video_preflight(self, inference_state: VideoSession) -> None:
        """Encode the memories of prompted frames; tracking does so itself.

        Raises:
            RuntimeError: there is no object, or one without prompts.
        """
        session = _session(inference_state)
        passes.plan(session, "forward")
        session.commit()

    @torch.no_grad()
    def propagate_in_video(
        self,
        inference_state: VideoSession,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Masks]:
        """Track all objects; leave the loop at any time, prompt again, and go on.

        Args:
            start_frame_idx: by default the earliest prompted frame, in reverse too, as officially.
            max_frame_num_to_track: frames *after* the first one, as officially; all by default.
            reverse: towards the first frame. From frame 0 this yields nothing, as officially.
            progress: called after each frame with (frames done, frames in all).

        Yields:
            The frame, all objects, and their logits [n, 1, H, W].

        Raises:
            RuntimeError: there is no object, or one without prompts.
            ValueError: a number that is negative.
        """
        session = _session(inference_state)
        self.propagate_in_video_preflight(session)
        if max_frame_num_to_track is not None and max_frame_num_to_track < 0:
            raise ValueError(f"max_frame_num_to_track must be at least 0, got {max_frame_num_to_track}")
        earliest = min(frame for track in session.tracks.values() for frame in track.prompted_frames)
        start = earliest if start_frame_idx is None else start_frame_idx
        if (reverse and start == 0) or (not reverse and start >= session.num_frames):
            return
        results = session.propagate(
            "reverse" if reverse else "forward",
            start=start,
            num_frames=None if max_frame_num_to_track is None else max_frame_num_to_track + 1,
            progress=progress,
        )
        for result in results:
            yield result.as_tuple()

    def propagate(
        self,
        inference_state: VideoSession,
        direction: Direction = "both",
        *,
        start: int | None = None,
        num_frames: int | None = None,
        obj_ids: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[FrameResult]:
        """Track with results that carry scores, boxes and areas; see :meth:`sam2.tracking.VideoSession.propagate`."""
        return _session(inference_state).propagate(
            direction, start=start, num_frames=num_frames, obj_ids=obj_ids, progress=progress, cancel=cancel
        )


class SAM2VideoPredictorVOS(CompiledNetworks, SAM2VideoPredictor):
    """What ``build_sam2_video_predictor(..., vos_optimized=True)`` gives: networks compiled when first needed."""


def _session(inference_state: Any) -> VideoSession:
    if not isinstance(inference_state, VideoSession):
        raise TypeError(f"inference_state must be what init_state returned, got {type(inference_state).__name__}")
    return inference_state
