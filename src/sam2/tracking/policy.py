"""Which memories an object keeps and which it reads: the official rule, and one that skips doubtful frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import MemorySelection, oldest_needed, select_memories


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What the model thought of an object on a past frame."""

    object_score: float
    iou: float


@dataclass(frozen=True, slots=True)
class MemoryQuestion:
    """What a policy is asked: one object at one frame.

    Attributes:
        frame: the frame to be tracked.
        prompted: frames with a prompt, in the order in which they were given.
        remembered: whether a frame without a prompt has a memory.
        stats: scores of a remembered frame. On an accelerator, reading them waits for the device.
        num_frames: length of the video, None in a stream.
        reverse: tracking runs backwards.
        behaviour, num_maskmem: of the model.
    """

    frame: int
    prompted: Sequence[int]
    remembered: Callable[[int], bool]
    stats: Callable[[int], FrameStats]
    num_frames: int | None
    reverse: bool
    behaviour: Behaviour
    num_maskmem: int


class MemoryPolicy(Protocol):
    """Decides what is read (``select``) and what can still be read later (``horizon``); the rest is dropped."""

    def select(self, question: MemoryQuestion) -> MemorySelection:
        """The frames to attend to. Slots must lie in 0..``num_maskmem - 1``."""
        ...

    def horizon(self, frame: int, *, reverse: bool, behaviour: Behaviour, num_maskmem: int) -> tuple[int, int]:
        """The oldest frames of which a memory, and a pointer, may be read at ``frame`` or later in this direction."""
        ...


@dataclass(frozen=True, slots=True)
class OfficialMemory:
    """All prompted frames, the last six others, pointers of the last fifteen: the official rule."""

    def select(self, question: MemoryQuestion) -> MemorySelection:
        """See :func:`sam2.modeling.memory_selection.select_memories`."""
        return select_memories(
            question.frame,
            question.prompted,
            question.remembered,
            behaviour=question.behaviour,
            num_maskmem=question.num_maskmem,
            num_frames=question.num_frames,
            reverse=question.reverse,
        )

    def horizon(self, frame: int, *, reverse: bool, behaviour: Behaviour, num_maskmem: int) -> tuple[int, int]:
        """Six memories back at the model's stride, fifteen pointers."""
        return oldest_needed(frame, behaviour=behaviour, num_maskmem=num_maskmem, reverse=reverse)


@dataclass(frozen=True, slots=True)
class ConfidentMemory:
    """As officially, but the last six frames on which the model was sure of the object (after SAM2Long and SAMURAI).

    While an object is hidden its memory does not fill with frames that do not show it. Pointers follow the official
    rule.

    Attributes:
        min_object_score: logit from which an object counts as seen.
        min_iou: predicted IoU from which a mask counts as good.
        window: frames to look back; what is older is dropped.
    """

    min_object_score: float = 0.0
    min_iou: float = 0.5
    window: int = 64

    def select(self, question: MemoryQuestion) -> MemorySelection:
        """The previous frame always has its place; older ones only if they are good."""
        official = OfficialMemory().select(question)
        prompted = [(frame, slot) for frame, slot in official.memories if frame in question.prompted]
        direction = -1 if question.reverse else 1
        good: list[int] = []
        for distance in range(1, self.window + 1):
            index = question.frame - direction * distance
            if question.remembered(index) and self._is_good(question.stats(index), distance):
                good.append(index)
                if len(good) == question.num_maskmem - 1:
                    break
        recent = [(index, age) for age, index in enumerate(good)]
        return MemorySelection((*prompted, *reversed(recent)), official.pointers, official.max_pointers)

    def horizon(self, frame: int, *, reverse: bool, behaviour: Behaviour, num_maskmem: int) -> tuple[int, int]:
        """The window for memories, the official rule for pointers."""
        _, pointer = oldest_needed(frame, behaviour=behaviour, num_maskmem=num_maskmem, reverse=reverse)
        return frame + self.window if reverse else frame - self.window, pointer

    def _is_good(self, stats: FrameStats, distance: int) -> bool:
        return distance == 1 or (stats.object_score > self.min_object_score and stats.iou > self.min_iou)
