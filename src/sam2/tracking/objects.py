"""One tracked object: its prompts, what came of them, and its memory. Identifiers are never renumbered."""

from dataclasses import dataclass, field

from sam2.tracking.bank import MemoryBank
from sam2.tracking.records import FrameOutput, FramePrompt


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """The answer to a prompt that no tracking has used yet: its memory is still to be encoded.

    Attributes:
        conditioning: the frame becomes a conditioning frame; False only for corrections of tracked frames where
            ``add_all_frames_to_correct_as_cond`` is off.
    """

    output: FrameOutput
    conditioning: bool


@dataclass(slots=True, eq=False)
class ObjectTrack:
    """What a session knows of one object."""

    obj_id: int
    bank: MemoryBank
    prompts: dict[int, FramePrompt] = field(default_factory=dict[int, FramePrompt])
    drafts: dict[int, Draft] = field(default_factory=dict[int, Draft])

    @property
    def prompted_frames(self) -> list[int]:
        """Frames that tracking starts from, drafts included, in ascending order."""
        conditioning = [frame for frame, draft in self.drafts.items() if draft.conditioning]
        return sorted({*self.bank.prompted, *conditioning})

    def is_tracked(self, frame: int) -> bool:
        """Whether tracking has been there (a prompted frame that it passed counts)."""
        return frame in self.bank.directions

    def starts_after(self, frame: int, *, reverse: bool) -> bool:
        """Whether a pass in this direction has not come to the object's first prompt at ``frame``."""
        frames = self.bank.prompted
        if not frames:
            return True
        return max(frames) < frame if reverse else min(frames) > frame

    def commit(self, frame: int, output: FrameOutput) -> None:
        """Take the draft of ``frame``, whose memory ``output`` has, into the bank.

        A correction that does not become a conditioning frame is lost on a frame that is one, as officially.
        """
        draft = self.drafts.pop(frame)
        if draft.conditioning:
            self.bank.add_prompted(frame, output)
        elif frame not in self.bank.prompted:
            self.bank.add_tracked(frame, output)
