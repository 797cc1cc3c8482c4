"""Masks of everything: a grid of clicks, filtered and freed of duplicates, on images and on key frames of videos.

Videos are in :mod:`sam2.automatic.video`, which is not imported here: images need none of what reads videos.
"""

from sam2.automatic.proposals import MaskProposal, propose
from sam2.automatic.settings import AutomaticSettings

__all__ = ["AutomaticSettings", "MaskProposal", "propose"]
