"""Cameras and network streams through OpenCV."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

URL_SCHEMES = ("rtsp://", "rtmp://", "http://", "https://", "udp://", "tcp://")


def is_live(source: object) -> bool:
    """Whether ``source`` names a camera (an index) or a network stream (a URL)."""
    if isinstance(source, int) and not isinstance(source, bool):
        return True
    return isinstance(source, str) and source.lower().startswith(URL_SCHEMES)


def camera_frames(source: int | str) -> Iterator[NDArray[np.uint8]]:
    """RGB frames [H, W, 3] uint8 of camera ``source`` or of a URL, as they come, until it ends or is closed.

    Raises:
        OSError: it cannot be opened.
    """
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            what = f"camera {source}" if isinstance(source, int) else source
            raise OSError(f"cannot open {what}: it is not there, in use, or not allowed")
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        capture.release()
