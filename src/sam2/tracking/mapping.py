"""A session that also reads as the dict of the official predictor, for code that looks into ``inference_state``.

What is read is computed when it is asked for, and always of now. Writing is for :data:`WRITABLE` keys; the rest has
methods.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from sam2.io.frames import open_frames
from sam2.tracking.checks import check_count
from sam2.tracking.objects import ObjectTrack
from sam2.tracking.pixels import FramePixels, PixelFrames
from sam2.tracking.records import FrameOutput
from sam2.tracking.session import VideoSession

K = TypeVar("K")
V = TypeVar("V")

WRITABLE = ("images", "num_frames", "video_height", "video_width")

_PROMPTS = "add_new_points_or_box, add_new_mask or clear_all_prompts_in_frame"
_OBJECTS = "add_new_points_or_box, add_new_mask or remove_object"
_INSTEAD = {
    "device": "to(device) of the model",
    "storage_device": "init_state(..., offload_state_to_cpu=...)",
    "offload_video_to_cpu": "init_state(..., offload_video_to_cpu=...)",
    "offload_state_to_cpu": "init_state(..., offload_state_to_cpu=...)",
    "point_inputs_per_obj": _PROMPTS,
    "mask_inputs_per_obj": _PROMPTS,
    "obj_id_to_idx": _OBJECTS,
    "obj_idx_to_id": _OBJECTS,
    "obj_ids": _OBJECTS,
    "output_dict_per_obj": "add_new_mask, or a MemoryPolicy",
    "temp_output_dict_per_obj": _PROMPTS,
    "frames_tracked_per_obj": "propagate_in_video or reset_state",
}
_NOTHING = "none of its methods: it is made anew when it is needed"


class View(Mapping[K, V]):
    """A read-only mapping over what is there now."""

    def __init__(self, keys: Callable[[], Iterable[K]], get: Callable[[K], V]) -> None:
        self._keys, self._get = keys, get

    def __getitem__(self, key: K) -> V:
        if key not in self._keys():
            raise KeyError(key)
        return self._get(key)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._keys()))

    def __len__(self) -> int:
        return len(list(self._keys()))

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "this view of a state is read-only: prompts and objects change by the predictor's methods, and what cannot "
            "be read again is dropped without being asked"
        )

    __setitem__ = __delitem__ = pop = popitem = clear = update = setdefault = _refuse

    def __repr__(self) -> str:
        return f"<view of {list(self._keys())}>"


class OfficialState(VideoSession, Mapping[str, Any]):
    """What ``init_state`` returns: a session, and a mapping with the official keys.

    Values are read-only views, lists that are the caller's, or tensors. Of a frame whose output has gone to disk
    ``maskmem_features`` is None. ``images`` gives a frame's pixels when it is indexed; ``images``, ``num_frames``,
    ``video_height`` and ``video_width`` may be written, by code that feeds frames of its own.
    """

    offload_video_to_cpu: bool = False
    offload_state_to_cpu: bool = False
    _frame_count: int | None = None

    def __eq__(self, other: object) -> bool:
        return self is other  # a session is one thing, not the sum of its keys

    def __hash__(self) -> int:
        return id(self)

    def __getitem__(self, key: str) -> Any:
        try:
            read = _READERS[key]
        except KeyError:
            raise KeyError(key) from None
        return read(self)

    def __iter__(self) -> Iterator[str]:
        return iter(_READERS)

    def __len__(self) -> int:
        return len(_READERS)

    def __bool__(self) -> bool:
        return True

    def __setitem__(self, key: str, value: Any) -> None:
        """Write ``images`` (pixels [T, 3, S, S] as the model takes them, or anything that can be opened as a video),
        ``num_frames``, ``video_height`` or ``video_width``.

        Raises:
            TypeError: another key; the message names what to call instead.
            ValueError: a value that cannot be used; the state is as it was.
        """
        if key not in WRITABLE:
            self._refuse(key)
        if key == "images":
            self._set_images(value)
            return
        count = check_count(value, key)
        if count is None:
            raise ValueError(f"{key} must be an integer, got None")
        if key == "num_frames":
            self._frame_count = count
        else:
            height, width = self.size
            self._size = (count, width) if key == "video_height" else (height, count)

    def __delitem__(self, key: str) -> None:
        self._refuse(key)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a state is not pickled or copied: write it with save_state, read it with load_state")

    @property
    def num_frames(self) -> int:
        """Frames of the video, or what was written as ``num_frames``."""
        return super().num_frames if self._frame_count is None else self._frame_count

    def _refuse(self, key: str) -> NoReturn:
        raise TypeError(
            f"state[{key!r}] cannot be written, only {', '.join(WRITABLE)}; use {_INSTEAD.get(key, _NOTHING)}"
        )

    def _set_images(self, images: Any) -> None:
        if isinstance(images, FramePixels):  # a view of a session, this one perhaps
            images = images[:]
        source = PixelFrames.of(images, self.model.image_size)
        self.frames = self.features.source = open_frames(images) if source is None else source
        if source is None:
            self._size = (self.frames.height, self.frames.width)
        self._frame_count = None
        self.features.clear()

    def track_of(self, obj_idx: int) -> ObjectTrack:
        """The object at a place in the order of first prompts."""
        return list(self.tracks.values())[obj_idx]

    def tracked_output(self, track: ObjectTrack, frame: int) -> FrameOutput:
        """A frame without prompt: what memory holds of it, its masks from the history where memory has none."""
        recent = track.bank.recent.get(frame)
        if recent is not None and recent.logits is not None:
            return recent
        past = None if self.history is None else self.history.get(track.obj_id, frame)
        if past is None or recent is None:
            output = past or recent
            assert output is not None  # a frame of this view is in one of the two
            return output
        return past if past.memory is not None or recent.memory is None else past.with_memory(recent.memory)


def _per_object(state: OfficialState, get: Callable[[ObjectTrack], V]) -> View[int, V]:
    return View(lambda: range(len(state.tracks)), lambda index: get(state.track_of(index)))


def _points(state: OfficialState, track: ObjectTrack) -> View[int, dict[str, Tensor]]:
    def get(frame: int) -> dict[str, Tensor]:
        prompt = track.prompts[frame].as_batch(state.model.device)
        return {"point_coords": torch.as_tensor(prompt.points), "point_labels": torch.as_tensor(prompt.labels)}

    return View(lambda: [frame for frame, prompt in track.prompts.items() if prompt.points is not None], get)


def _masks(state: OfficialState, track: ObjectTrack) -> View[int, Tensor]:
    def get(frame: int) -> Tensor:
        return torch.as_tensor(track.prompts[frame].mask)[None, None].to(state.model.device, torch.float32)

    return View(lambda: [frame for frame, prompt in track.prompts.items() if prompt.mask is not None], get)


def _as_official(state: OfficialState, output: FrameOutput) -> dict[str, Any]:
    memory = output.memory
    return {
        "maskmem_features": memory,
        "maskmem_pos_enc": None if memory is None else [_memory_codes(state, memory)],
        "pred_masks": output.logits,
        "obj_ptr": output.pointer,
        "object_score_logits": output.object_score,
    }


def _memory_codes(state: OfficialState, memory: Tensor) -> Tensor:
    h, w = memory.shape[-2:]
    return state.model.memory_encoder.position_encoding.table(h, w, memory.device).expand(len(memory), -1, -1, -1)


def _outputs(state: OfficialState, track: ObjectTrack) -> dict[str, View[int, dict[str, Any]]]:
    def tracked() -> list[int]:
        past = [] if state.history is None else state.history.frames(track.obj_id)
        return sorted({*past, *track.bank.recent} - track.bank.prompted.keys())

    return {
        "cond_frame_outputs": View(
            lambda: list(track.bank.prompted), lambda frame: _as_official(state, track.bank.prompted[frame])
        ),
        "non_cond_frame_outputs": View(tracked, lambda frame: _as_official(state, state.tracked_output(track, frame))),
    }


def _drafts(state: OfficialState, track: ObjectTrack) -> dict[str, View[int, dict[str, Any]]]:
    def of(conditioning: bool) -> View[int, dict[str, Any]]:
        return View(
            lambda: [frame for frame, draft in track.drafts.items() if draft.conditioning is conditioning],
            lambda frame: _as_official(state, track.drafts[frame].output),
        )

    return {"cond_frame_outputs": of(True), "non_cond_frame_outputs": of(False)}


def _cached(state: OfficialState) -> View[int, tuple[Tensor, dict[str, list[Tensor]]]]:
    encoding = state.model.image_encoder.neck.position_encoding

    def get(frame: int) -> tuple[Tensor, dict[str, list[Tensor]]]:
        features = state.features.get(frame)
        maps = [*features.high_res, features.embed]
        codes = [encoding.table(x.shape[-2], x.shape[-1], x.device) for x in maps]
        return FramePixels(state, on_device=True)[frame][None], {"backbone_fpn": maps, "vision_pos_enc": codes}

    return View(lambda: state.features.frames, get)


def _constants(state: OfficialState) -> dict[str, Any]:
    side = state.model.image_size // state.model.backbone_stride
    codes = state.model.memory_encoder.position_encoding.table(side, side, state.model.device)
    return {"maskmem_pos_enc": [codes]}


_READERS: dict[str, Callable[[OfficialState], Any]] = {
    "images": lambda state: FramePixels(state, on_device=not state.offload_video_to_cpu),
    "num_frames": lambda state: state.num_frames,
    "offload_video_to_cpu": lambda state: state.offload_video_to_cpu,
    "offload_state_to_cpu": lambda state: state.offload_state_to_cpu,
    "video_height": lambda state: state.size[0],
    "video_width": lambda state: state.size[1],
    "device": lambda state: state.model.device,
    "storage_device": lambda state: state.storage_device,
    "point_inputs_per_obj": lambda state: _per_object(state, lambda track: _points(state, track)),
    "mask_inputs_per_obj": lambda state: _per_object(state, lambda track: _masks(state, track)),
    "cached_features": _cached,
    "constants": _constants,
    "obj_id_to_idx": lambda state: View(lambda: list(state.tracks), lambda obj_id: list(state.tracks).index(obj_id)),
    "obj_idx_to_id": lambda state: _per_object(state, lambda track: track.obj_id),
    "obj_ids": lambda state: state.obj_ids,
    "output_dict_per_obj": lambda state: _per_object(state, lambda track: _outputs(state, track)),
    "temp_output_dict_per_obj": lambda state: _per_object(state, lambda track: _drafts(state, track)),
    "frames_tracked_per_obj": lambda state: _per_object(
        state,
        lambda track: View(
            lambda: list(track.bank.directions), lambda frame: {"reverse": track.bank.directions[frame]}
        ),
    ),
}
