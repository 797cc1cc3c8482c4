"""What training data is made of and how it is drawn: the records that a configuration file fills."""

import math
from dataclasses import dataclass, field
from typing import Literal

from sam2.train.data.sources import SourceConfig

Mosaic = Literal["copies", "mixed"]


def _check_shares(owner: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(owner, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be within 0 to 1, got {value}")


def _check_at_least(owner: object, names: tuple[str, ...], least: float) -> None:
    for name in names:
        value = getattr(owner, name)
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name} must be at least {least:g}, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How a drawn clip is varied. All frames of a clip alike, but for ``frame_*`` and noise; shares are probabilities.

    The defaults are those of the official fine-tuning recipe; what it does not have is off.

    Attributes:
        flip: share of clips that are mirrored left to right.
        affine: share that is turned by up to ``degrees`` and sheared by up to ``shear`` degrees either way, enlarged
            by a factor within ``zoom`` and moved by up to ``shift`` of the side.
        crop: share that shows a part: a rectangle of ``crop_scale`` of each side, a fifth narrower or wider at most.
        crop_objects: of those, the share whose rectangle is laid around one of the objects.
        brightness, contrast, saturation: factors within 1 - x to 1 + x.
        hue: turn of the colour circle by up to this share of it.
        grey: share without colours.
        frame_brightness, frame_contrast, frame_saturation: the same, drawn for each frame anew.
        blur: share that is blurred, by up to a 400th of the side.
        noise: share with noise of 2 to 10 (of 255), as a camera's: drawn for each frame anew.
        mosaic: share of four clips in a square. ``mosaic_kind`` "copies": four times the same, of which one is to be
            followed, as in the official pre-training (the others are to be told apart from it); "mixed": four
            different ones, whose objects are all candidates.
        copy_paste: share onto which objects of other records are pasted (one or two, moving in clips).
    """

    flip: float = 0.5
    affine: float = 1.0
    degrees: float = 25.0
    shear: float = 20.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    crop: float = 0.0
    crop_scale: tuple[float, float] = (0.3, 1.0)
    crop_objects: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.03
    saturation: float = 0.03
    hue: float = 0.0
    grey: float = 0.05
    frame_brightness: float = 0.1
    frame_contrast: float = 0.05
    frame_saturation: float = 0.05
    blur: float = 0.0
    noise: float = 0.0
    mosaic: float = 0.0
    mosaic_kind: Mosaic = "copies"
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        _check_shares(self, ("flip", "affine", "crop", "crop_objects", "grey", "blur", "noise", "mosaic", "copy_paste"))
        _check_shares(self, ("shift", "brightness", "contrast", "saturation"))
        _check_shares(self, ("frame_brightness", "frame_contrast", "frame_saturation"))
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must be within 0 to 0.5, got {self.hue}")
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees must be within 0 to 180, got {self.degrees}")
        if not 0 <= self.shear <= 60:
            raise ValueError(f"shear must be within 0 to 60 degrees, got {self.shear}")
        for name, limit in (("zoom", math.inf), ("crop_scale", 1.0)):
            value = getattr(self, name)
            if len(value) != 2 or not 0.05 <= value[0] <= value[1] <= limit:
                raise ValueError(f"{name} must be (least, most) within 0.05 to {limit:g}, got {value}")
        if self.mosaic_kind not in ("copies", "mixed"):
            raise ValueError(f"mosaic_kind must be 'copies' or 'mixed', got {self.mosaic_kind!r}")


NO_AUGMENTATION = AugmentConfig(
    **dict.fromkeys(("flip", "affine", "brightness", "contrast", "saturation", "grey"), 0.0),
    **dict.fromkeys(("frame_brightness", "frame_contrast", "frame_saturation"), 0.0),
)
"""Frames as they are, only resized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which data to train on, and how clips are drawn from it. The defaults are the official fine-tuning recipe's.

    Attributes:
        train: sources. An epoch draws every record of one as often as its ``weight`` says: twice with 2, every other
            one with 0.5.
        validation: sources. Without any, ``held_out`` of the training records are left out of training and validated
            on, chosen by a hash of their names: always the same ones.
        frames: T of clips.
        image_size: S, the side of the square that frames are brought to, whatever their shape, as officially.
        batch_size: clips a process and micro-step.
        still_batch_size: stills a process and micro-step; None: ``batch_size``.
        max_objects: of a clip or still at most, among those that the first drawn frame shows.
        min_area: least share of the first frame that an object must cover; one pixel in any case.
        max_stride: frames are taken 1 to this many labelled frames apart, clip by clip.
        reverse: share of clips that run backwards.
        stills_as_clips: share of the draws from a source of stills that become clips of T frames, by a camera that
            moves over the still and cut-outs of other records that move over it.
        cutouts: the probabilities of 0, 1, 2 ... of them.
        workers: processes that draw; 0 draws in the training process. What is drawn does not depend on it.
        prefetch: batches that a worker draws ahead.
        bad_samples: different records that may be skipped because they cannot be read, before training fails.
    """

    train: tuple[SourceConfig, ...] = ()
    validation: tuple[SourceConfig, ...] = ()
    held_out: float = 0.1
    frames: int = 8
    image_size: int = 1024
    batch_size: int = 1
    still_batch_size: int | None = None
    max_objects: int = 3
    min_area: float = 0.0
    max_stride: int = 1
    reverse: float = 0.0
    stills_as_clips: float = 0.0
    cutouts: tuple[float, ...] = (0.1, 0.3, 0.35, 0.25)
    workers: int = 2
    prefetch: int = 2
    bad_samples: int = 100
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        _check_shares(self, ("min_area", "reverse", "stills_as_clips"))
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be at least 0 and less than 1, got {self.held_out}")
        _check_at_least(self, ("frames", "batch_size", "max_objects", "max_stride", "prefetch"), 1)
        _check_at_least(self, ("workers", "bad_samples"), 0)
        if self.still_batch_size is not None:
            _check_at_least(self, ("still_batch_size",), 1)
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, got {self.image_size}")
        if not self.cutouts or min(self.cutouts) < 0 or abs(sum(self.cutouts) - 1) > 1e-6:
            raise ValueError(f"cutouts must be probabilities that add up to 1, got {self.cutouts}")
