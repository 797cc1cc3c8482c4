"""What the page is shown of a frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST = 2560
"""Pixels of the longest side: no screen shows more of a whole picture."""
MOST = 8192
"""Pixels of the longest side for someone who zooms in: what a browser draws without trouble."""
STRIP = 320
"""Longest side of the small pictures that are shown while someone scrubs."""
_QUALITY, _STRIP_QUALITY = 90, 75


def jpeg(image: NDArray[np.uint8], size: int = LARGEST) -> bytes:
    """A picture [h, w, 3] RGB as JPEG, its longest side ``size`` at most."""
    scale = min(1.0, size / max(image.shape[:2]))
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    quality = _STRIP_QUALITY if size <= STRIP else _QUALITY
    done, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture cannot be encoded")
    return encoded.tobytes()
