"""A window that shows pictures and takes clicks, where OpenCV was built with windows."""

import re

import cv2
import numpy as np

_QUIT_KEYS = {ord("q"), 27}
_NEXT_KEY, _RESET_KEY = ord("n"), ord("r")


class Window:
    """Left button: a click on the object; right button: one that is not on it. ``n`` begins another object, ``r``
    forgets all of them, ``q`` or Escape ends.

    Args:
        title: what the window is called.

    Raises:
        ValueError: this OpenCV has no windows, or there is no screen; says what to do.
    """

    def __init__(self, title: str) -> None:
        if not has_windows():
            raise ValueError(
                "this OpenCV (opencv-python-headless) has no windows: give -o FILE.mp4 to write a video, or put "
                "opencv-python in its place"
            )
        self._title = title
        self.clicks: list[tuple[float, float, int]] = []
        """(x, y, label) since they were last taken."""
        self.next_object = self.reset = False
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
            cv2.setMouseCallback(title, self._note)
        except cv2.error as error:
            raise ValueError("no window can be opened here (no screen?): give -o FILE.mp4 to write a video") from error

    def show(self, picture: np.ndarray) -> bool:
        """Show [h, w, 3] uint8 RGB; False once the user wants to leave."""
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        self.next_object |= key == _NEXT_KEY
        self.reset |= key == _RESET_KEY
        return key not in _QUIT_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(self._title)

    def _note(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        labels = {cv2.EVENT_LBUTTONDOWN: 1, cv2.EVENT_RBUTTONDOWN: 0}
        if event in labels:
            self.clicks.append((float(x), float(y), labels[event]))


def has_windows() -> bool:
    """Whether this build of OpenCV can open windows."""
    found = re.search(r"^\s*GUI:\s*(\S*)", cv2.getBuildInformation(), re.MULTILINE)
    return found is not None and found[1].upper() not in ("", "NONE")
