"""Pictures of predictions: three in a row for every record, with what was asked."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import sam2
from sam2.modeling.sam2_base import SAM2Base
from sam2.train.data.sources import BadSampleError
from sam2.train.pictures import draw_predictions

SIZE = 96


@dataclass(frozen=True)
class Disc:
    """A disc that moves to the right, on frames that are all labelled; nothing is to be seen where ``frames`` is 0."""

    name: str
    frames: int = 1
    bad: bool = False

    @property
    def num_frames(self) -> int:
        return max(1, self.frames)

    @property
    def labelled(self) -> tuple[int, ...]:
        if self.bad:
            raise BadSampleError(f"{self.name} is broken")
        return tuple(range(self.frames))

    def image(self, index: int) -> NDArray[np.uint8]:
        picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
        picture[self._disc(index)] = (200, 120, 60)
        return picture

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        return {7: self._disc(index)}

    def _disc(self, index: int) -> NDArray[np.bool_]:
        rows, columns = np.mgrid[:SIZE, :SIZE]
        return (columns - 40 - 5 * index) ** 2 + (rows - 50) ** 2 < 20**2


@pytest.fixture(scope="module")
def nano() -> SAM2Base:
    model = sam2.load("nano", device="cpu", dtype="float32")
    model.set_image_size(256)
    return model


def test_a_row_for_each_record(nano: SAM2Base) -> None:
    one = draw_predictions(nano, [Disc("a")], count=4)
    two = draw_predictions(nano, [Disc("a"), Disc("b", frames=3)], count=4)

    assert one is not None
    assert two is not None
    assert one.dtype == np.uint8
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] > 1.8 * one.shape[0]


def test_truth_and_prediction_are_marked(nano: SAM2Base) -> None:
    """A tinted disc has colours that the plain one has not."""
    sheet = draw_predictions(nano, [Disc("a")], count=1)
    assert sheet is not None
    plain, truth, predicted = (sheet[20:340, x : x + 320].reshape(-1, 3) for x in (30, 404, 778))
    disc = np.array((200, 120, 60))

    assert (np.abs(plain.astype(int) - disc).max(1) < 4).mean() > 0.05
    for marked in (truth, predicted):
        assert (np.abs(marked.astype(int) - disc).max(1) < 4).mean() < 0.01


def test_records_that_cannot_be_drawn_are_left_out(nano: SAM2Base) -> None:
    assert draw_predictions(nano, [Disc("broken", bad=True), Disc("nothing", frames=0)], count=2) is None
    assert draw_predictions(nano, [], count=2) is None


def test_only_some_of_many_are_drawn(nano: SAM2Base) -> None:
    few = draw_predictions(nano, [Disc(str(i)) for i in range(30)], count=2)
    two = draw_predictions(nano, [Disc("a"), Disc("b")], count=2)

    assert few is not None
    assert two is not None
    assert few.shape == two.shape
