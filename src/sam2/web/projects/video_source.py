"""The frames of a video project; of one whose file is gone, none, but what was found in it is still there."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2.io.frames import open_frames
from sam2.io.source import FrameSource
from sam2.web.errors import StudioError
from sam2.web.projects.store import ProjectStore


class GoneFrames(FrameSource):
    """Frames that cannot be read.

    Args:
        name: of the file.
        num_frames: that it had.
        size: (height, width) of its frames.
        fps: frames a second, where it said so.
    """

    def __init__(self, name: str, num_frames: int, size: tuple[int, int], fps: float | None) -> None:
        self.name, self.num_frames, self.fps = name, num_frames, fps
        self.height, self.width = size

    def _decode(self, index: int) -> NDArray[np.uint8]:
        raise FileNotFoundError(f"the video {self.name} is gone from its folder: put it back, or export what there is")


def open_video(source: Path, store: ProjectStore) -> FrameSource:
    """The frames of the video ``source``, whose size and length are noted for a time when it is gone.

    Raises:
        StudioError: 404 it is gone and nothing is known of it, 415 it is no video that can be decoded.
    """
    record = store.record
    try:
        frames = open_frames(source)
    except FileNotFoundError:
        if record.size is None:
            raise StudioError(404, f"the video {source.name} is gone from its folder") from None
        return GoneFrames(source.name, record.num_frames, record.size, record.fps)
    except (ValueError, OSError) as error:
        if source.is_dir():
            what = "holds no frames of a video: they must be pictures of one size that can be read"
            raise StudioError(415, f"the folder {source.name} {what}") from error
        raise StudioError(415, f"{source.name} is damaged or no video that can be decoded") from error
    found = {"size": (frames.height, frames.width), "fps": frames.fps, "num_frames": frames.num_frames}
    if found != {name: getattr(record, name) for name in found}:
        store.replace(**found)
    return frames
