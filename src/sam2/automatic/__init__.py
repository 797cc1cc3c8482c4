"""Masks of everything: a grid of clicks, filtered and freed of duplicates, on images and on key frames of videos."""

from sam2.automatic.proposals import MaskProposal, propose
from sam2.automatic.settings import AutomaticSettings
from sam2.automatic.video import VideoMaskGenerator, VideoMaskSettings

__all__ = ["AutomaticSettings", "MaskProposal", "VideoMaskGenerator", "VideoMaskSettings", "propose"]
