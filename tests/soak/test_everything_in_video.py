"""Everything in a long video in constant memory: things come and go for hundreds of frames. ``nano`` at 256 px."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2.automatic import MaskProposal
from sam2.automatic.video import VideoMaskGenerator
from sam2.build_sam import load_pretrained
from sam2.interop.rle import encode_mask
from sam2.modeling.sam2_base import SAM2Base

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc"),
]

MB = 2**20
LENGTH, SETTLED = 600, 200
HEIGHT, WIDTH = 120, 160
SHOWN, SCENE = 30, 50
"""A scene has so many frames, of which the first ones show two things and the others nothing."""
COLOURS = [(220, 60, 40), (50, 90, 230), (60, 200, 80), (235, 220, 70), (200, 70, 210)]

Mask = NDArray[np.bool_]


def things(frame: int) -> Iterator[tuple[tuple[int, int, int], Mask]]:
    """Colour and mask of what is there: a disc and a box, each at a place of its own."""
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    scene, moment = divmod(frame, SCENE)
    if moment < SHOWN:
        yield COLOURS[scene % 5], (xx - 45 - moment) ** 2 + (yy - 40 - scene % 3 * 20) ** 2 < 22**2
        yield COLOURS[(scene + 2) % 5], (abs(xx - 125) < 18) & (abs(yy - 30 - moment) < 15)


def clip() -> Iterator[NDArray[np.uint8]]:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    ground = np.stack([100 + yy // 4, 100 + xx // 8, 120 + 0 * xx], -1).astype(np.uint8)
    for frame in range(LENGTH):
        image = ground.copy()
        for colour, mask in things(frame):
            image[mask] = colour
        image[0, 0, :2] = divmod(frame, 256)
        yield image


class Seer:
    """Proposes what is there."""

    def propose(self, image: NDArray[np.uint8]) -> list[MaskProposal]:
        frame = int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])
        whole = (0, 0, WIDTH, HEIGHT)
        return [MaskProposal(encode_mask(mask), whole, 0.9, 1.0, (0.0, 0.0), whole) for _, mask in things(frame)]


@pytest.fixture(scope="module")
def model() -> SAM2Base:
    return load_pretrained("nano", device="cpu", dtype="float32", hydra_overrides_extra=["++model.image_size=256"])


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def count_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())


def test_things_come_and_go_for_a_long_time(model: SAM2Base) -> None:
    generator = VideoMaskGenerator(model, mask_generator=Seer(), drop_after=10)
    memory: list[int] = []
    tensors: list[int] = []
    with generator.start() as tracker:
        for frame, image in enumerate(clip()):
            result = tracker.step(image)
            scene, moment = divmod(frame, SCENE)
            if moment < SHOWN:
                assert result.obj_ids == (2 * scene + 1, 2 * scene + 2)
            elif moment == SCENE - 1:
                assert result.obj_ids == ()
            if moment == SHOWN - 1:  # all that an object's memory can hold
                memory.append(resident())
                tensors.append(count_tensors())

    settled = SETTLED // SCENE
    assert max(memory) - memory[settled] < 48 * MB
    assert max(tensors) <= tensors[settled] + 5, "what is left of an object would be dozens"
