"""One object's memory: what it was told on prompted frames, and what tracking left behind."""

from collections.abc import Callable
from dataclasses import replace

from sam2.modeling.config import Behaviour
from sam2.modeling.memory_selection import MemorySelection
from sam2.tracking.policy import FrameStats, MemoryPolicy, MemoryQuestion
from sam2.tracking.records import FrameOutput


class MemoryBank:
    """Outputs by frame: ``prompted`` ones are kept, ``recent`` ones as long as the policy may read them.

    Args:
        recall: gives a tracked frame's output that was dropped here, or None where there is none; its second argument
            says whether the memory is wanted, which may have to be encoded again.
        known: whether ``recall`` would find a frame, without the cost of doing so.
    """

    def __init__(
        self,
        recall: Callable[[int, bool], FrameOutput | None] | None = None,
        known: Callable[[int], bool] | None = None,
    ) -> None:
        self.prompted: dict[int, FrameOutput] = {}
        self.recent: dict[int, FrameOutput] = {}
        self.directions: dict[int, bool] = {}
        """Tracked frames, and whether they were reached in reverse."""
        self._recall = recall
        self._known = known

    def __len__(self) -> int:
        return len(self.prompted) + len(self.recent)

    def question(
        self,
        frame: int,
        *,
        reverse: bool,
        num_frames: int | None,
        behaviour: Behaviour,
        num_maskmem: int,
        same_direction_only: bool = False,
    ) -> MemoryQuestion:
        """What to ask a policy about ``frame``.

        Args:
            same_direction_only: memories that a pass in the other direction left are not there.
        """

        def remembered(index: int) -> bool:
            if same_direction_only and self.directions.get(index, reverse) != reverse:
                return False
            return self.has(index)

        return MemoryQuestion(
            frame, tuple(self.prompted), remembered, self.stats, num_frames, reverse, behaviour, num_maskmem
        )

    def has(self, frame: int) -> bool:
        """Whether a frame without a prompt has a memory, here or to be recalled."""
        if frame in self.prompted:
            return False
        return frame in self.recent or (self._known is not None and self._known(frame))

    def memory_of(self, frame: int) -> FrameOutput:
        """The output of a frame that a policy chose, with its memory; ``KeyError`` if it is gone."""
        found = self._here(frame)
        if found is None or found.memory is None:
            found = self._recalled(frame, with_memory=True)
        if found is None or found.memory is None:
            raise KeyError(f"frame {frame} is not in memory any more")
        return found

    def pointer_of(self, frame: int) -> FrameOutput:
        """The output of a frame whose pointer or scores are wanted; its memory may be gone. ``KeyError`` as above."""
        found = self._here(frame) or self._recalled(frame, with_memory=False)
        if found is None:
            raise KeyError(f"frame {frame} is not in memory any more")
        return found

    def readable(self, selection: MemorySelection) -> MemorySelection:
        """``selection`` less the memories that were dropped for good.

        A pass that goes on where the last one ended loses none. One that goes back loses what the policy gave up,
        unless a history knows it.
        """
        memories = tuple((frame, slot) for frame, slot in selection.memories if self._has_memory(frame))
        return replace(selection, memories=memories)

    def _here(self, frame: int) -> FrameOutput | None:
        return self.prompted.get(frame) or self.recent.get(frame)

    def _has_memory(self, frame: int) -> bool:
        found = self._here(frame)
        return (found is not None and found.memory is not None) or (self._known is not None and self._known(frame))

    def _recalled(self, frame: int, *, with_memory: bool) -> FrameOutput | None:
        if self._recall is None or frame in self.prompted:
            return None
        recalled = self._recall(frame, with_memory)
        if recalled is not None:
            self.recent[frame] = recalled = recalled.without_masks()
        return recalled

    def stats(self, frame: int) -> FrameStats:
        """Scores of a remembered frame."""
        found = self.pointer_of(frame)
        return FrameStats(float(found.object_score), float(found.iou))

    def add_prompted(self, frame: int, output: FrameOutput) -> None:
        """A frame with a prompt; what tracking said of it is gone."""
        self.recent.pop(frame, None)
        self.prompted[frame] = output

    def add_tracked(self, frame: int, output: FrameOutput) -> None:
        """A tracked frame."""
        self.recent[frame] = output

    def forget(self, frame: int) -> None:
        """All about ``frame``."""
        self.prompted.pop(frame, None)
        self.recent.pop(frame, None)
        self.directions.pop(frame, None)

    def forget_around(self, frame: int, *, reach: int) -> list[int]:
        """The tracked frames up to ``reach`` from ``frame``; returns them."""
        near = [index for index in self.directions if abs(index - frame) <= reach and index not in self.prompted]
        for index in near:
            self.forget(index)
        return near

    def evict(self, frame: int, *, reverse: bool, policy: MemoryPolicy, behaviour: Behaviour, num_maskmem: int) -> None:
        """Drop what the policy cannot read when ``frame`` is corrected, or a later one of this direction tracked.

        ``frame`` is the one that was tracked just now; masks are kept of it alone.
        """
        sign = -1 if reverse else 1
        horizon = policy.horizon(frame, reverse=reverse, behaviour=behaviour, num_maskmem=num_maskmem)
        memory_span, pointer_span = (sign * (frame - oldest) for oldest in horizon)
        for index, output in list(self.recent.items()):
            behind = sign * (frame - index)
            if not 0 <= behind <= max(memory_span, pointer_span):
                del self.recent[index]
            elif behind > memory_span:
                self.recent[index] = output.without_masks().without_memory()
            elif behind > 0:
                self.recent[index] = output.without_masks()
