"""Masks of a tracked clip as files that lie as its annotations do: palette in, palette out."""

from pathlib import Path

import numpy as np

from sam2.eval.clips import GREY_OBJECT, FrameMasks, Mask, VosClip
from sam2.eval.label_images import read_label_image, write_label_image


class MaskWriter:
    """Writes ``FOLDER/CLIP/FRAME.png``, or ``FOLDER/CLIP/OBJECT/FRAME.png`` where annotations have a folder an object.

    Palettes are those of the annotations; where these are grey, so is what is written.
    """

    def __init__(self, folder: Path, clip: VosClip) -> None:
        self.folder = folder / clip.name
        self.clip = clip
        firsts = {name: files[min(files)] for name, files in clip.folders.items()}
        if not clip.per_object:
            firsts = {"": clip.labels[clip.annotated[0]]}
        self._palettes = {name: read_label_image(path).palette for name, path in firsts.items()}

    def write(self, index: int, masks: dict[int, Mask], size: tuple[int, int]) -> None:
        """Write the masks [h, w] of a frame of ``size``; label images are given masks that do not overlap."""
        file = f"{self.clip.stems[index]}.png"
        if not self.clip.per_object:
            values = np.zeros(size, np.uint8)
            for obj_id, mask in masks.items():
                values[mask] = obj_id
            write_label_image(self.folder / file, values, self._palettes[""])
            return
        for name, palette in self._palettes.items():
            mask = masks.get(int(name))
            values = np.zeros(size, np.uint8)
            if mask is not None:
                values[mask] = GREY_OBJECT if palette is None else 1
            write_label_image(self.folder / name / file, values, palette)


def read_predictions(folder: Path, clip: VosClip, index: int, obj_ids: list[int]) -> FrameMasks:
    """What :class:`MaskWriter` (or another program) wrote for a frame of ``clip`` in ``folder/CLIP``.

    Args:
        obj_ids: which objects have to be there; where each has a folder, only these are read.

    Raises:
        FileNotFoundError: there is no file for the frame.
        ValueError: it is no image.
    """
    file = f"{clip.stems[index]}.png"
    if not clip.per_object:
        return clip.split_like(folder / clip.name / file)
    found: dict[int, Mask] = {}
    for name in clip.folders:
        if int(name) in obj_ids:
            found[int(name)] = read_label_image(folder / clip.name / name / file).values > 0
    return FrameMasks(found, None, next(iter(found.values())).shape[:2])
