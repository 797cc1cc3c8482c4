"""What evaluation asks of a data set's entries, whoever reads them: ``sam2.train.data.sources`` opens any layout so."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class LabelledRecord(Protocol):
    """A still (one frame) or a video, with masks, read when asked.

    Attributes:
        name: unique in its data set.
        num_frames: 1 for stills.
        labelled: indices of the frames that have masks, ascending.
    """

    @property
    def name(self) -> str: ...

    @property
    def num_frames(self) -> int: ...

    @property
    def labelled(self) -> tuple[int, ...]: ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as [h, w, 3] RGB."""
        ...

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """Masks [h, w] of frame ``index``, one of ``labelled``, by object."""
        ...
