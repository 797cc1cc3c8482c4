"""Photos with red disks, and a stand-in for models that finds them in no time."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import sam2
from sam2.cli.image import segment
from sam2.cli.image.asked import Asked
from sam2.cli.image.found import Candidate, Found, Segmenter
from sam2.cli.prompts import ObjectPrompt
from sam2.interop.rle import encode_mask

MakePhotos = Callable[..., list[Path]]


@pytest.fixture
def make_photos(tmp_path: Path) -> MakePhotos:
    """Writes ``photos/1.png``, ``photos/2.png`` and so on: photo n has n disks, at most six."""

    def make(*numbers: int, folder: str = "photos") -> list[Path]:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = []
        for number in numbers:
            picture = np.full((60, 200, 3), 90, np.uint8)
            for disk in range(min(number, 6)):
                cv2.circle(picture, (20 + 32 * disk, 30), 8 + disk, (220, 30, 30), -1)
            paths.append(tmp_path / folder / f"{number}.png")
            Image.fromarray(picture).save(paths[-1])
        return paths

    return make


class RedDisks:
    """In the place of a model: every red region is an object. ``seen`` lists the photos that were looked at."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.before: Callable[[Path], None] = lambda path: None

    def make_segmenter(self, model: object, asked: Asked, **_: object) -> Segmenter:
        """What ``sam2.cli.image.segment.make_segmenter`` gives."""

        def find(path: Path, image: np.ndarray) -> list[Found]:
            self.before(path)
            self.seen.append(path.name)
            count, regions = cv2.connectedComponents((image[:, :, 0] > 150).astype(np.uint8))
            return [
                Found(
                    ObjectPrompt(number, ((10.0, 10.0),), (1,)),
                    (Candidate(encode_mask(regions == number), 0.9),),
                    asked.labels.of(number),
                )
                for number in range(1, count)
            ]

        return find


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> RedDisks:
    """No model is loaded: red regions are objects."""
    stand_in = RedDisks()
    monkeypatch.setattr(sam2, "load", lambda name, **_: name)
    monkeypatch.setattr(segment, "make_segmenter", stand_in.make_segmenter)
    return stand_in
