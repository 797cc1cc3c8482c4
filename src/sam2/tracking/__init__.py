"""Everything that knows about time: sessions, objects, their memory, and how they are batched."""

from sam2.tracking.policy import ConfidentMemory, MemoryPolicy, OfficialMemory
from sam2.tracking.results import FrameResult
from sam2.tracking.session import VideoSession

__all__ = ["ConfidentMemory", "FrameResult", "MemoryPolicy", "OfficialMemory", "VideoSession"]
