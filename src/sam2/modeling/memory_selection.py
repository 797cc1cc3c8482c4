"""Which past frames the current one attends to: the official rule, as one pure function of frame indices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sam2.modeling.config import Behaviour


@dataclass(frozen=True, slots=True)
class MemorySelection:
    """The frames that one object reads at one moment.

    Attributes:
        memories: (frame, time slot) in the order in which they are attended to: prompted frames first (slot
            ``num_maskmem - 1``), then oldest to newest (slot 0 is the previous frame).
        pointers: (frame, distance) of the object pointers; the distance is what the time code is made of.
        max_pointers: what distances are divided by (less one).
    """

    memories: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    max_pointers: int

    @property
    def slots(self) -> tuple[int, ...]:
        """The time slots alone: objects that agree in these and in their number of pointers can share a batch."""
        return tuple(slot for _, slot in self.memories)


def select_memories(
    frame: int,
    prompted: Sequence[int],
    remembered: Callable[[int], bool],
    *,
    behaviour: Behaviour,
    num_maskmem: int,
    num_frames: int | None,
    reverse: bool = False,
) -> MemorySelection:
    """The official choice for ``frame``.

    Args:
        prompted: frames with a prompt, in the order in which they were given.
        remembered: whether a frame without a prompt has a memory.
        num_maskmem: memories at most, less the prompted ones beyond the first; 7 officially.
        num_frames: length of the video; None in a stream. Officially the scale of the pointers' time code is
            ``min(num_frames, 16)``, so a stream takes 16.
        reverse: tracking runs backwards in time.
    """
    near, far = closest_prompted(frame, prompted, behaviour.max_cond_frames_in_attn)

    def has(index: int) -> bool:
        return remembered(index) or index in far

    memories = [(index, num_maskmem - 1) for index in near]
    for age in range(num_maskmem - 1, 0, -1):
        index = frame_of_age(frame, age, stride=behaviour.memory_temporal_stride_for_eval, reverse=reverse)
        if has(index):
            memories.append((index, age - 1))

    direction = -1 if reverse else 1
    limit = behaviour.max_obj_ptrs_in_encoder
    max_pointers = limit if num_frames is None else min(num_frames, limit)
    pointers: list[tuple[int, int]] = []
    for index in near:
        distance = (frame - index) * direction
        if distance < 0 and behaviour.only_obj_ptrs_in_the_past_for_eval:
            continue
        pointers.append((index, distance if behaviour.use_signed_tpos_enc_to_obj_ptrs else abs(distance)))
    for distance in range(1, max_pointers):
        index = frame - distance * direction
        if index < 0 or (num_frames is not None and index >= num_frames):
            break
        if has(index):
            pointers.append((index, distance))
    return MemorySelection(tuple(memories), tuple(pointers), max_pointers)


def frame_of_age(frame: int, age: int, *, stride: int = 1, reverse: bool = False) -> int:
    """The frame that is ``age`` memories ago: the previous one, then every ``stride``-th."""
    if age == 1:
        return frame + 1 if reverse else frame - 1
    if reverse:
        return -(-(frame + 2) // stride) * stride + (age - 2) * stride
    return (frame - 2) // stride * stride - (age - 2) * stride


def closest_prompted(frame: int, prompted: Sequence[int], limit: int) -> tuple[list[int], set[int]]:
    """The prompted frames to attend to, and the rest: at most ``limit`` (-1: all), nearest in time.

    The nearest before and the nearest from ``frame`` on are always among them, as officially.

    Raises:
        ValueError: ``limit`` is 0 or 1, which leaves no room for one on each side.
    """
    if limit == -1 or len(prompted) <= limit:
        return list(prompted), set()
    if limit < 2:
        raise ValueError(f"max_cond_frames_in_attn must be -1 or at least 2, got {limit}")
    before = max((t for t in prompted if t < frame), default=None)
    after = min((t for t in prompted if t >= frame), default=None)
    chosen = [t for t in (before, after) if t is not None]
    others = sorted((t for t in prompted if t not in chosen), key=lambda t: abs(t - frame))
    chosen += others[: limit - len(chosen)]
    return chosen, set(prompted) - set(chosen)


def oldest_needed(frame: int, *, behaviour: Behaviour, num_maskmem: int, reverse: bool = False) -> tuple[int, int]:
    """How far back the official rule can still look from ``frame`` onwards: (for memories, for pointers).

    Frames before these (after these, in reverse) are read neither now nor later in a pass of this direction.
    """
    stride = behaviour.memory_temporal_stride_for_eval
    memory = frame_of_age(frame, max(num_maskmem - 1, 1), stride=stride, reverse=reverse)
    span = behaviour.max_obj_ptrs_in_encoder - 1
    pointer = frame + span if reverse else frame - span
    return memory, pointer
